"""A study that runs in a second, see ``little_study.py``, and the plan of the paper's."""

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pyarrow as pa
import pytest

from mmdel.study import Plan, Results, make_plan, read_study
from mmdel.study.execute import execute
from mmdel.subset import Subset

PAPER = Path(__file__).resolve().parents[2] / 'configs' / 'study' / 'paper.py'


@pytest.fixture(scope='session')
def little() -> ModuleType:
    """The module that writes such a study and looks at what became of it."""
    spec = importlib.util.spec_from_file_location('little_study', Path(__file__).with_name('little_study.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='session')
def finished(little: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan, Results]:
    """The folder of a study that has ended, its plan and its results; not to be changed. Its pool can be drawn."""
    root = tmp_path_factory.mktemp('finished')
    path = little.write_little_study(root, little.LARGER)
    for number in range(4):
        cv2.imwrite(str(root / 'pool' / f'{number}.jpg'), np.full((40, 40, 3), 60 * number, np.uint8))
    columns = {'image': [f'{n}.jpg' for n in range(4)], 'rank': range(4), 'redundancy': [None, 0.2, 0.4, 0.6]}
    table = pa.table({**columns, 'removed_by': [None, '0.jpg', '0.jpg', '2.jpg']})
    Subset.from_ranking(table, {}, kept=2).write(root / 'tools' / 'subset.parquet')
    plan = make_plan(read_study(str(path)))
    return root, plan, execute(plan, root / 'tools')


@pytest.fixture(scope='session')
def paper(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The plan of ``configs/study/paper.py``, without its data."""
    return make_plan(read_study(str(PAPER), work_dir=str(tmp_path_factory.mktemp('paper'))))
