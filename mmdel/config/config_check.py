"""Checks parts of a config against what reads them: keys against the arguments of a class, values against their annotations.

check_value('abc', float | None, 'selector.epsilon')
# ConfigError: selector.epsilon is a number or None, got 'abc'.
"""

import collections.abc
import difflib
import inspect
import math
import numbers
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmdel.errors import ConfigError

LISTED = 20
"""Keys that a message lists; more would bury it."""

OWN_ROOMS = ('mmdel', 'mmengine')
"""Packages in which ``**kwargs`` of a constructor are arguments of its base class; elsewhere they may go anywhere."""


@dataclass(frozen=True)
class Arguments:
    """What a class or function may be given.

    Args:
        kinds (dict[str, Any]): Name to annotation, ``Any`` where there is none.
        required (tuple[str, ...]): Those without a default.
        open (bool): Whether it takes further ones, of which nothing is known.
    """

    kinds: dict[str, Any]
    required: tuple[str, ...]
    open: bool


def arguments(kind: Callable) -> Arguments:
    """The arguments of a class's constructor or of a function; ``**kwargs`` lead to the constructor of the base class."""
    kinds: dict[str, Any] = {}
    required: list[str] = []
    makers = [each for each in kind.__mro__ if '__init__' in vars(each)] if isinstance(kind, type) else [kind]
    for maker in makers:
        function = vars(maker)['__init__'] if isinstance(maker, type) else maker
        try:
            parameters = list(inspect.signature(function).parameters.values())[isinstance(maker, type) :]
        except (TypeError, ValueError):  # written in C, without a signature
            return Arguments(kinds, tuple(required), True)
        annotations = _annotations(function)
        rest = False
        for each in parameters:
            if each.kind in (each.VAR_KEYWORD, each.VAR_POSITIONAL):
                rest |= each.kind == each.VAR_KEYWORD
            elif each.name not in kinds:
                kinds[each.name] = annotations.get(each.name, Any)
                required += [each.name] if each.default is each.empty and maker is makers[0] else []
        if not rest:
            return Arguments(kinds, tuple(required), False)
        if maker.__module__.partition('.')[0] not in OWN_ROOMS:
            break
    return Arguments(kinds, tuple(required), True)


def check_keys(given: Mapping[str, Any], known: Iterable[str], path: str, owner: str, hint: str = '') -> None:
    """Refuse a key that nobody reads; names that begin with an underscore are the file's own.

    Args:
        given (Mapping): Part of a config.
        known (Iterable[str]): The keys that it may have.
        path (str): Where it stands, such as 'embedder'; '' for the whole config.
        owner (str): Who reads it, such as 'mmdel.PixelEmbedder'.
        hint (str): What to say where no known key is near. Defaults to ''.

    Raises:
        ConfigError: It names the key, its value, and the nearest known one.
    """
    known = list(dict.fromkeys(known))
    for key, value in given.items():
        if str(key).startswith('_') or key in known:
            continue
        near = nearest(str(key), known)
        rest = ''
        while isinstance(value, Mapping) and len(value) == 1:
            (name, value), *_ = value.items()
            rest += f'.{name}'
        meant = f' Did you mean {_join(path, near)}{rest}?' if near else hint
        there = f' There are: {", ".join(known)}.' if 0 < len(known) <= LISTED else '' if known else ' It has none.'
        raise ConfigError(f'{_join(path, str(key))}{rest}={_short(value)}: {owner} has no key {key!r}.{meant}{there}')


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like a mistyped one, '' where none is."""
    by_letters = {each.lower(): each for each in known}
    return next((by_letters[each] for each in difflib.get_close_matches(name.lower(), by_letters, 1)), '')


def check_value(value: Any, kind: Any, path: str) -> None:
    """Refuse a value that its annotation does not allow. An annotation that says nothing, or cannot be read, allows all.

    True and False are no numbers, neither is NaN or infinity, and a text is no sequence of texts.

    Raises:
        ConfigError: It names the place, what is expected, and the value.
    """
    wrong = _wrong(value, kind, path)
    if wrong is None:
        return
    place, value, kind = wrong
    raise ConfigError(f'{place} is {describe(kind)}, got {_short(value)}.{_hint(value, kind, place)}')


def describe(kind: Any) -> str:
    """An annotation in words, such as 'a number or None'."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        # a whole number is a number
        words = [describe(part) for part in parts if not (part is int and float in parts)]
        return f'{", ".join(words[:-1])} or {words[-1]}' if len(words) > 1 else words[0]
    if origin is typing.Literal:
        return ' or '.join(map(repr, parts))
    plain = origin or kind
    if plain in _WORDS:
        return _WORDS[plain]
    if _is_sequence(plain):
        return f'a list of {_many(parts[0])}' if parts and parts[0] not in (Any, Ellipsis) else 'a list'
    if _is_mapping(plain):
        return 'a dict'
    if plain is collections.abc.Callable:
        return 'a function'
    return getattr(plain, '__name__', str(plain))


_WORDS: dict[Any, str] = {
    bool: 'True or False',
    int: 'a whole number',
    float: 'a number',
    str: 'text',
    None: 'None',
    type(None): 'None',
    Any: 'anything',
}
_MANY: dict[Any, str] = {int: 'whole numbers', float: 'numbers', str: 'texts'}


def _many(kind: Any) -> str:
    return _MANY.get(kind, 'dicts' if describe(kind).startswith('a dict') else describe(kind))


def _wrong(value: Any, kind: Any, path: str) -> tuple[str, Any, Any] | None:
    """The innermost place where a value is not of its kind: its path, its value and its kind."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        found = [_wrong(value, part, path) for part in parts]
        if None in found:
            return None
        deep = [each for each in found if each is not None and each[0] != path]
        return deep[0] if len(deep) == 1 else (path, value, kind)
    if origin is typing.Literal:
        return None if value in parts else (path, value, kind)
    plain = origin or kind
    fits = _FITS.get(plain)
    if fits is not None:
        return None if fits(value) else (path, value, kind)
    if not isinstance(plain, type):
        return None
    if _is_sequence(plain):
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Sequence):
            return path, value, kind
        many = len(parts) == 1 or parts[1:] == (...,)
        inner = [(part, f'{path}.{place}') for place, part in enumerate(value)] if many else []
        return next(filter(None, (_wrong(part, parts[0], where) for part, where in inner)), None)
    if _is_mapping(plain):
        if not isinstance(value, Mapping):
            return path, value, kind
        inner = [(part, f'{path}.{key}') for key, part in value.items()] if len(parts) == 2 else []
        return next(filter(None, (_wrong(part, parts[1], where) for part, where in inner)), None)
    # classes of other libraries: a config holds what they are made of
    return None


_FITS: dict[Any, Callable[[Any], bool]] = {
    bool: lambda value: isinstance(value, bool),
    int: lambda value: isinstance(value, numbers.Integral) and not isinstance(value, bool),
    float: lambda value: isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value),
    str: lambda value: isinstance(value, str | os.PathLike),
    None: lambda value: value is None,
    type(None): lambda value: value is None,
}


def _hint(value: Any, kind: Any, place: str) -> str:
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if isinstance(value, str):
        if any(_is_sequence(typing.get_origin(each) or each) for each in kinds):
            return f' Of one: {place}=[{value}].'
        if type(None) in kinds and value.lower() in ('none', 'null'):
            return ' Write None.'
        if bool in kinds and value.lower() in ('yes', 'no', 'on', 'off', '0', '1', 'true', 'false'):
            return f' Write {value.lower() in ("yes", "on", "1", "true")}.'
        if {int, float} & set(kinds) and _is_number(value):
            return ' Leave the quotes out.'
    elif str in kinds and isinstance(value, bool | int | float | None):
        return f' In quotes it is text: on the command line {place}="\'{value}\'".'
    return ''


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_sequence(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Sequence) and kind not in (str, bytes)


def _is_mapping(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _annotations(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except Exception:  # names that only a type checker can see
        return {}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'


def _join(path: str, key: str) -> str:
    return f'{path}.{key}' if path else key
