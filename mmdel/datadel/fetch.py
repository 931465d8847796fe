"""Archives from the publishers' own direct links: never silently, resumed where they stopped, checked at the end.

    for link in find('kvasir-seg').links:
        download(link, 'downloads')

A download grows in ``<archive>.part`` and gets its name when it is whole and its size or checksum is right. What it is
recognised by afterwards stands in the catalogue, ``catalog_downstream.py`` and ``catalog_pretraining.py``.
"""

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from mmdel.compute.files import file_digest, write_text
from mmdel.datadel.catalog_entry import Link
from mmdel.errors import DatasetError

_BLOCK = 1 << 20
_SECONDS = 60
_PARTIAL, _RANGE_WRONG = 206, 416

Tick = Callable[[int], None]


def size_of(link: Link) -> int | None:
    """How many bytes a link has, from the catalogue, else from the server; None where it does not tell.

    Raises:
        DatasetError: The server cannot be reached.
    """
    if link.size is not None:
        return link.size
    with _request(link, {}, method='HEAD') as answer:
        return _length(answer)


def download(link: Link, folder: str | os.PathLike[str], tick: Tick | None = None) -> Path:
    """Load one archive, or the rest of it.

    Args:
        link (Link): What.
        folder (str): Where to.
        tick (Callable, optional): Is called with the number of bytes that came. Defaults to None.

    Returns:
        Path: The archive. One that is there already and has the right size or checksum is not loaded again.

    Raises:
        DatasetError: It cannot be reached, does not fit on the disk, or is not what the catalogue says.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / link.archive
    if target.exists():
        _check(link, target, target.stat().st_size if link.size is None else link.size, whose=True)
        return target
    part = folder / f'{link.archive}.part'
    size = _load(link, part, tick or (lambda done: None))
    _check(link, part, size)
    os.replace(part, target)
    _validator(part).unlink(missing_ok=True)
    return target


# --- private


def _load(link: Link, part: Path, tick: Tick) -> int | None:
    """Append what is missing to the part; the size of the whole, where it is known."""
    have = part.stat().st_size if part.exists() else 0
    if have and have == link.size:
        tick(have)
        return link.size
    headers = {}
    if have:
        headers['Range'] = f'bytes={have}-'
        if _validator(part).is_file():  # if the file on the server is another by now, it comes whole
            headers['If-Range'] = _validator(part).read_text(encoding='utf-8').strip()
    try:
        answer = _request(link, headers)
    except _RangeError:
        part.unlink()
        return _load(link, part, tick)
    with answer:
        resumed = answer.status == _PARTIAL and answer.headers.get('Content-Range', '').startswith(f'bytes {have}-')
        length = _length(answer)
        whole = None if length is None else length + (have if resumed else 0)
        if link.size is not None and whole is not None and whole != link.size:
            raise DatasetError(
                f'{link.url} has {whole:,} bytes, and the catalogue says {link.size:,}. It has changed: load it by hand from the '
                'page, and look at what it is.'
            )
        _check_space(part.parent, length or 0)
        validator = answer.headers.get('ETag') or answer.headers.get('Last-Modified') or ''
        if validator and not validator.startswith('W/'):
            write_text(_validator(part), validator + '\n')
        tick(have if resumed else 0)
        try:
            with open(part, 'ab' if resumed else 'wb') as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    tick(len(block))
        except (OSError, HTTPException) as error:
            raise DatasetError(f'{link.url} broke off ({error}). Start again: it goes on where it stopped.') from error
    if whole is not None and part.stat().st_size < whole:
        raise DatasetError(
            f'{link.url} broke off after {part.stat().st_size:,} of {whole:,} bytes. Start again: it goes on where it stopped.'
        )
    return whole


class _RangeError(Exception):
    pass


def _request(link: Link, headers: dict[str, str], method: str = 'GET') -> HTTPResponse:
    if not link.url.startswith(('http://', 'https://')):
        raise DatasetError(f'{link.url} is no web address.')
    request = urllib.request.Request(link.url, headers={'User-Agent': 'mmdel', **headers}, method=method)
    try:
        return urllib.request.urlopen(request, timeout=_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == _RANGE_WRONG and 'Range' in headers:
            raise _RangeError from error
        raise DatasetError(
            f'{link.url} answers {error.code} ({error.reason}). Load it by hand from the page.'
        ) from error
    except (OSError, HTTPException) as error:
        raise DatasetError(f'{link.url} cannot be reached ({error}).') from error


def _length(answer: HTTPResponse) -> int | None:
    length = answer.headers.get('Content-Length', '')
    return int(length) if length.isdecimal() else None


def _check(link: Link, path: Path, size: int | None, whose: bool = False) -> None:
    found = path.stat().st_size
    problem = ''
    if size is not None and found != size:
        problem = f'has {found:,} bytes instead of {size:,}'
    elif link.sha256 is not None and (digest := file_digest(path)) != link.sha256:
        problem = f'has the sha256 {digest} instead of {link.sha256}'
    if problem:
        raise DatasetError(
            f'{path} {problem}. Remove it and load it again.' if whose else f'{path} {problem}. Remove it.'
        )


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f'{folder} has {free:,} bytes free, and {needed:,} are to come.')


def _validator(part: Path) -> Path:
    return part.with_name(f'{part.name}.etag')
