r"""What a person means by ``--images``: a folder, a list of paths, an archive, a pattern that the shell did not expand.

    asked = asked_images(["'~/frames/*.png'"])
    asked.dataset     # {'type': 'mmdel.DataDEL', 'data_root': '/home/me/frames', 'ann_file': '.../frames-1f0c.txt'}

What is none of these is refused with what it is and what to do: ``C:\x``, a URL, one picture, a DICOM file.
"""

import csv
import difflib
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from mmengine.logging import print_log

from mmdel.compute import storage
from mmdel.compute.files import write_text
from mmdel.errors import ConfigError, UnreadableImage
from mmdel.images import formats
from mmdel.images.archives import ARCHIVE_SUFFIXES, FOREIGN_ARCHIVES, is_archive, open_source
from mmdel.images.file_source import Source
from mmdel.images.formats import FOREIGN, IMAGE, ending_of, kind_by_first_bytes
from mmdel.images.left_out import is_junk
from mmdel.subset import plain_files

ARCHIVES = Path('work_dirs/.archives')
"""Where archives are unpacked, each once."""

LISTS = Path('work_dirs/.lists')
"""Where lists are kept as they were read: :class:`~mmdel.datasets.datadel.DataDEL` knows paths below one folder only."""

_LISTS = ('.txt', '.lst', '.list', '.csv', '.tsv')
_QUOTES = '\'"`\u2018\u2019\u201c\u201d'
_LOOKED_AT = 100
_OTHER_OPTION = {
    '.npy': 'Vectors are given with --embeddings FILE.npy.',
    '.py': 'A config is given with --dataset-from CONFIG.',
    '.parquet': 'A subset is gone on from with --update OLD.',
    '.json': 'Give a list of paths, one a line, or a config that reads it: --dataset-from CONFIG.',
}


@dataclass(frozen=True)
class Asked:
    """Images that were asked for.

    Args:
        path (str): What they are known by: the folder, the archive, or the list.
        dataset (dict): Config of their dataset.
    """

    path: str
    dataset: dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """Where it is kept what lists and archives hold.

    Args:
        archives (Path): Defaults to :data:`ARCHIVES`.
        lists (Path): Defaults to :data:`LISTS`.
    """

    archives: Path = ARCHIVES
    lists: Path = LISTS


def asked_images(typed: str | Sequence[str], kept: Kept | None = None) -> Asked:
    """Find out what was asked for; an archive is unpacked unless it is there.

    Args:
        typed (str | Sequence[str]): What was typed: one path, or what a shell made of a pattern.
        kept (Kept, optional): Where archives are unpacked and lists written. Defaults to None: where commands keep them.

    Raises:
        ConfigError: There is nothing that can be used; the message says what it is and what to do.
        StoreError: An archive has no room.
    """
    kept = kept or Kept()
    given = [typed] if isinstance(typed, str) else list(typed)
    paths = _outermost([path for each in given for path in _expanded(each)])
    if len(paths) == 1:
        return _one(paths[0], kept)
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    if set(_visible(folder)) <= {os.path.abspath(path) for path in paths}:
        return Asked(folder, _dataset(folder))
    if all(map(os.path.isdir, paths)):
        sources = tuple(sorted(os.path.relpath(path, folder).replace(os.sep, '/') for path in paths))
        return Asked(folder, _dataset(folder, sources=sources))
    if any(map(os.path.isdir, paths)) or any(map(is_archive, paths)):
        raise ConfigError(
            f'--images: {_some(paths)} are a mix of folders, files and archives. Give one folder above them, and say with '
            '--exclude what stays out; or folders only; or files only.'
        )
    return _listed(paths, os.path.basename(folder) or 'images', folder, kept.lists)


# --- one path


def _one(path: str, kept: Kept) -> Asked:
    if os.path.isdir(path):
        return Asked(path, _dataset(path))
    ending = ending_of(path)
    folder = os.path.dirname(os.path.abspath(path))
    if is_archive(path):
        return Asked(path, _dataset(str(_unpacked(Path(path), kept.archives))))
    if ending in _LISTS:
        return _from_list(path, kept.lists)
    if not os.path.isfile(path):
        raise ConfigError(f'--images: {path} is no folder and no file. Give the folder that holds the images.')
    if formats.is_video(path):
        raise ConfigError(f'--images: {path} is one video. Take frames of it: --images {folder} --videos 1fps')
    if ending in FOREIGN:
        raise _foreign(path, FOREIGN[ending])
    if path.lower().endswith((*FOREIGN_ARCHIVES, '.gz', '.bz2', '.xz', '.zst', '.iso')):
        raise ConfigError(
            f'--images: {path} is packed in a way that is not read here ({", ".join(ARCHIVE_SUFFIXES)} are). Unpack it, and give '
            'the folder.'
        )
    kind = IMAGE if ending in formats.endings(videos=False) else '' if ending else kind_by_first_bytes(path)
    if kind == IMAGE:
        raise ConfigError(
            f'--images: {path} is one image, and there is nothing to choose from one. Give the folder that holds the images: '
            f'--images {folder}'
        )
    if kind:
        raise _foreign(path, kind)
    raise ConfigError(
        f'--images: {path} is no folder. Take a folder of images, an archive ({", ".join(ARCHIVE_SUFFIXES)}), or a list of paths '
        f'({", ".join(_LISTS)}). {_OTHER_OPTION.get(ending, "")}'.rstrip()
    )


def _foreign(path: str, kind: str) -> ConfigError:
    return ConfigError(
        f'--images: {path} is a {kind} file, which mmdel does not read. Convert its pictures, for instance to PNG, and give '
        'their folder.'
    )


# --- what was typed


def _expanded(typed: str) -> list[str]:
    """The paths that are meant, each of which is there."""
    if os.path.lexists(typed) and not os.path.exists(typed):
        raise ConfigError(f'--images: {typed} is a link to {os.readlink(typed)}, which is not there.')
    if typed and os.path.exists(typed):
        return [typed]
    text = typed.strip().strip(_QUOTES).strip()
    if not text:
        raise ConfigError(
            '--images is empty. Give the folder that holds the images; is a variable of the shell not set?'
        )
    path = os.path.expanduser(os.path.expandvars(text))
    if os.path.exists(path):
        return [path]
    if found := _matches(path):
        return found
    raise ConfigError(f'--images: {_missing(text, path)}')


def _missing(text: str, path: str) -> str:
    """What a path that is not there may be, and what to do."""
    if re.match(r'file://', text, re.IGNORECASE):
        return f'{text} is a URL. Give the path alone: {re.sub("^file://(localhost)?", "", text, flags=re.IGNORECASE)}'
    if re.match(r'[a-z][a-z0-9+.-]+:/', text, re.IGNORECASE):
        return (
            f'{text} is an address, and mmdel reads files of this machine. Download or mount it, and give the folder.'
        )
    if re.match(r'[a-z]:', text, re.IGNORECASE) and os.name != 'nt':
        here = f'/mnt/{text[0].lower()}/' + text[2:].replace('\\', '/').lstrip('/')
        if os.path.exists(here):
            return f'{text} is a Windows path, which is {here} here. Give that: --images {here}'
        return (
            f'{text} is a Windows path, and this is no Windows. In WSL the drive is /mnt/{text[0].lower()}; elsewhere copy or '
            'mount the folder, and give its path on this machine. Put paths with a backslash in quotes.'
        )
    if text.startswith('\\\\'):
        return f'{text} is a network path of Windows. Mount it, and give its path on this machine.'
    if variable := re.search(r'\$(\w+|\{\w+\})|%\w+%', path):
        return f'{text}: the variable {variable[0]} is not set.'
    if '\\' in path and os.path.exists(path.replace('\\', '/')):
        return f'{text} is spelled as on Windows. Give {path.replace(chr(92), "/")}'
    if glob.has_magic(path):
        return f'no file or folder matches {text}.'
    # the first part that is wrong
    wrong = Path(os.path.abspath(path))
    while not wrong.parent.exists():
        wrong = wrong.parent
    if not wrong.parent.is_dir():
        return f'{text} is not there: {wrong.parent} is a file.'
    try:
        near = difflib.get_close_matches(wrong.name, os.listdir(wrong.parent), 1)
    except OSError:
        near = []
    hint = f' There is {wrong.parent / near[0]}.' if near else ''
    return f'{text} is not there: {wrong.parent} has no {wrong.name}.{hint}'


def _matches(pattern: str) -> list[str]:
    """What a pattern matches, without what systems leave behind."""
    fixed = re.split(r'[*?\[]', pattern)[0].rpartition('/')[0]
    found = glob.glob(pattern, recursive=True)
    return sorted(path for path in found if not any(map(is_junk, path[len(fixed) :].split('/'))))


def _outermost(paths: Sequence[str]) -> list[str]:
    """Each path once, without those that lie below another: `**` gives a folder and all that is in it."""
    folders = {os.path.abspath(path) for path in paths if os.path.isdir(path)}
    first = {os.path.abspath(path): path for path in reversed(paths)}
    return [path for absolute, path in sorted(first.items()) if folders.isdisjoint(map(str, Path(absolute).parents))]


def _visible(folder: str) -> list[str]:
    """What lies in a folder, absolute, as a shell expands `*`."""
    return [os.path.join(folder, name) for name in os.listdir(folder) if not name.startswith('.')]


# --- lists


def _from_list(path: str, lists: Path) -> Asked:
    lines = _cells(path) if ending_of(path) in ('.csv', '.tsv') else _lines(path)
    if not lines:
        raise ConfigError(f'--images: the list {path} is empty. Write one path a line.')
    below = os.path.dirname(os.path.abspath(path))
    bases = (below, os.getcwd())
    base = max(bases, key=lambda base: sum(_is_there(base, line) for line in lines[:_LOOKED_AT]))
    if not any(_is_there(base, line) for line in lines):
        raise ConfigError(
            f'--images: {path} is no list of files: no line of it is one, neither below {below} nor below {os.getcwd()}; the '
            f'first is {lines[0]!r}. For a list of keys, name the folder that they are relative to: --cfg-options '
            f'dataset.data_root=FOLDER dataset.ann_file={os.path.abspath(path)}, without --images.'
        )
    files = [_resolved(base, line) for line in lines]
    if all(Path(file).is_relative_to(base) for file in files):
        folder = base
    else:
        folder = os.path.commonpath([os.path.dirname(file) for file in files])
    return _listed(files, Path(path).stem, folder, lists, path)


def _lines(path: str) -> list[str]:
    return list(plain_files.names_of(plain_files.read_lines(path, 'surrogateescape'), plain_files.trimmed))


def _listed(files: Iterable[str], name: str, folder: str, lists: Path, path: str | None = None) -> Asked:
    """The files as a list that DataDEL reads; it is named by what is in it, so that a changed list is another one."""
    lines = dict.fromkeys(os.path.relpath(file, folder).replace(os.sep, '/') for file in files)
    text = ''.join(f'{line}\n' for line in sorted(lines))
    data = text.encode('utf-8', 'surrogateescape')
    ours = lists.absolute() / f'{name}-{hashlib.sha256(os.fsencode(folder) + data).hexdigest()[:12]}.txt'
    if not ours.exists():
        write_text(ours, text)
    return Asked(path or folder, _dataset(folder, ann_file=str(ours)))


def _cells(path: str) -> list[str]:
    """The column of a table that names files, without its title."""
    lines = _lines(path)
    try:
        rows = list(csv.reader(lines, delimiter='\t' if '\t' in ''.join(lines[:1]) else ','))
    except csv.Error as error:
        raise ConfigError(f'--images: {path} cannot be read as a table ({error}).') from error
    below = os.path.dirname(os.path.abspath(path))
    for row in rows[:_LOOKED_AT]:
        for column, cell in enumerate(row):
            if _is_there(below, cell) or _is_there(os.getcwd(), cell):
                named = [row[column].strip() for row in rows if len(row) > column and row[column].strip()]
                titled = not any(_is_there(base, named[0]) for base in (below, os.getcwd())) and '.' not in named[0]
                return named[titled:]
    return [row[0] for row in rows if row]


def _resolved(base: str, line: str) -> str:
    path = os.path.join(base, os.path.expanduser(line.strip(_QUOTES)))
    if '\\' in line and not os.path.lexists(path):
        path = path.replace('\\', '/')
    return os.path.normpath(path)


def _is_there(base: str, line: str) -> bool:
    return '\0' not in line and os.path.isfile(_resolved(base, line))


# --- archives


def _unpacked(archive: Path, below: Path) -> Path:
    """The folder with what is in an archive; it appears under its name only when it is whole."""
    status = archive.stat()
    state = f'{archive.absolute()}\n{status.st_size}\n{status.st_mtime_ns}'.encode('utf-8', 'surrogateescape')
    target = below / f'{archive.name.split(".")[0]}-{hashlib.sha256(state).hexdigest()[:12]}'
    below.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f'.{target.name}.lock')):
        if not target.is_dir():
            with open_source(archive) as source:
                _unpack(source, target)
            print_log(f'{archive} is unpacked into {target}: keys are relative to that folder.', 'current')
    return target


def _unpack(source: Source, target: Path) -> None:
    # what no place belongs to is about the archive as a whole
    if broken := [reason for path, reason in source.problems if not path]:
        raise ConfigError(f'--images: {source.path} {broken[0]}')
    if source.problems:
        _say_left(source, source.problems)
    if not source.members:
        raise ConfigError(f'--images: {source.path} holds no file that can be unpacked.')
    storage.require_space(target.parent, sum(member.size for member in source.members), f'files of {source.path.name}')
    part = target.with_name(f'.{target.name}.part')
    shutil.rmtree(part, ignore_errors=True)
    damaged = []
    for member in source.members:
        path = part / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(path, 'wb') as file:
                file.writelines(source.blocks(member))
        except UnreadableImage as error:
            path.write_bytes(b'')  # so that it is a row of the ledger
            damaged.append((member.path, error.reason))
    if damaged:
        _say_left(source, damaged)
    if hasattr(os, 'sync'):
        os.sync()
    os.replace(part, target)


def _say_left(source: Source, problems: Sequence[tuple[str, str]]) -> None:
    named = '; '.join(f'{path} {reason}' for path, reason in problems[:3])
    print_log(
        f'{len(problems):,} files of {source.path} cannot be used: {named}{"; ..." * (len(problems) > 3)}', 'current'
    )


# --- private


def _dataset(folder: str, **rest: Any) -> dict[str, Any]:
    return dict(type='mmdel.DataDEL', data_root=folder, **rest)


def _some(paths: Sequence[str]) -> str:
    return ', '.join(paths[:3]) + (', ...' if len(paths) > 3 else '')
