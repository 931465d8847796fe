"""Why a file cannot be used, in words: whatever is wrong with it is raised as :class:`~mmdel.errors.UnreadableImage`.

    check_file(path)                          # there is a file with something in it
    with decoding(): ...                      # what decoders raise
    with patient_file(path) as file: ...      # all that goes wrong while it is read and decoded piece by piece

Only what is not the file's fault (memory, the storage, an interrupt) passes through. Reasons hold no paths.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from mmdel.compute import storage
from mmdel.errors import MmdelError, UnreadableImage


def check_file(path: str) -> None:
    """Look whether there is a file with something in it that may be read, without reading it.

    Raises:
        UnreadableImage: It is missing, empty, no regular file, or closed to us.
        StorageError: The storage failed.
    """
    with _system(path):
        # a named pipe would block the run for ever when it is opened
        if not stat.S_ISREG((state := storage.stat(path)).st_mode):
            raise UnreadableImage('is a directory' if stat.S_ISDIR(state.st_mode) else 'is not a regular file')
    if not state.st_size:
        raise UnreadableImage('is empty (0 bytes)')


def read_bytes(path: str) -> bytes:
    """The whole file; raises as :func:`check_file` does."""
    check_file(path)
    with _system(path):
        return storage.read(path)


@contextmanager
def patient_file(path: str) -> Iterator[Any]:
    """An open file for a decoder; raises as :func:`check_file` does, and makes what the decoder raises the file's outcome."""
    check_file(path)
    with reading(path), closing(storage.PatientFile(path)) as file:
        try:
            yield file
        finally:
            file.check()


@contextmanager
def decoding() -> Iterator[None]:
    """Make whatever a decoder raises its file's outcome."""
    try:
        yield
    except (UnreadableImage, MmdelError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly every type there is
        raise UnreadableImage(f'damaged or truncated: {plain_words(error)}') from error


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Make what goes wrong while a file is read and decoded piece by piece its outcome."""
    with _system(path):
        try:
            with decoding():
                yield
        except UnreadableImage as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno is not None:  # the system speaks, not the decoder
                raise cause from None
            raise


def reason_of(error: Exception, path: str) -> str:
    """Why any loader failed on a file: one line for people, without paths and object addresses."""
    if isinstance(error, UnreadableImage):
        return error.reason
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return plain_words(error, path)


def plain_words(error: BaseException, path: str = '') -> str:
    """An error as one line for people, without paths and object addresses."""
    text = str(error).partition('\n')[0]
    for known in (path, repr(path)[1:-1]):
        text = text.replace(known, '') if known else text
    text = re.sub(r'<[^>]*>|\S*[/\\]\S*', '', text)
    return ' '.join(text.split()) or type(error).__name__


@contextmanager
def _system(path: str) -> Iterator[None]:
    """What the system says of a file, as reasons for people."""
    try:
        yield
    except FileNotFoundError as error:
        if os.path.islink(path):
            raise UnreadableImage('is a link to a file that does not exist') from error
        raise UnreadableImage('does not exist (any more)') from error
    except PermissionError as error:
        raise UnreadableImage('permission denied') from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnreadableImage('is a link that leads back to itself') from error
        raise UnreadableImage(f'cannot be read: {(error.strerror or plain_words(error)).lower()}') from error
    except ValueError as error:
        raise UnreadableImage('has a name that no file can have') from error
