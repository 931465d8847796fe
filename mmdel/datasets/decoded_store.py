"""Decoded images on disk, as raw bytes that any number of processes read through the page cache.

    store = DecodedStore('work_dirs/.decoded', limit=8_000_000_000)
    store.put(name, state, {'img': image, 'ori_shape': (640, 640)})
    store.get(name, state)       # the same values; arrays may be written to and the file never changes

An entry is one file: a header, then each array at the beginning of a page. It is written under another name and renamed, so
it is whole or absent, whenever a process is killed; a sum over each page finds what a disk has damaged since. ``get`` maps the
file privately: what later transforms write in place stays with them.

The store never holds more than its limit, however many processes write. Room is taken before an entry is written, from one
count that all of them share under a lock. A process that is killed in between leaves the count too high, never too low; entries
are counted anew before the store is taken to be full. Nothing is ever evicted: a training visits its images in random order,
and a store that drops old images for new ones would hit no more often.
"""

import json
import logging
import math
import os
import platform
import struct
import uuid
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmdel.compute.files import TEMPORARY, process_runs
from mmdel.errors import ConfigError

FORMAT = 2
"""Version of the entries, raised too when mmdel itself decodes in another way."""

_MAGIC = b'mmdeldec'
_PREAMBLE = struct.Struct('<8sII')  # the magic, the length of the header and its CRC-32
_PAGE = 4096  # on every machine that shares the folder
_RUNS_REMEMBERED = 32


class DecodedStore:
    """A bounded folder of decoded images.

    Args:
        folder (str): Where they are; several runs may share it.
        limit (int): Bytes of all entries together.
    """

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self._closed = False  # in this process: no more room, or no way to write
        self._counted = False
        # workers are copies of this object, so that all of a run say once between them that there is no room
        self._run = uuid.uuid4().hex

    def get(self, name: str, state: Any) -> dict[str, Any] | None:
        """The values of an entry, None where there is none, where it was written in another state, or where it is damaged.

        Args:
            name (str): Of the entry, at least three characters that a file may have.
            state (Any): JSON-able; what the values depend on beside the name.
        """
        path = self._path(name)
        try:
            size = os.stat(path).st_size
            if size < _PREAMBLE.size:
                raise ValueError('it is too short')
            # unlike mmap and np.memmap, torch keeps no file descriptor for each array that lives
            data = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).numpy()
            return _unpack(data, state)
        except FileNotFoundError:
            return None
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            self._say(f'{path} is damaged ({error}); its image is decoded anew.')
            return None

    def put(self, name: str, state: Any, values: dict[str, Any]) -> None:
        """Keep values under a name if there is room; a full or unwritable disk is said once and stops nothing.

        Args:
            name (str): Of the entry.
            state (Any): As :meth:`get` will be asked with.
            values (dict): Arrays of numbers, strings, numbers, None, and lists, tuples and dicts of these.

        Raises:
            ConfigError: A value is something else; the message names its key.
        """
        if self._closed:
            return
        parts = _pack(state, values)
        path = self._path(name)
        temporary = path.with_name(f'.{path.name}.{platform.node()}.{os.getpid()}{TEMPORARY}')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not self._take_room(temporary, sum(map(len, parts))):
                    self._closed = True
                    return
                with open(temporary, 'r+b') as file:
                    file.writelines(parts)
                with self._locked():  # who counts meets a file under one name, not on its way to another
                    os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except (OSError, NotImplementedError) as error:
            self._closed = True
            self._say(f'Decoded images can no longer be kept in {self.folder} ({error}); they are decoded each time.')

    def used(self) -> int:
        """Bytes of all entries, counted file by file; what dead processes of this machine were writing is removed."""
        total = 0
        for path in self.folder.glob('??/*'):
            try:
                if path.suffix == TEMPORARY and _is_left(path.name):
                    path.unlink()
                else:
                    total += path.stat().st_size
            except FileNotFoundError:
                continue
        return total

    def _take_room(self, temporary: Path, size: int) -> bool:
        """Make a file of that many bytes, which whoever counts from now on finds; False where there is no room for it."""
        with self._locked():
            count = self._read_count()
            if count['bytes'] + size > self.limit and not self._counted:
                count['bytes'], self._counted = self.used(), True
            room = count['bytes'] + size <= self.limit
            if room:
                count['bytes'] += size
            elif self._run not in count['told']:
                count['told'] = [*count['told'], self._run][-_RUNS_REMEMBERED:]
                self._say(
                    f'{self.folder} holds {count["bytes"] / 1e9:,.2f} GB of decoded images, as much as its limit of '
                    f'{self.limit / 1e9:,.2f} GB allows; the other images are decoded each time. Raise the limit, or remove '
                    'the folder if it is of earlier trainings.'
                )
            self._write_count(count)
            if room:
                with open(temporary, 'wb') as file:
                    file.truncate(size)
        return room

    def _read_count(self) -> dict[str, Any]:
        try:
            count = json.loads((self.folder / 'count.json').read_bytes())
            return {'bytes': int(count['bytes']), 'told': list(count['told'])}
        except (OSError, ValueError, KeyError, TypeError):
            self._counted = True
            return {'bytes': self.used(), 'told': []}

    def _write_count(self, count: dict[str, Any]) -> None:
        temporary = self.folder / f'count.json{TEMPORARY}'  # one process at a time: under the lock
        temporary.write_text(json.dumps(count))
        os.replace(temporary, self.folder / 'count.json')

    def _locked(self) -> FileLock:
        return FileLock(self.folder / 'lock')

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name[2:]

    @staticmethod
    def _say(text: str) -> None:
        print_log(text, logger='current', level=logging.WARNING)


def _pack(state: Any, values: dict[str, Any]) -> list[bytes]:
    """The parts of an entry's file."""
    arrays: list[list[Any]] = []
    plain: dict[str, Any] = {}
    body: list[bytes] = []
    place = 0
    for key, value in values.items():
        if not isinstance(value, np.ndarray):
            plain[key] = _to_json(value, key)
            continue
        if value.dtype.kind not in 'biuf':
            raise _cannot_be_kept(key, f'an array of {value.dtype}')
        arrays.append([key, value.dtype.str, list(value.shape), place])
        data = np.ascontiguousarray(value).tobytes()
        body += [data, bytes(-len(data) % _PAGE)]
        place += len(data) + len(body[-1])
    checksum = _sum(np.frombuffer(b''.join(body), np.uint8))
    header = json.dumps({'state': state, 'values': plain, 'arrays': arrays, 'bytes': place, 'sum': checksum}).encode()
    preamble = _PREAMBLE.pack(_MAGIC, len(header), zlib.crc32(header))
    return [preamble, header, bytes(-(len(preamble) + len(header)) % _PAGE), *body]


def _unpack(data: NDArray[np.uint8], state: Any) -> dict[str, Any] | None:
    """The values in an entry's file, None where its state is another one; raises where it is damaged."""
    magic, length, checksum = _PREAMBLE.unpack(data[: _PREAMBLE.size].tobytes())
    text = data[_PREAMBLE.size : _PREAMBLE.size + length].tobytes()
    if magic != _MAGIC or zlib.crc32(text) != checksum:
        raise ValueError('its header has changed')
    header = json.loads(text)
    if header['state'] != json.loads(json.dumps(state)):
        return None
    body = data[-(-(_PREAMBLE.size + length) // _PAGE) * _PAGE :]
    if len(body) != header['bytes'] or _sum(body) != header['sum']:
        raise ValueError('its pixels have changed')
    values = {key: _from_json(value) for key, value in header['values'].items()}
    for key, kind, shape, place in header['arrays']:
        dtype = np.dtype(kind)
        flat = body[place : place + math.prod(shape) * dtype.itemsize]
        values[key] = flat.view(dtype).reshape(shape)
    return values


def _sum(body: NDArray[np.uint8]) -> int:
    """A checksum at the speed of memory: the sum over each page finds changed and emptied pages, their CRC exchanged ones."""
    sums = body.view(np.uint64).reshape(-1, _PAGE // 8).sum(axis=1, dtype=np.uint64)
    return zlib.crc32(sums.tobytes())


def _to_json(value: Any, key: str) -> Any:
    """A value as JSON that tells tuples from lists, and keeps the keys of dicts."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_ | np.integer | np.floating):
        return {'array': [value.dtype.str, value.item()]}
    if isinstance(value, int | float):
        return value
    if isinstance(value, list):
        return [_to_json(each, key) for each in value]
    if isinstance(value, tuple):
        return {'tuple': [_to_json(each, key) for each in value]}
    if isinstance(value, dict):
        return {'dict': [[_to_json(one, key), _to_json(each, key)] for one, each in value.items()]}
    raise _cannot_be_kept(key, type(value).__name__)


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(each) for each in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == 'array':
        return np.dtype(content[0]).type(content[1])
    if kind == 'tuple':
        return tuple(_from_json(each) for each in content)
    return {_from_json(one): _from_json(each) for one, each in content}


def _cannot_be_kept(key: str, what: str) -> ConfigError:
    return ConfigError(
        f'The loader gives {what} as {key!r}, which cannot be kept on disk. mmdel.LoadCached wraps loaders of images and masks: '
        'arrays of numbers, and plain values beside them.'
    )


def _is_left(name: str) -> bool:
    """Whether a temporary file belongs to a process of this machine that runs no more."""
    _, _, writer = name.removesuffix(TEMPORARY).partition(f'.{platform.node()}.')
    return writer.isdigit() and not process_runs(int(writer))
