"""The keys of a dedup config as a page of the documents, ``docs/config.md``."""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

from mmdel import datasets, embedding, selection
from mmdel.config.config_check import arguments, describe
from mmdel.engine.dedup_config import EXCLUDE_NEAR, KEYS, REQUIRED
from mmdel.leaks.leak_check import ExcludeNear
from mmdel.selection.findings import LeakRule
from mmdel.selection.guards import Guards
from mmdel.selection.selector import BaseSelector

INTRODUCTION = """\
# Keys of a selection config

After this page you know every key that `tools/dedup.py` reads from a config or after `--cfg-options`. Any other key, or a value
of another type, ends the run with an error that names the closest valid key. The keys below `dataset`, `embedder` and
`selector` are the arguments of the class that `type` names. Your own classes are checked against their signatures; arguments
without annotation are not checked. Your own variables in a config must begin with an underscore.

On the command line, a dot leads into a part and a number to an entry of a list: `--cfg-options selector.eta=0.75
embedder.pipeline.0.reduce_to=224`. `[a,b]` is a list; `True`, `False` and `None` are themselves; `"'2024'"` is text although it
looks like a number, and `"''"` is empty text.

This page is written by `python -m mmdel.engine.config_page > docs/config.md`.
"""

Row = tuple[str, Any, Any, str]


def markdown() -> str:
    """The whole page."""
    guards = [(name, kind, None, meaning) for name, kind, _, meaning in _rows(Guards)]
    near = {**_meanings(ExcludeNear), **_meanings(LeakRule)}
    defaults = {'against': REQUIRED, **{name: default for name, _, default, _ in _rows(LeakRule)}}
    blocks = [
        INTRODUCTION,
        _table((name, key.kind, key.default, key.meaning) for name, key in KEYS.items()),
        _section(
            'guards', 'What must stay and what must not, whatever the ranking says; [more](report.md#guards).', guards
        ),
        _section(
            'exclude_near',
            'Test images whose copies take no part; [more](leaks.md).',
            ((name, kind, defaults[name], near[name]) for name, kind in EXCLUDE_NEAR.items()),
        ),
        *_classes('dataset', [datasets.DataDEL]),
        *_classes('embedder', [embedding.ViTEmbedder, embedding.PixelEmbedder, embedding.HashEmbedder]),
        *_classes('embedder', [embedding.TimmEmbedder, embedding.HFEmbedder, embedding.OnnxEmbedder]),
        *_classes('a step of embedder.pipeline', [datasets.LoadFrame]),
        *_classes('selector', [each for each in _exported(selection) if issubclass(each, BaseSelector)]),
        *_classes('selector.clusterer', [selection.FaissKMeans]),
    ]
    return '\n'.join(blocks)


# --- private


def _exported(module: Any) -> list[type]:
    found = [getattr(module, name) for name in module.__all__]
    return [each for each in found if isinstance(each, type) and not inspect.isabstract(each)]


def _classes(where: str, kinds: Sequence[type]) -> list[str]:
    return [
        _section(f"{where} = dict(type='mmdel.{kind.__name__}')", _first_sentence(kind), _rows(kind)) for kind in kinds
    ]


def _section(title: str, text: str, rows: Iterable[Row]) -> str:
    return f'## `{title}`\n\n{text}\n\n{_table(rows)}'


def _table(rows: Iterable[Row]) -> str:
    rows = list(rows)
    if not rows:
        return 'It has no keys.\n'
    lines = ['| key | type | default | meaning |', '|---|---|---|---|']
    for name, kind, default, meaning in rows:
        shown = 'required' if default is REQUIRED else f'`{default!r}`'
        lines.append(f'| `{name}` | {describe(kind)} | {shown} | {meaning} |'.replace('\\', '\\\\'))
    return '\n'.join(lines) + '\n'


def _rows(kind: type) -> list[Row]:
    """The arguments of a class, with what its docstring or that of a base class says."""
    makers = [each for each in reversed(kind.__mro__) if '__init__' in vars(each) and each is not object]
    defaults = {name: each.default for maker in makers for name, each in inspect.signature(maker).parameters.items()}
    own = [maker for maker in makers if maker.__module__.partition('.')[0] == 'mmdel']
    meanings = {name: meaning for maker in own for name, meaning in _meanings(maker).items()}
    # of another library's base class, what the docstring names
    passed_on = dict.fromkeys(re.findall(r'`(\w+)`', meanings.get('**kwargs', '')), "As in mmengine's `BaseDataset`.")
    meanings = {**passed_on, **meanings}
    kinds = arguments(kind).kinds
    return [(name, each, defaults[name], meanings[name]) for name, each in kinds.items() if name in meanings]


def _first_sentence(kind: type) -> str:
    text = ' '.join(inspect.cleandoc(kind.__doc__ or '').partition('\n\n')[0].split())
    return _marked(text)


def _meanings(kind: type) -> dict[str, str]:
    """Argument to what the docstring says of it, without its type and default, which the table shows."""
    text = inspect.cleandoc(vars(kind).get('__doc__') or '')
    found = re.search(r'^Args:\n(.*?)(?=^\S|\Z)', text, re.MULTILINE | re.DOTALL)
    meanings = {}
    for each in re.split(r'^ {4}(?=\S)', found[1] if found else '', flags=re.MULTILINE)[1:]:
        names, _, meaning = each.partition(':')
        meaning = re.sub(r'\s*Defaults\s+to\s+.*', '', ' '.join(meaning.split()), flags=re.DOTALL)
        for name in re.sub(r'\(.*', '', names, flags=re.DOTALL).split(','):
            if not meaning.startswith('See :class:'):
                meanings[name.strip()] = _marked(meaning)
    return meanings


def _marked(text: str) -> str:
    """A docstring's marks as those of Markdown."""
    text = re.sub(r':\w+:`~?\.?([^`]*)`', lambda found: f'`{found[1].rpartition(".")[2]}`', text)
    return text.replace('``', '`').replace('|', '\\|')


if __name__ == '__main__':
    print(markdown(), end='')
