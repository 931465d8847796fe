"""Every table of docs/evidence.md is what the committed results say."""

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mmdel.study.pools.pool_tables import pool_tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'evidence.md'
FOUND = re.findall(r'^<!-- (\w+): (\w+) -->\n\n((?:\|.*\n)+)', PAGE.read_text(encoding='utf-8'), re.MULTILINE)


@pytest.mark.parametrize('study', sorted({study for study, *_ in FOUND}))
def test_tables__have_the_rows_that_the_results_give(study):
    results = pq.read_table(ROOT / 'docs' / 'study' / study / 'results.parquet')
    tables = {table.name: table.markdown() for table in pool_tables(results, ('random', 'every n-th'))}
    for its, name, shown in FOUND:
        if its == study:
            rows = [line for line in tables[name].splitlines() if line.startswith('|')]
            assert shown.splitlines() == rows, f'{study}: {name}'


def test_page__shows_tables_of_every_study_of_pools():
    there = {path.parent.name for path in (ROOT / 'docs' / 'study').glob('pools_*/results.parquet')}
    assert there == {study for study, *_ in FOUND} and there
