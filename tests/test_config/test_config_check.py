"""Values fit their annotations or are refused; keys fit the arguments of what reads them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Optional, Union

import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.dataset import BaseDataset

from mmdel.config.config_check import arguments, check_keys, check_value, describe, nearest
from mmdel.errors import ConfigError


@pytest.mark.parametrize(
    ('kind', 'fits', 'does_not'),
    [
        (bool, [True, False], [1, 0, 'True', None]),
        (int, [0, -3, np.int64(3)], [True, 1.0, '1', None]),
        (float, [0, 1.5, np.float32(2)], [True, '1.5', None, float('nan'), float('inf')]),
        (str, ['', 'a', Path('a')], [1, None, ['a']]),
        (int | None, [1, None], [1.5, 'None']),
        (Optional[int], [1, None], [1.5]),  # noqa: UP045  as mmengine writes them
        (Union[int, str], [1, 'a'], [None, 1.5]),  # noqa: UP007
        (Sequence[int], [[], (1, 2)], [1, '12', {0: 1}, [1, 'a'], [True]]),
        (tuple[int, ...], [(1, 2)], [(1, 'a'), 1]),
        (list[dict[str, Any]], [[{}], [ConfigDict(a=1)]], [[1], {}]),
        (Mapping[str, int | float], [{}, {'a': 1.5}], [[], {'a': 'b'}, 'a']),
        (dict, [{}, ConfigDict()], [[], 'a']),
        (Literal['a', 'b'], ['a'], ['c', 1]),
        (Any, [None, 1, object()], []),
        (np.ndarray, [1, 'what another library takes is not known'], []),
    ],
)
def test_check_value(kind, fits, does_not):
    for value in fits:
        check_value(value, kind, 'key')
    for value in does_not:
        with pytest.raises(ConfigError, match=r'^key\b.* is '):
            check_value(value, kind, 'key')


def test_check_value__names_the_innermost_place():
    with pytest.raises(ConfigError, match=r"^amounts\.label\.polyp is a number, got 'five'\."):
        check_value({'label': {'polyp': 'five'}}, dict[str, dict[str, float]], 'amounts')
    with pytest.raises(ConfigError, match=r'^sizes\.1 is a whole number, got 2\.5\.'):
        check_value([1, 2.5], Sequence[int], 'sizes')


def test_check_value__shortens_what_is_long():
    with pytest.raises(ConfigError) as refused:
        check_value(list(range(10_000)), int, 'key')
    assert len(str(refused.value)) < 150


def test_describe():
    assert describe(int | float | None) == 'a number or None'
    assert describe(Sequence[dict]) == 'a list of dicts'
    assert describe(str | Sequence[str]) == 'text or a list of texts'


class Base:
    def __init__(self, size: int = 3, name='base'):
        pass


class Foreign(Base):
    def __init__(self, extra: 'no such name' = 1, **kwargs):  # noqa: F722
        pass


class Closed(Base):
    def __init__(self, path: str, *rest, scale: float = 1.0):
        pass


def test_arguments__of_ones_own_class_that_takes_anything():
    found = arguments(Foreign)
    assert found.open  # where its kwargs go is not known
    assert found.kinds['extra'] is Any  # an annotation that cannot be read says nothing


def test_arguments__of_a_class_that_does_not():
    found = arguments(Closed)
    assert (found.kinds, found.required, found.open) == ({'path': str, 'scale': float}, ('path',), False)


def test_arguments__follow_kwargs_to_base_classes_of_mmengine():
    class Own(BaseDataset):
        def __init__(self, mine: int, **kwargs):
            super().__init__(**kwargs)

    Own.__module__ = 'mmdel.somewhere'
    found = arguments(Own)
    assert {'mine', 'data_root', 'lazy_init'} <= set(found.kinds)
    assert (found.required, found.open) == (('mine',), False)


def test_arguments__of_what_has_no_signature():
    assert arguments(dict).open


def test_check_keys__leaves_names_of_ones_own():
    check_keys({'_mine': 1, 'known': 2}, ['known'], '', 'it')


def test_nearest__has_no_word_for_what_is_far():
    assert nearest('Batch_Sizes', ['batch_size', 'size']) == 'batch_size'
    assert nearest('zebra', ['batch_size']) == ''
