"""KEY=VALUE on the command line means what a person reads in it."""

import pytest
from mmengine.config import Config, DictAction

from mmdel.config.config_file import merge_options


def merged(*options):
    cfg = Config(dict(a=1, b=dict(c=2)))
    merge_options(cfg, options)
    return cfg


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('/my data/frames', '/my data/frames'),
        ("'/my data/frames'", '/my data/frames'),
        ('two  spaces ', 'two  spaces '),
        ('plain', 'plain'),
        ('3', 3),
        ('0.5', 0.5),
        ('True', True),
        ('None', None),
        ('1, 2', [1, 2]),
        ('(a, b)', ('a', 'b')),
        ('[(1, 2), c d]', [(1, 2), 'cd']),
    ],
)
def test_merge_options__reads_values_like_mmengine_and_keeps_the_spaces_of_a_path(text, value):
    assert merged(f'b.c={text}').b.c == value
    if not (isinstance(value, str) and ' ' in value):
        assert DictAction._parse_iterable(text) == value


@pytest.mark.parametrize('text', ['2024', 'None', 'True', '1,2', '', ' ', 'it is', '0.5'])
def test_merge_options__what_has_quotes_of_its_own_is_text(text):
    assert merged(f"b.c='{text}'").b.c == text
    assert merged(f'b.c="{text}"').b.c == text


def test_merge_options__tells_what_is_new():
    cfg = Config(dict(a=1, b=dict(c=2), d=[dict(e=1)]))
    assert merge_options(cfg, ['a=2', 'b.c=3', 'b.x.y=1', 'z.y.x=1', 'd.0.f=5', 'd.0.e=2']) == ['b.x', 'z', 'd.0.f']


def test_merge_options__takes_many_and_none():
    assert merged('a=x y', 'b.d=1').to_dict() == {'a': 'x y', 'b': {'c': 2, 'd': 1}}
    assert merged().to_dict() == {'a': 1, 'b': {'c': 2}}
