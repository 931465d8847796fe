"""The packages are as docs/architecture.md says: the files that it names exist, and no import points upwards."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')

ORDER = [
    {'registry', 'errors'},
    {'compute'},
    {'config', 'subset'},
    {'images'},
    {'datadel'},
    {'datasets', 'embedding'},
    {'similarity'},
    {'selection'},
    {'leaks', 'report', 'export', 'evaluation', 'models', 'training'},
    {'engine'},
    {'study'},
    {'cli'},
]
"""Packages from the lowest to the highest; each imports itself and lower ones only."""


@pytest.mark.parametrize('path', sorted(set(re.findall(r'`((?:mmdel|configs|tools|docs)/[\w/.]*)`', PAGE))))
def test_file_that_the_page_names__exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_page__names_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / 'mmdel').glob('*/__init__.py')}
    named = set(re.findall(r'`(\w+)`', ''.join(re.findall(r'^\| (`\w+`(?:, `\w+`)*) \|', PAGE, re.MULTILINE))))
    assert rooms == named


def test_imports__run_down_only() -> None:
    level = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
    wrong = []
    for path in sorted((ROOT / 'mmdel').rglob('*.py')):
        room = path.relative_to(ROOT / 'mmdel').parts[0].removesuffix('.py')
        if room in ('__init__', '__main__') or '.mim' in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ImportFrom) and (node.module or '').partition('.')[0] == 'mmdel':
                names = [node.module.split('.')[1]] if '.' in node.module else [alias.name for alias in node.names]
                wrong += [
                    f'{path.relative_to(ROOT)}:{node.lineno} imports {name}'
                    for name in names
                    if name in level and name != room and level[name] >= level[room]
                ]
    assert not wrong, '\n'.join(wrong)


def test_imports__nothing_from_outside_the_package() -> None:
    for path in (ROOT / 'mmdel').rglob('*.py'):
        text = '' if '.mim' in path.parts else path.read_text(encoding='utf-8')
        assert not re.search(r'^ *(?:from|import) (?:synthetic|demo|tools)\b', text, re.MULTILINE), path
