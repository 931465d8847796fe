import os

import av
import numpy as np
import pytest

from mmdel.errors import UnreadableImage
from mmdel.images import formats, frame_files


def test_count__is_what_a_decoder_gives(video):
    index = frame_files.read_index(video)
    with av.open(video) as container:
        assert index.count == sum(1 for _ in container.decode(video=0)) == 100
    assert index.nbytes.min() > 0
    assert 0 < index.nbytes.sum() <= os.path.getsize(video)


def test_kept_index__is_the_same_and_is_made_again_when_the_video_changes(tmp_path, render_video, monkeypatch):
    path = render_video(tmp_path / 'a.mp4', frames=20)
    made = []
    make = formats.VIDEO.index
    monkeypatch.setattr(formats.Video, 'index', lambda self, path: made.append(path) or make(path))
    monkeypatch.setattr(frame_files, 'INDEX_DIR', str(tmp_path / 'kept'))
    first = frame_files.read_index(str(path))
    frame_files._read_index.cache_clear()
    again = frame_files.read_index(str(path))
    assert len(made) == 1
    for name, value in vars(first).items():
        assert np.array_equal(value, vars(again)[name]), name
    [kept] = (tmp_path / 'kept').iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    frame_files._read_index.cache_clear()
    assert frame_files.read_index(str(path)).count == 20
    assert len(made) == 2
    render_video(path, frames=7)
    assert frame_files.read_index(str(path)).count == 7
    assert len(made) == 3
    assert len(list((tmp_path / 'kept').iterdir())) == 1


def test_folder_that_cannot_be_written__does_no_harm(tmp_path, render_video, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(frame_files, 'INDEX_DIR', str(tmp_path / 'file' / 'kept'))
    path = render_video(tmp_path / 'a.mp4', frames=5)
    assert frame_files.read_index(str(path)).count == 5


def test_what_is_no_video__says_why(tmp_path, render_video):
    sound = render_video(tmp_path / 'sound.mp4', frames=0)
    whole = render_video(tmp_path / 'whole.mp4', frames=20)
    (tmp_path / 'empty.avi').write_bytes(b'')
    (tmp_path / 'text.avi').write_text('not a video at all ' * 100)
    (tmp_path / 'folder.avi').mkdir()
    (tmp_path / 'link.avi').symlink_to('nowhere.avi')
    cut = whole.read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(cut[: len(cut) // 2])  # the index of an MP4 file stands at its end
    for name, words in (
        (sound.name, 'sound, but no pictures'),
        ('empty.avi', 'is empty'),
        ('text.avi', 'is not a video'),
        ('folder.avi', 'is a directory'),
        ('link.avi', 'does not exist'),
        ('cut.mp4', 'is not a video, or is damaged'),
        ('gone.avi', 'does not exist'),
    ):
        with pytest.raises(UnreadableImage, match=words) as error:
            frame_files.read_index(str(tmp_path / name))
        assert str(tmp_path) not in error.value.reason
        with pytest.raises(UnreadableImage, match=words):
            frame_files.read(str(tmp_path / name), 0, 10**8)


@pytest.mark.parametrize(
    ('name', 'codec'), [('clip.avi', 'mjpeg'), ('clip.mkv', 'libx264'), ('clip.mpg', 'mpeg1video')]
)
def test_a_tail_that_is_cut_off__leaves_the_frames_before_it(tmp_path, render_video, name, codec):
    whole = render_video(tmp_path / 'whole' / name, frames=60, codec=codec)
    data = whole.read_bytes()
    cut = tmp_path / name
    cut.write_bytes(data[: len(data) // 2])
    index = frame_files.read_index(str(cut))
    assert 10 < index.count < 60
    lost = []
    for number in range(index.count):
        try:
            image, _ = frame_files.read(str(cut), number, 10**8)
        except UnreadableImage:
            lost.append(number)
        else:
            assert np.array_equal(image, frame_files.read(str(whole), number, 10**8)[0])
    assert set(lost) <= {index.count - 1}  # the one that is cut in two


def test_names__a_frame_is_told_from_a_file():
    assert formats.split_frame('a/clip.AVI#000123') == ('a/clip.AVI', 123)
    assert formats.split_frame('a/x#1.avi#1000000') == ('a/x#1.avi', 1_000_000)
    for path in ('clip.avi', 'clip.avi#12', 'clip.jpg#000123', 'clip.avi#000123.jpg', '#000001', 'clip.avi#00012x'):
        assert formats.split_frame(path) is None
    assert formats.frame_path('clip.avi', 7) == 'clip.avi#000007'
