"""Every table of docs/evidence.md is what the committed results say."""

import re
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from mmdel.study.pools.pool_tables import pool_tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'docs' / 'evidence.md'
SHOWN = re.findall(r'^<!-- (\w+): (\w+) -->\n\n((?:\|.*\n)+)', PAGE.read_text(encoding='utf-8'), re.MULTILINE)
BASELINE = 'random'


@pytest.mark.parametrize(('study', 'name', 'rows'), SHOWN, ids=[f'{study}-{name}' for study, name, _ in SHOWN])
def test_table__has_the_rows_that_the_results_give(study, name, rows):
    results = pq.read_table(ROOT / 'docs' / 'study' / study / 'results.parquet')
    figures = set(zip(results['evaluation'].to_pylist(), results['figure'].to_pylist(), strict=True))
    for evaluation, figure in figures:
        if name.startswith('_'.join(re.findall(r'[a-z0-9]+', f'{evaluation} {figure}'.lower()))):
            mine = results.filter(
                pc.and_(pc.equal(results['evaluation'], evaluation), pc.equal(results['figure'], figure))
            )
            baselines = (BASELINE,) if name.endswith(f'_against_{BASELINE}') else ()
            tables = {table.name: table.markdown() for table in pool_tables(mine, baselines)}
            assert rows.splitlines() == [line for line in tables[name].splitlines() if line.startswith('|')]
            return
    pytest.fail(f'The results of {study} have no table {name}.')


def test_page__shows_tables_of_every_study_of_pools():
    there = {path.parent.name for path in (ROOT / 'docs' / 'study').glob('pools_*/results.parquet')}
    assert there == {study for study, *_ in SHOWN} and there
