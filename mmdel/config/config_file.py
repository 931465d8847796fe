"""Configs as the command line gives them: a file, and KEY=VALUE on top of it."""

import difflib
import os
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict, DictAction
from mmengine.utils import import_modules_from_strings

from mmdel.config.shipped import LIBRARIES, config_names, find_config, part_names
from mmdel.errors import ConfigError

SUFFIXES = ('.py', '.json', '.yaml', '.yml')
"""What mmengine reads."""

_IMPORTS = (
    'Write dict(imports=[...]) with modules that Python finds; the folder of your own has to stand in PYTHONPATH.'
)

_READERS = ('_file2dict', '_parse_lazy_import', '_is_lazy_import', '_validate_py_syntax')
"""Functions of mmengine that read one file each."""


def read_config(path: str, options: Sequence[str] | None = None) -> Config:
    """Read a config and change keys of it.

    Args:
        path (str): The file, or a name that :func:`~mmdel.config.shipped.find_config` knows.
        options (Sequence[str], optional): See :func:`merge_options`. Defaults to None.

    Raises:
        ConfigError: There is no such file, or it cannot be read; the message says in which line of which file.
    """
    cfg = _read(find_config(path))
    merge_options(cfg, options)
    return cfg


def read_part(name: str, folder: Path, key: str) -> ConfigDict:
    """One key of a config that is named by its stem, or of one's own file.

    Args:
        name (str): The stem of a file in ``folder``, such as 'pixels', or a path that ends in .py; of an encoder also one of
            another library, such as 'timm:resnet50', see :data:`~mmdel.config.shipped.LIBRARIES`.
        folder (Path): Where the ready ones lie, such as ``configs/_base_/embedders``.
        key (str): Which key, such as 'embedder'.

    Raises:
        ConfigError: There is no such file, or it has no such key.
    """
    kind, _, model = name.partition(':')
    if key == 'embedder' and kind in LIBRARIES:
        if not model:
            raise ConfigError(
                f'--encoder {name} names no model. Write {kind}:{"FILE.onnx" if kind == "onnx" else "NAME"}.'
            )
        return ConfigDict(type=LIBRARIES[kind], model=os.path.expanduser(model))
    path = Path(name) if name.endswith('.py') else folder / f'{name}.py'
    if not path.is_file():
        others = ', timm:NAME, hf:NAME, onnx:FILE' if key == 'embedder' else ''
        raise ConfigError(
            f'There is no {key} {name!r}. There are: {", ".join(part_names(folder))}{others}; or give a config file of your own.'
        )
    part = _read(str(path))
    if key not in part:
        raise ConfigError(f'{path} has no key {key!r}. Write one, e.g. {key} = dict(type=...).')
    return part[key]


def merge_options(cfg: Config, options: Sequence[str] | None) -> list[str]:
    """Change keys of a config by KEY=VALUE, as every OpenMMLab tool reads them, but for spaces: those in a path stay.

    A value in quotes of its own, ``KEY="'2024'"``, is text whatever it looks like, ``KEY="''"`` empty text.
    mmengine's own way needs mmengine while arguments are parsed, which would slow ``--help`` down.

    Returns:
        list[str]: Keys that the config did not have, such as 'selector.clusterer' for ``selector.clusterer.seed=1``.

    Raises:
        ConfigError: An option is no KEY=VALUE, is given twice, or names a place that the config cannot have.
    """
    found: dict[str, Any] = {}
    new: list[str] = []
    for option in options or ():
        key, equals, text = option.partition('=')
        if not equals or not all(part.strip() for part in key.split('.')):
            raise ConfigError(f'--cfg-options {option}: write KEY=VALUE, such as center=True or selector.eta=0.8.')
        if not text.strip():
            raise ConfigError(
                f'--cfg-options {option}: the value is empty. Is a shell variable not set? Empty text is {key}="\'\'".'
            )
        if key in found:
            raise ConfigError(f'--cfg-options gives {key} twice. Leave one of them out.')
        new += _new_key(cfg, key, option)
        try:
            # a shell does not expand it behind an equals sign
            found[key] = _Options._parse_iterable(os.path.expanduser(text) if text.startswith('~/') else text)
        except (AssertionError, RecursionError) as error:
            raise ConfigError(f'--cfg-options {option}: the brackets do not match.') from error
    merge_values(cfg, found, '--cfg-options')
    return new


def merge_values(cfg: Config, values: Mapping[str, Any], where: str) -> None:
    """Change keys of a config by dotted keys and their values; modules of ``custom_imports`` are imported then.

    Args:
        cfg (Config): The config.
        values (Mapping[str, Any]): Such as ``{'selector.eta': 0.8}``.
        where (str): Where they come from, for messages.

    Raises:
        ConfigError: A key lies below what has no keys, or a module cannot be imported.
    """
    try:
        cfg.merge_from_dict(dict(values))
    except (TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f'{where}: {dict(values)!r} does not fit the config ({error}).') from error
    if any(key.partition('.')[0] == 'custom_imports' for key in values):
        try:  # mmengine imports what a file names only
            import_modules_from_strings(**cfg.custom_imports)
        except (ImportError, TypeError) as error:
            raise ConfigError(
                f'custom_imports={cfg.custom_imports!r} cannot be imported: {error}. {_IMPORTS}'
            ) from error


class _Options(DictAction):
    """mmengine takes all spaces out of a value, so that ``data_root=/my data`` names another folder."""

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        quoted = len(val) > 1 and val[0] == val[-1] and val[0] in '\'"' and val[0] not in val[1:-1]
        if quoted and not val[1:-1].startswith(('(', '[')):
            return val[1:-1]
        if ' ' in val and ',' not in val and not val.startswith(('(', '[')):
            return val.strip('\'"')
        return DictAction._parse_iterable(val)


def _new_key(cfg: Config, key: str, option: str) -> list[str]:
    """The key up to the first part that the config lacks. A key below what has no keys, such as a number, is refused."""
    parts = key.split('.')
    place: Any = cfg._cfg_dict
    for number, part in enumerate(parts):
        above = '.'.join(parts[:number])
        if isinstance(place, Mapping):
            if part not in place:
                return ['.'.join(parts[: number + 1])]
            place = place[part]
        elif isinstance(place, list):
            if not part.isdigit() or int(part) >= len(place):
                entries = (
                    f'entries 0 to {len(place) - 1}' if len(place) > 1 else f'{len(place)} entries, counted from 0'
                )
                raise ConfigError(f'--cfg-options {option}: {above} is a list of {entries}; {part!r} is none of them.')
            place = place[int(part)]
            if number == len(parts) - 1:  # mmengine merges into an entry, and cannot set one
                raise ConfigError(
                    f'--cfg-options {option}: an entry cannot be replaced. Write the list, {above}=[...].'
                )
        else:
            raise ConfigError(f'--cfg-options {option}: {above} is {place!r}, which has no keys.')
    return []


def _read(path: str) -> Config:
    if os.path.isdir(path):
        raise ConfigError(f'The config {path} is a folder. Name a file in it.')
    if not os.path.isfile(path):
        near = difflib.get_close_matches(Path(path).stem, config_names(), 1)
        hint = f' Did you mean {near[0]}?' if near else ''
        raise ConfigError(
            f'The config {path} is not there.{hint} Ready ones lie in configs/, e.g. configs/meddel_eta08.py; '
            'all of them: mmdel configs'
        )
    if not path.endswith(SUFFIXES):
        raise ConfigError(f'{path} is no config: their names end in {", ".join(SUFFIXES)}.')
    try:
        cfg = Config.fromfile(path)
        if not isinstance(cfg._cfg_dict, Mapping):
            raise TypeError('it holds no keys')
        return cfg
    except RecursionError as error:
        raise ConfigError(f'{path} inherits from itself by way of its _base_. Take one of the files out.') from error
    # a config is a program: whatever it raises is the mistake of who wrote it
    except (Exception, SystemExit) as error:
        raise ConfigError(_what_went_wrong(path, error)) from error


def _what_went_wrong(path: str, error: BaseException) -> str:
    frames = list(traceback.walk_tb(error.__traceback__))
    reading = [str(frame.f_locals['filename']) for frame, _ in frames if frame.f_code.co_name in _READERS]
    if len(reading) > len(set(map(os.path.realpath, reading))) + len(_READERS):
        return f'{path} inherits from itself by way of its _base_. Take one of the files out.'
    file = _as_typed(reading[-1] if reading else path, path)
    if isinstance(error, FileNotFoundError) and not os.path.isfile(file):
        above = next((each for each in reversed(reading) if os.path.isfile(each)), path)
        return f'The config {file}, a _base_ of {_as_typed(above, path)}, is not there.'
    syntax = next((each for each in (error, error.__context__) if isinstance(each, SyntaxError) and each.lineno), None)
    if syntax is not None:
        text = (syntax.text or '').strip()
        return f'{file}, line {syntax.lineno}: {syntax.msg}{f": {text}" if text else ""}'
    # of an error in what a config calls, the line of the config is what its author knows
    lines = [line for frame, line in frames if frame.f_code.co_filename in reading]
    if lines:
        return f'{file}, line {lines[-1]}: {type(error).__name__}: {_first_line(error)}'
    if isinstance(error, UnicodeDecodeError):
        return f'{file} is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8.'
    if isinstance(error, ImportError) and 'custom modules' in str(error):
        return f'{file}: custom_imports cannot be imported: {error.__cause__}. {_IMPORTS}'
    return f'The config {file} cannot be read: {type(error).__name__}: {_first_line(error)}'


def _as_typed(file: str, path: str) -> str:
    return path if os.path.realpath(file) == os.path.realpath(path) else os.path.relpath(file)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition('\n')[0]
