"""Every config in configs/segmentation builds: datasets on tiny folders, ViT-Base, optimizer, schedule."""

import copy
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS, EVALUATOR, METRICS, MODELS
from modelindex.load_model_index import load
from PIL import Image

from mmdel.datadel.splits import write_splits

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / 'configs' / 'segmentation'
IDS = (
    *(
        'kvasir-seg',
        'kvasir-sessile',
        'kvasir-instrument',
        'cvc-clinicdb',
        'cvc-300',
        'cvc-colondb',
        'etis',
        'polypgen',
    ),
    *('imageclefmed', 'edd2020', 'ead2019'),
)
NAMES = [f'vit-base-p16_{pre}-pre_mlp_1xb16-20k_{name}-512x512' for pre in ('mae', 'in1k') for name in IDS]
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@pytest.fixture(autouse=True)
def scope():
    init_default_scope('mmseg')
    torch.set_num_threads(2)


@lru_cache
def read(name):
    return Config.fromfile(FOLDER / f'{name}.py')


def config(name):
    return copy.deepcopy(read(name))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """``data/datadel/<id>`` with three images of mixed formats and sizes, and the lists that the tool writes."""
    root = tmp_path_factory.mktemp('data') / 'data' / 'datadel'
    rng = np.random.default_rng(0)
    for name in IDS:
        # every suffix is found; masks of several classes are never JPEG
        lossy = name not in ('edd2020', 'ead2019')
        for number, (image, mask) in enumerate([('jpg', 'jpg' if lossy else 'png'), ('PNG', 'png'), ('tif', 'bmp')]):
            size = (40 + 8 * number, 48, 3)
            values = np.zeros(size[:2], np.uint8)
            values[8:24, 8:24] = 255 if lossy else 1 + number
            for kind, picture, suffix in (
                ('images', rng.integers(0, 256, size, np.uint8), image),
                ('masks', values, mask),
            ):
                (root / name / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(root / name / kind / f'{101 + 40 * number}.{suffix}')
        write_splits(root / name)
    return root


@lru_cache
def model(text):
    """Models of 86 million weights: one for each different config."""
    return MODELS.build(Config.fromstring(text, '.py').model)


def model_of(cfg):
    found = copy.deepcopy(cfg.model)
    found.backbone.init_cfg = None  # the encoder's file is not there
    return model(Config(dict(model=found)).pretty_text)


def test_folder__has_two_configs_for_each_dataset():
    assert sorted(path.stem for path in FOLDER.glob('*.py')) == sorted(NAMES)


@pytest.mark.parametrize('name', NAMES)
def test_config__builds(name, data, monkeypatch):
    monkeypatch.chdir(data.parents[1])
    cfg = config(name)
    assert cfg.default_scope == 'mmseg'
    assert not cfg.resume
    assert cfg.train_dataloader.dataset.data_root == f'data/datadel/{name.split("20k_")[1].removesuffix("-512x512")}'
    datasets = [DATASETS.build(cfg[loader].dataset) for loader in LOADERS]
    assert [len(dataset) for dataset in datasets] == [1, 1, 1]
    images = [dataset.get_data_info(0)['img_path'] for dataset in datasets]
    assert len(set(images)) == 3
    segmentor = model_of(cfg)
    classes = datasets[0].metainfo['classes']
    assert segmentor.decode_head.num_classes == segmentor.decode_head.conv_seg.out_channels == len(classes)
    sample = datasets[0][0]
    assert sample['inputs'].shape[0] == 3
    assert set(np.unique(sample['data_samples'].gt_sem_seg.data)) <= set(range(len(classes)))
    for dataset in datasets[1:]:
        sample = dataset[0]['data_samples']
        assert sample.gt_sem_seg.data.shape[1:] == sample.ori_shape  # metrics are at the size of the file
        assert len(np.unique(sample.gt_sem_seg.data)) == 2
    assert cfg.visualizer.type == 'SegLocalVisualizer'
    assert dict(type='mmdel.PretrainedCheckHook') in cfg.custom_hooks


@pytest.mark.parametrize('name', [NAMES[0]])
def test_loaders__give_batches_that_the_model_takes(name, data, monkeypatch):
    monkeypatch.chdir(data.parents[1])
    cfg = config(name)
    loaders = {}
    for each in LOADERS:
        assert cfg[each].collate_fn == dict(type='pseudo_collate')  # under mmpretrain's tool, too
        loaders[each] = cfg[each] | dict(num_workers=0, persistent_workers=False, pin_memory=False)
    segmentor = model_of(cfg)
    train = next(iter(Runner.build_dataloader(loaders['train_dataloader'] | dict(batch_size=2), seed=0)))
    batch = segmentor.data_preprocessor(train, training=True)
    assert batch['inputs'].shape == (2, 3, 512, 512)
    val = next(iter(Runner.build_dataloader(loaders['val_dataloader'])))
    padded = segmentor.data_preprocessor(val)['inputs']
    assert padded.shape[2] % 16 == padded.shape[3] % 16 == 0
    with torch.no_grad():
        segmentor.eval()
        result = segmentor.test_step(val)[0]
    assert result.pred_sem_seg.data.shape[1:] == result.ori_shape


@pytest.mark.parametrize('frozen', [False, True])
def test_optimizer__one_option_freezes_the_whole_encoder(frozen):
    cfg = config(NAMES[0])
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.arch = dict(embed_dims=8, num_layers=12, num_heads=2, feedforward_channels=16)
    cfg.model.decode_head.in_channels = 8
    if frozen:
        cfg.merge_from_dict({'model.backbone.frozen_stages': 12})
    segmentor = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(segmentor, cfg.optim_wrapper)
    assert type(wrapper).__name__ == 'AutoAmpOptimWrapper'
    decayed = {id(p) for group in wrapper.param_groups for p in group['params'] if group['weight_decay']}
    for name, parameter in segmentor.named_parameters():
        assert parameter.requires_grad == (not (frozen and name.startswith('backbone.'))), name
        if parameter.requires_grad:
            assert (id(parameter) in decayed) == (name.endswith('.weight') and '.ln' not in name), name
    before = {name: value.clone() for name, value in segmentor.state_dict().items()}
    segmentor.train()
    image = torch.rand(2, 3, 64, 64)
    features = segmentor.extract_feat(image)[0]
    torch.testing.assert_close(segmentor.extract_feat(image)[0], features)  # nothing random is left in the encoder
    with wrapper.optim_context(segmentor):
        loss = segmentor.encode_decode(image, [dict(img_shape=(64, 64))] * 2).square().mean()
    wrapper.update_params(loss)
    changed = {name for name, value in segmentor.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith('decode_head.') for name in changed)
    assert any(name.startswith('backbone.') for name in changed) != frozen


def test_schedule__twenty_validations_and_a_rate_that_rises_and_falls_to_zero():
    cfg = config(NAMES[0])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [PARAM_SCHEDULERS.build(each, default_args=dict(optimizer=optimizer)) for each in cfg.param_scheduler]
    rates = []
    for _ in range(cfg.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    assert int(np.argmax(rates)) == pytest.approx(1500, abs=10)
    assert max(rates) == pytest.approx(1e-4, rel=1e-3)
    assert rates[0] < 1e-9
    assert rates[-1] < 1e-8
    assert (np.diff(rates[:1490]) > 0).all()
    assert (np.diff(rates[1510:]) < 0).all()
    assert rates[10750] == pytest.approx(0.5e-4, rel=1e-3)
    assert cfg.train_cfg.max_iters / cfg.train_cfg.val_interval == 20
    for name in NAMES:
        other = config(name)
        same = ('param_scheduler', 'train_cfg', 'optim_wrapper', 'default_hooks', 'custom_hooks')
        assert all(other[key] == cfg[key] for key in same), name
        assert other.train_dataloader.batch_size == 16


def test_checkpoint__is_one_variable():
    mae, reference = config(NAMES[0]), config(NAMES[11])
    assert mae.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=mae.checkpoint, prefix='backbone.')
    assert reference.model.backbone.init_cfg.checkpoint == reference.checkpoint
    embedder = Config.fromfile(ROOT / 'configs' / '_base_' / 'embedders' / 'vit-base-p16_in1k.py').embedder
    assert reference.checkpoint == embedder.checkpoint
    assert reference.model.data_preprocessor.mean == embedder.mean
    pretraining = Config.fromfile(ROOT / 'configs' / 'mae' / f'{Path(mae.checkpoint).parent.name}.py')
    assert Path(mae.checkpoint).name == f'epoch_{pretraining.train_cfg.max_epochs}.pth'


def test_evaluator__normdel_for_a_subset_and_none_for_the_reference():
    cfg = config(NAMES[0])
    for key in ('val_evaluator', 'test_evaluator'):
        assert cfg[key].type == 'mmdel.NormDELEvaluator'
        assert (cfg[key].retention, cfg[key].alpha, cfg[key].key, cfg[key].scale) == (
            cfg.retention,
            1.0,
            'mIoU',
            'percent',
        )
        EVALUATOR.build(cfg[key])
    METRICS.build(config(NAMES[11]).val_evaluator)
    assert 'retention' not in config(NAMES[11])


def test_metafile__lists_every_config_and_claims_no_result():
    index = load(str(FOLDER / 'metafile.yml'))
    index.build_models_with_collections()
    assert sorted(found.name for found in index.models) == sorted(NAMES)
    for found in index.models:
        assert (ROOT / found.config).is_file()
        assert Path(found.config).stem == found.name
        assert not found.results
        assert not found.weights
    assert all((ROOT / collection.readme).is_file() for collection in index.collections)
