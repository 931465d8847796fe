"""What belongs to the whole process, lent to one caller at a time: a library call leaves everything as it was.

with surroundings('mmpretrain', videos):
    ...

mmengine looks classes up in a default scope and logs to a current logger, torch counts threads, and indices of videos lie in one
folder, each once for the process. Who calls from a second thread meanwhile waits, and loses little: one call uses all cores.
"""

import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from mmdel.compute.cores import without_lost_threads
from mmdel.images import frame_files

_LOGGER = 'mmdel.select'

_alone = threading.RLock()


def _renew() -> None:
    """In a child process the thread that holds the lock may not exist."""
    global _alone
    _alone = threading.RLock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_renew)


@contextmanager
def surroundings(scope: str, videos: Path) -> Iterator[None]:
    """Have them to oneself. Of what is logged, warnings are printed.

    Args:
        scope (str): Library in which a ``type`` without a prefix is looked up.
        videos (Path): Where indices of videos are kept.
    """
    with (
        _alone,
        DefaultScope.overwrite_default_scope(scope),
        _own_logger(),
        frame_files.indices_in(videos),
        without_lost_threads(),
    ):
        yield


@contextmanager
def _own_logger() -> Iterator[None]:
    if MMLogger.check_instance_created(_LOGGER):  # this thread is inside already
        yield
        return
    MMLogger.get_instance(_LOGGER, logger_name='mmdel', log_level='WARNING')
    try:
        yield
    finally:
        # the current logger is the last one that was made, and there is no other way to end being it
        MMLogger._instance_dict.pop(_LOGGER, None)


class Scratch:
    """A temporary folder. It is removed with this object, or when the process ends.

    Attributes:
        folder (Path): The folder.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix='mmdel-'))
        self._remove = weakref.finalize(self, _remove, str(self.folder), os.getpid())

    def remove(self) -> None:
        """Remove it now."""
        self._remove()


def _remove(folder: str, owner: int) -> None:
    if os.getpid() == owner:  # not by a child that has inherited it
        shutil.rmtree(folder, ignore_errors=True)
