"""What a person did wrong, as types; and how their messages count and give examples.

Every message says what was wrong, with which file or key, and what to do next. The tools print the message without a
traceback and exit with status 2 (:mod:`mmdel.compute.exits`); anything that is not an :class:`MmdelError` is a bug of ours and
keeps its traceback.
"""

from collections.abc import Iterable
from itertools import islice


class MmdelError(Exception):
    """A mistake that the person at the keyboard can mend."""


class ConfigError(MmdelError, ValueError):
    """An option or a config key has a value that cannot be used."""


class DatasetError(MmdelError, ValueError):
    """The images or their keys are not as expected."""


class SubsetError(MmdelError, ValueError):
    """A subset file is damaged, foreign, or cannot be cut as asked."""


class VectorError(MmdelError, ValueError):
    """Vectors that cannot be compared: wrong shape, not finite, or without a direction."""


class StoreError(MmdelError, ValueError):
    """The embedding cache cannot be used."""


class WeightsError(MmdelError, ValueError):
    """Encoder weights are missing, unsafe, or do not fit."""


class GuardError(MmdelError, ValueError):
    """Guards contradict each other, the images, or the ratio that was asked for."""


class LockedError(MmdelError, RuntimeError):
    """Another run is using the folder."""


class StorageError(MmdelError, RuntimeError):
    """The storage failed, and not a file; see :mod:`mmdel.compute.storage`.

    Args:
        message (str): What was being read, what the system says, and what to do.
        reason (str): The same of one file among many, in ``unreadable.csv``. Defaults to the message.
    """

    def __init__(self, message: str, reason: str = '') -> None:
        super().__init__(message)
        self.reason = reason or message


class LostProcessError(MmdelError, RuntimeError):
    """Another process of the same job has gone."""


class ReportError(MmdelError, RuntimeError):
    """The report cannot be written."""


class LostReaderError(MmdelError, RuntimeError):
    """A process that reads images has died."""


class UnreadableImage(Exception):
    """One file cannot be used. A row in ``unreadable.csv``, never the end of a run.

    Args:
        reason (str): What is wrong with the file, in words for people.
        path (str): The file, where the message is to name it. Defaults to ''.
    """

    def __init__(self, reason: str, path: str = '') -> None:
        super().__init__(f'{path}: {reason}' if path else reason)
        self.reason = reason


def counted(number: int, noun: str) -> str:
    """A number with its noun."""
    return f'{number:,} {noun}' if number == 1 else f'{number:,} {noun}s'


def three(names: Iterable[str]) -> str:
    """Three of the names as examples."""
    shown = list(islice(names, 4))
    return ', '.join(shown[:3]) + (', ...' if len(shown) > 3 else '')
