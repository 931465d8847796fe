"""Whatever a name holds, it is shown as one line, and two names that differ in their first characters never look the same."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmdel.report.names import LONGEST, shown


@settings(max_examples=50)
@given(st.text(max_size=400))
def test_shown__is_one_line_without_hidden_characters(name):
    line = shown(name)
    assert len(line) <= LONGEST
    assert not [c for c in line if unicodedata.category(c) in ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')]
    assert len(line.splitlines()) <= 1


@pytest.mark.parametrize(
    ('name', 'line'),
    [
        ('a b/é ü.jpg', 'a b/é ü.jpg'),
        ('a\nb', 'a\\x0ab'),
        ('\u202egpj.exe', '\\u202egpj.exe'),
        ('\ud800.jpg', '\\ud800.jpg'),
        ('x' * 5000, 'x' * 79 + '…' + 'x' * 79),
    ],
)
def test_shown__examples(name, line):
    assert shown(name) == line
