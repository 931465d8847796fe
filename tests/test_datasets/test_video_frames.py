import numpy as np
import pytest

from mmdel.datasets.video_frames import FrameStep
from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images.formats.format import FrameIndex
from mmdel.images.frame_files import read_index


def index_of(milliseconds, rate=0.0):
    n = len(milliseconds)
    return FrameIndex(np.array(milliseconds, np.int64), np.ones(n, np.int64), np.arange(n), (1, 1000), rate)


def reference(milliseconds, rate):
    """The first frame of each interval of 1 / rate seconds."""
    chosen, intervals = [], set()
    for number, time in enumerate(milliseconds):
        interval = (time - milliseconds[0]) * rate // 1000
        if interval not in intervals:
            intervals.add(interval)
            chosen.append(number)
    return chosen


def test_every_nth__counts_from_the_first():
    index = index_of(range(0, 400, 40))
    assert FrameStep('all').choose(index).tolist() == list(range(10))
    assert FrameStep(1).choose(index).tolist() == list(range(10))
    assert FrameStep('4').choose(index).tolist() == [0, 4, 8]
    assert FrameStep(100).choose(index).tolist() == [0]


@pytest.mark.parametrize('rate', [0.5, 1, 2, 5, 25, 1000])
@pytest.mark.parametrize('seed', range(4))
def test_rate__takes_the_first_frame_of_each_interval(seed, rate):
    steps = np.random.default_rng(seed).integers(1, 700, 60)
    times = (1234 + np.cumsum(steps)).tolist()
    assert FrameStep(f'{rate}fps').choose(index_of(times)).tolist() == reference(times, rate)


def test_rate__of_an_even_video():
    index = index_of(range(0, 4000, 40))
    assert FrameStep('1fps').choose(index).tolist() == [0, 25, 50, 75]
    assert FrameStep('25 fps').choose(index).tolist() == list(range(100))


def test_rate__real_files_with_and_without_times(tmp_path, render_video):
    uneven = render_video(tmp_path / 'a.mkv', frames=10, times=[0, 100, 200, 2000, 2100, 2200, 5000, 5100, 9000, 9100])
    assert FrameStep('1fps').choose(read_index(str(uneven))).tolist() == [0, 3, 6, 8]
    untimed = read_index(str(render_video(tmp_path / 'b.avi', frames=100, b_frames=2)))
    assert not untimed.timed
    assert FrameStep('1fps').choose(untimed).tolist() == [0, 25, 50, 75]


def test_rate__without_any_times_is_refused():
    index = FrameIndex(np.empty(0, np.int64), np.ones(5, np.int64), np.empty(0, np.int64), (0, 1), 0.0)
    with pytest.raises(UnreadableImage, match='every n-th'):
        FrameStep('1fps').choose(index)
    assert FrameStep(2).choose(index).tolist() == [0, 2, 4]


@pytest.mark.parametrize('step', [0, -1, 'some', '0fps', '-1fps', 'fps', True, 1.5, ''])
def test_step__that_is_none(step):
    with pytest.raises(ConfigError, match="'2fps'"):
        FrameStep(step)
