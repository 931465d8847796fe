import copy
import json
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdel.errors import ConfigError
from mmdel.study import make_plan, read_study
from mmdel.study.commands import config_path, write_config
from mmdel.study.inputs import Inputs
from mmdel.study.report.published import TABLE_3

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'study'


@pytest.fixture
def plan(little, tmp_path):
    """``plan(old, new, folder)`` plans the little study with one piece of its text replaced."""

    def call(old='', new='', folder='here', **files):
        assert not old or old in little.LARGER
        text = little.LARGER.replace(old, new) if old else little.LARGER
        path = little.write_little_study(tmp_path / folder, text)
        for name, (before, after) in files.items():
            file = tmp_path / folder / f'{name}.py'
            assert before in file.read_text()
            file.write_text(file.read_text().replace(before, after))
        return make_plan(read_study(str(path)))

    return call


def kinds(plan):
    return Counter(run.kind for run in plan.runs.values())


@lru_cache
def ready(name):
    """The plan of one of our studies, whose data are not there."""
    return make_plan(read_study(str(CONFIGS / f'{name}.py')))


def test_paper__six_ratios_eight_sets_table_4_and_the_random_baseline(paper):
    cells = paper.cells
    whole = [cell for cell in cells if cell.share == 1 and cell.kind in ('selector', 'full')]
    medical = {(cell.ratio, cell.downstream) for cell in whole if cell.group in ('MedDEL', 'all images')}
    assert medical == {(ratio, name) for name in TABLE_3 for ratio in (0.05, 0.1, 0.2, 0.33, 0.5, 1.0)}
    drawn = {(cell.ratio, cell.downstream) for cell in whole if cell.group == 'random'}
    figure_6 = ('Kvasir-SEG', 'ImageCLEFmed', 'CVC-ClinicDB', 'CVC-ColonDB')
    assert drawn == {(ratio, name) for name in figure_6 for ratio in (0.05, 0.2, 0.5)}
    early = {(cell.ratio, cell.share) for cell in cells if cell.share < 1}
    assert {1000 * share for ratio, share in early if ratio == 0.2} == {200, 300, 400, 500, 700, 800, 900}
    assert {round(600 * share) for ratio, share in early if ratio == 0.33} == {240, 360, 420, 480, 540}
    assert {cell.group for cell in cells if cell.kind == 'checkpoint'} == {'ImageNet'}
    assert len(cells) == 48 + 12 + 8 * 12 + 8
    # an encoder is trained once for all sets, and for the shorter pre-trainings too
    assert kinds(paper) == {'select': 8, 'pretrain': 9, 'finetune': 164, 'evaluate': 164}


def test_paper__the_recipe_of_the_paper(paper):
    for run in paper.runs.values():
        if run.kind == 'pretrain':
            assert (run.config.train_dataloader.batch_size, run.config.optim_wrapper.optimizer.lr) == (16, 1.5e-4)
            assert run.full_epochs == (None if 'all-images' in run.name else 200)
            assert run.config.train_cfg.max_epochs == 200
            assert run.images == 200 * 88_282
        if run.kind == 'finetune':
            assert run.config.model.backbone.arch == 'b'
            assert (run.images, run.config.train_cfg.max_iters) == (320_000, 20_000)


@pytest.mark.parametrize(
    'name',
    sorted(path.stem for path in CONFIGS.glob('*.py') if path.stem != 'paper' and not path.stem.startswith('pools_')),
)
def test_configs__plan_without_their_data(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = ready(name)
    assert plan.cells
    assert not list(tmp_path.iterdir())
    seeds = len(plan.study.seeds)
    assert len(plan.cells) % seeds == 0
    assert [cell.seed for cell in plan.cells] == sorted(cell.seed for cell in plan.cells)


def test_cpu__frozen_at_every_ratio_and_fine_tuned_at_two(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = ready('cpu')
    found = {(cell.encoder, cell.ratio) for cell in plan.cells if cell.ratio}
    assert found == {('frozen', ratio) for ratio in (0.05, 0.1, 0.2, 1)} | {('fine-tuned', 0.05), ('fine-tuned', 1)}
    for cell in plan.cells:
        run = plan.runs[cell.runs[-1]]
        assert (run.config.model.backbone.get('frozen_stages', -1) == 4) == (cell.encoder == 'frozen')
        assert run.config.test_dataloader.dataset.data_prefix.img_path == 'val/images'


def test_plan__what_is_shared_is_run_once(plan):
    found = plan()
    assert kinds(found) == {'select': 3, 'pretrain': 6, 'finetune': 8, 'evaluate': 8}
    near = [cell.runs[0] for cell in found.cells if cell.group == 'near']
    drawn = [cell.runs[0] for cell in found.cells if cell.group == 'drawn']
    assert len(set(near)) == 1 and len(set(drawn)) == 2
    assert len({cell.digest for cell in found.cells}) == 8


def test_plan__configs_are_complete_and_ordinary(plan):
    found = plan()
    for cell in found.cells:
        runs = {found.runs[name].kind: found.runs[name] for name in cell.runs}
        model = runs['finetune'].config
        assert model.randomness.seed == cell.seed
        assert (model.model.backbone.init_cfg is None) == (cell.kind == 'random')
        assert (
            isinstance(model.val_evaluator, dict) == isinstance(model.test_evaluator, dict) == (cell.ratio is not None)
        )
        if cell.kind == 'selector':
            dataset = runs['pretrain'].config.train_dataloader.dataset
            assert dataset.subset == str(found.study.work_dir / runs['select'].name / 'subset.parquet')
            assert (dataset.type, dataset.dataset.type) == ('mmdel.MedDELDataset', 'mmdel.DataDEL')
            assert runs['select'].config.selector == cell.selector
    for run in found.runs.values():
        write_config(found, run)
        assert Config.fromfile(config_path(found, run)).to_dict() == run.config.to_dict()


def test_digest__is_the_same_in_another_folder(plan):
    here, there = plan(), plan(folder='there')
    assert list(here.runs) == list(there.runs)
    assert [cell.digest for cell in here.cells] == [cell.digest for cell in there.cells]


@pytest.mark.parametrize(
    ('files', 'changed'),
    [
        ({'dedup': ('center = True', 'center = False')}, {'select', 'pretrain', 'finetune', 'evaluate'}),
        ({'mae': ('batch_size=2', 'batch_size=4')}, {'pretrain', 'finetune', 'evaluate'}),
        ({'segmentation': ('max_iters=30', 'max_iters=60')}, {'finetune', 'evaluate'}),
        ({'mae': ('train_cfg', 'work_dir, log_level, of_my_own = "a", "INFO", 3\ntrain_cfg')}, set()),
        ({'dedup': ("'cache'", "'another/cache'")}, set()),
    ],
)
def test_digest__of_what_depends_on_a_change_is_another(plan, files, changed):
    before, after = plan(), plan(folder='there', **files)
    gone = {name.split('/')[0] for name in before.runs if name not in after.runs}
    assert gone == changed


def test_digest__of_seed_and_selector(plan):
    before = set(plan().runs)
    after = set(plan("keep='near'", "keep='far'", folder='there').runs)
    assert {name.split('/')[1].rpartition('-')[0].split('_seed')[0] for name in before - after} == {
        'near_0.5', 'kvasir-seg_near_0.5',
    }  # fmt: skip
    more = set(plan('seeds = (0, 1)', 'seeds = (0, 1, 2)', folder='more').runs)
    assert before < more and all('seed2' in name for name in more - before)


def test_digest__sees_names_sizes_lists_and_files_but_no_places(tmp_path):
    root = tmp_path / 'data'
    (root / 'images').mkdir(parents=True)
    (root / 'images' / 'a.jpg').write_bytes(b'abc')
    (root / 'train.txt').write_text('a\n')
    (tmp_path / 'weights.pth').write_bytes(b'1')
    config = Config(
        dict(
            model=dict(checkpoint=str(tmp_path / 'weights.pth')),
            train_dataloader=dict(
                dataset=dict(data_root=str(root), ann_file='train.txt', data_prefix=dict(img_path='images'))
            ),
        )
    )

    def digest(cfg=config, **extra):
        return Inputs().digest('finetune', cfg, extra=extra)

    seen = [digest()]
    assert digest() == seen[0]
    (root / 'elsewhere.jpg').write_bytes(b'not in the folders that the dataset reads')
    assert digest() == seen[0]
    root.rename(tmp_path / 'moved')
    moved = copy.deepcopy(config)
    moved.train_dataloader.dataset.data_root = str(tmp_path / 'moved')
    assert digest(moved) == seen[0]
    (tmp_path / 'moved' / 'train.txt').write_text('b\n')
    seen.append(digest(moved))
    (tmp_path / 'moved' / 'images' / 'b.jpg').write_bytes(b'')
    seen.append(digest(moved))
    (tmp_path / 'moved' / 'images' / 'b.jpg').write_bytes(b'x')
    seen.append(digest(moved))
    (tmp_path / 'weights.pth').write_bytes(b'2')
    seen += [digest(moved), digest(moved, share=0.5), Inputs().digest('finetune', moved, ['need'])]
    assert len(set(seen)) == len(seen)
    assert json.dumps(seen)


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({'mae': ('train_cfg = dict(max_epochs=10)', '')}, 'mae.py has no train_cfg.max_epochs'),
        ({'segmentation': ('test_evaluator = dict', 'other = dict')}, 'segmentation.py has no test_evaluator'),
        ({'segmentation': ('backbone=', 'other=')}, 'segmentation.py has no model.backbone'),
    ],
)
def test_plan__a_config_that_cannot_take_part(plan, files, message):
    with pytest.raises(ConfigError, match=message):
        plan(**files)


def test_plan__nothing_to_compare(plan):
    with pytest.raises(ConfigError, match='compares nothing'):
        plan("baselines = ('drawn',)", 'selectors, references = {{}}, {{}}')
