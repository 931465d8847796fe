"""`docs/inputs.md` says what becomes of every input: each of its rows is a test of the same name, and each test a row."""

import ast
import re
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / 'docs' / 'inputs.md'


def rows() -> list[str]:
    return re.findall(r'^\| `(\w+)` \|', TABLE.read_text(encoding='utf-8'), re.MULTILINE)


def documented_tests() -> set[str]:
    """Names of the tests of this folder, without `test_`; `test_row__case` belongs to the row `row`."""
    found = set()
    for path in HERE.glob('test_*.py'):
        if path == Path(__file__):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith('test_'):
                found.add(node.name.removeprefix('test_').partition('__')[0])
    return found


def test_rows__each_once() -> None:
    assert [row for row, count in Counter(rows()).items() if count > 1] == []


def test_rows__each_is_a_test_and_each_test_a_row() -> None:
    assert set(rows()) == documented_tests()
