"""Epochs that resume exactly where a checkpoint was saved."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.runner import EpochBasedTrainLoop

from mmdel.errors import ConfigError
from mmdel.registry import DATA_SAMPLERS, LOOPS

_BATCHES = 'batches_per_epoch'


@LOOPS.register_module()
class ResumableEpochTrainLoop(EpochBasedTrainLoop):
    """mmengine's ``EpochBasedTrainLoop`` that resumes within an epoch.

    The stock loop begins the epoch of such a checkpoint anew: its images are seen twice and the learning rate runs ahead of
    them. This one leaves out the batches that were done, without loading them, so order and learning rate are those of
    a run that was never stopped. (Random crops and masks are drawn anew.)

    Args:
        runner, dataloader, max_epochs, val_begin, val_interval, dynamic_intervals: As in ``EpochBasedTrainLoop``; the
            sampler of the dataloader must be ``mmdel.ResumableSampler``.

    Raises:
        ConfigError: Another sampler, or a checkpoint of a run with other images, batch size or number of processes.
    """

    def __init__(self, runner: Any, dataloader: Any, max_epochs: int, **kwargs: Any) -> None:
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        if not isinstance(self.dataloader.sampler, ResumableSampler):
            raise ConfigError(
                "mmdel.ResumableEpochTrainLoop needs train_dataloader.sampler.type='mmdel.ResumableSampler', "
                f'got {type(self.dataloader.sampler).__name__}.'
            )

    def run_epoch(self) -> None:
        """Iterate what is left of one epoch."""
        done = self._iter - self._epoch * self._batches()
        self.runner.call_hook('before_train_epoch')  # gives the sampler its epoch
        self.runner.model.train()
        self.dataloader.sampler.skip(done * self.dataloader.batch_size)
        for index, data_batch in enumerate(self.dataloader, start=done):
            self.run_iter(index, data_batch)
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def _batches(self) -> int:
        """Batches an epoch; the message hub carries the number into checkpoints and out of them."""
        batches = len(self.dataloader)
        hub = self.runner.message_hub
        saved = hub.runtime_info.get(_BATCHES, batches)
        if self._iter and saved != batches:
            raise ConfigError(
                f'The checkpoint is from a run with {saved} iterations an epoch, and this one has {batches}: other images, '
                'another batch size or another number of processes. Resume with what that run had, or start a new one '
                'from its weights: load_from=FILE without --resume.'
            )
        hub.update_info(_BATCHES, batches)
        return batches


@DATA_SAMPLERS.register_module()
class ResumableSampler(DefaultSampler):
    """mmengine's ``DefaultSampler``, for :class:`ResumableEpochTrainLoop`.

    Args:
        dataset, shuffle, seed, round_up: As in ``DefaultSampler``.
    """

    _skipped = 0

    def skip(self, num_samples: int) -> None:
        """Leave out the first ``num_samples`` of this process in the next epoch, and in that one only; none is loaded."""
        self._skipped = num_samples

    def __iter__(self) -> Iterator[int]:
        skipped, self._skipped = self._skipped, 0
        return islice(super().__iter__(), skipped, None)
