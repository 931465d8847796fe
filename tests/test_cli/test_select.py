"""`mmdel select`: a folder and a share are enough, and what it decides is what the tool decides."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdel.cli import dedup, select
from mmdel.cli.command import start
from mmdel.cli.main import main
from mmdel.subset import Subset

FAST = ('--encoder', 'pixels', '--no-report')


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """12 pictures below ``pool``, of which no two look alike."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'pool'
    folder.mkdir()
    for number in range(12):
        small = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{number:02d}.png'), cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC))
    return folder


def test_folder_and_share__are_enough(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(['select', 'pool', '--ratio', '0.25', *FAST, '--json'])
    out, said = capsys.readouterr()
    summary = json.loads(out)
    assert summary.keys() == select.SUMMARY.keys()
    assert select.WHY in said and 'kept images: ' in said
    assert (summary['images'], summary['kept'], summary['method']) == (12, 3, 'mmdel.Coverage')
    assert Subset.read(summary['subset']).kept == Path(summary['keep_list']).read_text().splitlines()
    assert summary['work_dir'].startswith('work_dirs/select-pool-pixels-ratio0.25')

    start(dedup.COMMAND, ['select', '--images', 'pool', '--ratio', '0.25', *FAST, '--work-dir', 'by_tool'])
    assert Path('by_tool/subset.parquet').read_bytes() == Path(summary['subset']).read_bytes()


def test_method_that_was_named__is_not_explained(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(['select', 'pool', '--ratio', '0.25', *FAST, '--selector', 'every-nth', '--work-dir', 'out'])
    assert 'method: ' not in capsys.readouterr().out
    quick = ('--cfg-options', 'default_scope=mmdel')  # mmpretrain takes seconds to import
    main(
        [
            'select',
            'pool',
            '--config',
            'meddel_eta08',
            '--ratio',
            '0.25',
            *FAST,
            *quick,
            '--work-dir',
            'paper',
            '--json',
        ]
    )
    out, said = capsys.readouterr()
    assert 'method: ' not in said and json.loads(out)['method'] == 'mmdel.MedDEL'
