"""A shuffled epoch that can start in the middle."""

from collections.abc import Iterator
from itertools import islice

from mmengine.dataset import DefaultSampler

from mmdel.registry import DATA_SAMPLERS


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
