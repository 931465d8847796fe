"""The site: every page can be reached. `make docs` checks the links and the docstrings."""

import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / 'docs'


def test_index__lists_every_page_once() -> None:
    trees = re.findall(r'^```\{toctree\}\n(.*?)^```$', (DOCS / 'index.md').read_text('utf-8'), re.MULTILINE | re.DOTALL)
    entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(':')]
    listed = [re.sub(r'.*<(.*)>', r'\1', entry) for entry in entries]
    pages = [
        path.relative_to(DOCS).with_suffix('')
        for suffix in ('md', 'rst', 'ipynb')
        for path in DOCS.rglob(f'*.{suffix}')
    ]
    times = {page.as_posix(): listed.count(page.as_posix()) for page in pages}
    assert {page: count for page, count in times.items() if count != (page != 'index')} == {}
