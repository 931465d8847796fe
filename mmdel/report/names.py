"""File names as readable text: whatever a name contains, it is shown as one harmless line."""

import unicodedata

LONGEST = 160
"""Longer names are shown with their middle left out."""

_HIDDEN = ('Cc', 'Cf', 'Cs', 'Zl', 'Zp')
"""Control characters, line breaks, and format characters, which can turn the direction of text and so disguise a name."""


def shown(name: str, longest: int = LONGEST) -> str:
    r"""A name on one line: ``a<newline>b`` becomes ``a\x0ab``, and 5,000 characters become their two ends.

    The result is text and not HTML; templates escape it.
    """
    if not name.isascii() or not name.isprintable():
        name = ''.join(_escaped(c) if unicodedata.category(c) in _HIDDEN else c for c in name)
    if len(name) <= longest:
        return name
    part = (longest - 1) // 2
    return f'{name[:part]}…{name[-part:]}'


def _escaped(character: str) -> str:
    code = ord(character)
    return f'\\x{code:02x}' if code < 0x100 else f'\\u{code:04x}' if code < 0x10000 else f'\\U{code:08x}'
