import random
from concurrent.futures import ThreadPoolExecutor

import av
import numpy as np
import pytest

from mmdel.errors import UnreadableImage
from mmdel.images import formats, frame_files
from mmdel.images.frames import LoadFrame, read_frame

LIMIT = 10**8


def decoded(path):
    """All frames in the order in which a decoder hands them out."""
    with av.open(path) as container:
        container.streams.video[0].codec_context.options = {'strict': '1'}
        return [frame.to_ndarray(format='bgr24') for frame in container.decode(video=0)]


def outcome(path, number):
    """The bytes of a frame, or why there are none."""
    try:
        return frame_files.read(path, number, LIMIT)[0].tobytes()
    except UnreadableImage as error:
        return error.reason


def fresh(path, number):
    frame_files._forget()
    return outcome(path, number)


def test_pixels__are_those_of_a_plain_decoding_however_reached(video):
    frames = [frame.tobytes() for frame in decoded(video)]
    assert [outcome(video, number) for number in range(100)] == frames
    anywhere = random.Random(0).choices(range(100), k=60)
    assert [outcome(video, number) for number in anywhere] == [frames[number] for number in anywhere]
    assert [fresh(video, number) for number in anywhere[:20]] == [frames[number] for number in anywhere[:20]]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda number: outcome(video, number), anywhere)) == [frames[n] for n in anywhere]


@pytest.mark.parametrize('hit', [0, 1, 20, 23, 24, 25, 59])
@pytest.mark.parametrize('kind', ['h264', 'mjpeg'])
def test_damage__takes_the_frames_that_rest_on_it_and_no_other(tmp_path, render_video, kind, hit):
    options = dict(b_frames=2, options={'x264-params': 'scenecut=0'}) if kind == 'h264' else dict(codec='mjpeg')
    path = render_video(tmp_path / ('clip.mp4' if kind == 'h264' else 'clip.mov'), frames=60, size=(96, 64), **options)
    whole = [frame.tobytes() for frame in decoded(str(path))]
    index = frame_files.read_index(str(path))
    with av.open(str(path)) as container:
        packets = [(packet.pts, packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    times = [time for time, _, _ in packets]
    _, place, size = packets[hit]
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    found = [outcome(str(path), number) for number in range(60)]
    anywhere = random.Random(hit).choices(range(60), k=40)
    assert [outcome(str(path), number) for number in anywhere] == [found[number] for number in anywhere]
    assert [fresh(str(path), number) for number in anywhere[:10]] == [found[number] for number in anywhere[:10]]
    lost = {number for number, each in enumerate(found) if isinstance(each, str)}
    assert all(each == whole[number] for number, each in enumerate(found) if number not in lost)
    # what went in after the damage and is shown before the next key frame that went in after it
    numbers = [index.timestamps.tolist().index(time) for time in times]
    key = next((number for number in numbers[hit + 1 :] if number in index.keys), 60)
    resting = {number for number in numbers[hit:] if number < key}
    # a decoder that fails at a key frame also forgets what it has held back
    assert resting <= lost <= resting | set(numbers[max(0, hit - 3) : hit])


def test_damage__without_times_nothing_false_is_believed(tmp_path, render_video):
    path = render_video(tmp_path / 'clip.avi', frames=120, size=(96, 64), b_frames=2)
    whole = [frame.tobytes() for frame in decoded(str(path))]
    assert not frame_files.read_index(str(path)).timed
    with av.open(str(path)) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    place = data.index(b'movi') + 4 + sum(size + size % 2 + 8 for size in sizes[:20]) + 8
    data[place : place + sizes[20]] = bytes(sizes[20])
    path.write_bytes(data)
    found = [outcome(str(path), number) for number in range(120)]
    believed = [each for each in found if isinstance(each, bytes)]
    assert set(believed) <= set(whole)
    assert 60 < len(believed) < 119
    assert [fresh(str(path), number) for number in (5, 70, 30)] == [found[number] for number in (5, 70, 30)]


def test_no_such_frame__says_how_many_there_are(tmp_path, render_video):
    path = str(render_video(tmp_path / 'clip.mp4', frames=5))
    for number in (5, 10**9):
        with pytest.raises(UnreadableImage, match='it has 5, counted from 0'):
            frame_files.read(path, number, LIMIT)


def test_a_changed_video__is_read_anew(tmp_path, render_video):
    path = render_video(tmp_path / 'clip.mp4', frames=5)
    before = outcome(str(path), 4)
    render_video(path, frames=6, start=40)
    assert outcome(str(path), 4) != before
    assert outcome(str(path), 4) == decoded(str(path))[4].tobytes()


def test_a_huge_frame__is_refused(tmp_path, render_video):
    path = str(render_video(tmp_path / 'clip.mp4', frames=2))
    with pytest.raises(UnreadableImage, match='48 x 32 pixels'):
        frame_files.read(path, 0, 48 * 32 - 1)


def test_a_turned_video__is_shown_upright(tmp_path, render_video):
    plain = render_video(tmp_path / 'plain.mp4', frames=3)
    turned = tmp_path / 'turned.mp4'
    with av.open(str(plain)) as source, av.open(str(turned), 'w') as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        if not hasattr(stream, 'set_display_rotation'):
            pytest.skip(f'av {av.__version__} cannot write a rotation, only read one')
        stream.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    upright = frame_files.read(str(turned), 1, LIMIT)[0]
    assert upright.shape == (48, 32, 3)
    assert np.array_equal(upright, np.rot90(frame_files.read(str(plain), 1, LIMIT)[0]))


def test_read_frame__and_load_frame_read_files_and_frames_alike(tmp_path, render_video):
    path = str(render_video(tmp_path / 'clip.mp4', frames=5))
    frame = read_frame(f'{path}#000003')
    assert np.array_equal(frame.image, decoded(path)[3])
    assert frame.nbytes == frame_files.read_index(path).nbytes[3]
    loaded = LoadFrame().transform({'img_path': f'{path}#000003'})
    assert np.array_equal(loaded['img'], frame.image)
    assert loaded['ori_shape'] == (32, 48)
    assert LoadFrame(skip_unreadable=True).transform({'img_path': f'{path}#000009'}) is None


def test_cuts__are_where_decoding_can_begin(tmp_path, render_video):
    path = str(render_video(tmp_path / 'clip.mp4', frames=100, keys_every=10, options={'x264-params': 'scenecut=0'}))
    frames = [formats.frame_path(path, number) for number in range(100)]
    assert frame_files.cuts(frames, 16) == [0, 20, 40, 60, 80, 100]
    assert frame_files.cuts(frames, 1) == list(range(0, 101, 10))
    assert frame_files.cuts(frames[5:], 16) == [0, 25, 45, 65, 85, 95]
    images = [f'{number}.jpg' for number in range(10)]
    assert frame_files.cuts(images + frames[:30] + images, 4) == [0, 4, 8, 10, 20, 30, 40, 44, 48, 50]
    assert frame_files.cuts([], 4) == [0]
