"""The log file of a run, which is made only once the run may write into its work dir."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging.handlers import MemoryHandler
from pathlib import Path

from mmengine.logging import MMLogger
from mmengine.logging.logger import MMFormatter

_HELD_BACK = 10_000


@contextmanager
def logged(file: Path) -> Iterator[Callable[[], None]]:
    """Make 'mmdel' the current logger, and give what begins its file with all that was said before.

    Args:
        file (Path): The log file. Its folder is made with it.
    """
    logger = MMLogger.get_instance('mmdel', logger_name='mmdel', log_level='INFO')
    early = MemoryHandler(_HELD_BACK, flushLevel=logging.CRITICAL + 1, flushOnClose=False)
    logger.addHandler(early)

    def begin() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(file, encoding='utf-8')
        handler.setFormatter(MMFormatter(color=False, datefmt='%Y/%m/%d %H:%M:%S'))
        early.setTarget(handler)
        early.flush()
        early.flushLevel = logging.NOTSET  # from here on each line is written as it comes

    try:
        yield begin
    finally:
        logger.removeHandler(early)
        target = early.target
        early.close()
        if target is not None:
            target.close()
