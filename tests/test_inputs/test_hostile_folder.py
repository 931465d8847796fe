"""Every file of a folder with all kinds of files is accounted for, once, and the sums are right."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from hostile_folder import COPIES, IMAGE, KINDS, LEDGER, SKIPPED, Kind, make

from mmdel.datasets import keys
from mmdel.engine import DedupRunner
from mmdel.subset import Subset


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Kind]]:
    pool = tmp_path_factory.mktemp('hostile') / 'pool'
    return pool, make(pool)


@pytest.fixture(scope='module')
def run(folder: tuple[Path, dict[str, Kind]], tmp_path_factory: pytest.TempPathFactory) -> tuple[DedupRunner, Subset]:
    out = tmp_path_factory.mktemp('out')
    runner = DedupRunner(
        selector=dict(type='mmdel.MedDEL', epsilon=0.9, eta=0.95, scope='global'),
        embedder=dict(type='mmdel.PixelEmbedder'),
        dataset=dict(type='mmdel.DataDEL', data_root=str(folder[0])),
        work_dir=str(out / 'run'),
        cache_dir=str(out / 'cache'),
        ratio=0.5,
    )
    return runner, runner.run()


def rows(path: Path) -> list[tuple[str, str]]:
    with open(path, encoding='utf-8', newline='') as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_hostile_folder__has_hundreds_of_files_of_dozens_of_kinds(folder: tuple[Path, dict[str, Kind]]) -> None:
    assert len(folder[1]) == len(KINDS) * COPIES >= 300
    assert len(KINDS) >= 40
    on_disk = {
        os.path.relpath(os.path.join(top, name), folder[0]) for top, _, names in os.walk(folder[0]) for name in names
    }
    assert on_disk == set(folder[1])


def test_hostile_folder__each_file_becomes_what_it_has_to(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    runner, subset = run
    unreadable = {key for key, _ in rows(runner.work_dir / 'unreadable.csv')}
    skipped = [path.rstrip('/') for path, _ in rows(runner.work_dir / 'skipped.csv')]
    images = set(subset.table.filter(subset.readable)['image'].to_pylist())
    wrong = []
    for path, kind in folder[1].items():
        key = keys.normalise(path)
        inside = [path, *map(str, Path(path).parents)]
        found = [
            name
            for name, is_there in (
                (IMAGE, key in images),
                (LEDGER, key in unreadable or keys.escape(path) in unreadable),
                (SKIPPED, any(keys.normalise(part) in skipped or keys.escape(part) in skipped for part in inside)),
            )
            if is_there
        ]
        if found != [kind.becomes]:
            wrong.append((kind.name, path, found))
    assert wrong == []


def test_hostile_folder__the_sums_are_right(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    runner, subset = run
    expected = Counter(kind.becomes for kind in folder[1].values())
    assert int(subset.readable.sum()) == expected[IMAGE]
    assert subset.count('unreadable') == len(rows(runner.work_dir / 'unreadable.csv')) == expected[LEDGER]
    assert len(subset.kept) + int((subset.readable & ~subset.keep).sum()) == expected[IMAGE]
    assert len(subset.kept) == int(expected[IMAGE] * 0.5 + 0.5)
    summary = dict(runner.summary.rows)
    assert summary['images'] == f'{expected[IMAGE] + expected[LEDGER]:,}'
    assert summary['unreadable'] == f'{expected[LEDGER]:,}'


def test_hostile_folder__nothing_in_it_has_changed(
    folder: tuple[Path, dict[str, Kind]], run: tuple[DedupRunner, Subset]
) -> None:
    on_disk = {
        os.path.relpath(os.path.join(top, name), folder[0]) for top, _, names in os.walk(folder[0]) for name in names
    }
    assert on_disk == set(folder[1])
