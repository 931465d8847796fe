import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import DefaultSampler

from mmdel.errors import ConfigError
from mmdel.training import ResumableSampler

BATCHES = 6
"""Of an epoch of 23 images, 4 a batch."""


@given(st.integers(1, 50), st.data())
def test_skip__leaves_the_beginning_of_one_epoch_out(images, data):
    skipped = data.draw(st.integers(0, images))
    ours, stock = (kind(range(images), seed=1) for kind in (ResumableSampler, DefaultSampler))
    for epoch in range(3):
        for sampler in (ours, stock):
            sampler.set_epoch(epoch)
        if epoch == 1:
            ours.skip(skipped)
        assert list(ours) == list(stock)[skipped if epoch == 1 else 0 :]
        assert len(ours) == images


@pytest.mark.parametrize('stop_after', [1, 3, 5, BATCHES, BATCHES + 1, 2 * BATCHES - 1, 3 * BATCHES - 1])
def test_resumed_run__sees_what_an_unbroken_run_sees_at_the_same_learning_rate(make_runner, stop_after):
    runner, whole = make_runner('whole')
    runner.train()
    assert len(whole.rows) == 3 * BATCHES
    broken, first = make_runner('broken', stop_after, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    again, second = make_runner('broken', resume=True)
    again.train()
    assert first.rows + second.rows == whole.rows
    for name, value in runner.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


@pytest.mark.parametrize('stop_after', [3, BATCHES + 1])
def test_checkpoint_of_another_batch_size__is_refused(make_runner, stop_after):
    broken, _ = make_runner('broken', stop_after, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    other, diary = make_runner('broken', resume=True, batch_size=8)
    with pytest.raises(ConfigError, match='6 iterations an epoch, and this one has 3'):
        other.train()
    assert not diary.rows


def test_stock_sampler__is_refused_with_the_line_to_write(make_runner):
    runner, _ = make_runner('stock', sampler='DefaultSampler')
    with pytest.raises(ConfigError, match="train_dataloader.sampler.type='mmdel.ResumableSampler', got DefaultSampler"):
        runner.train()
