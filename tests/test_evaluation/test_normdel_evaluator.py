import math

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import BaseMetric, DumpResults, Evaluator
from mmengine.fileio import load
from mmengine.logging import MMLogger
from mmengine.registry import EVALUATOR, METRICS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from PIL import Image

from mmdel.errors import ConfigError, SubsetError
from mmdel.evaluation import NormDELEvaluator, normdel

IOU = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU'])
META = {'classes': ('background', 'polyp')}


class Constant(BaseMetric):
    """Returns what it was given."""

    def __init__(self, values, prefix=None):
        super().__init__(prefix=prefix)
        self.values = values

    def process(self, data_batch, data_samples):
        self.results.extend([0] * len(data_samples))

    def compute_metrics(self, results):
        return dict(self.values)


def evaluate(values, retention=0.2, **options):
    evaluator = NormDELEvaluator(Constant(values), retention, **options)
    evaluator.process([{}])
    return evaluator.evaluate(1)


@pytest.fixture
def warnings(monkeypatch):
    """What was logged as a warning."""
    logger = MMLogger.get_current_instance()
    seen = []
    monkeypatch.setattr(
        logger, 'handle', lambda record: seen.append(record.getMessage()) if record.levelno >= 30 else None
    )
    return seen


def test_evaluate__adds_four_values_in_percent():
    values = evaluate({'mIoU': 76.37, 'aAcc': 95.0})
    assert list(values) == ['mIoU', 'aAcc', 'DEL', 'NormDEL', 'retention', 'alpha']
    assert values['DEL'] == pytest.approx(76.37 * math.exp(-0.2))
    assert values['NormDEL'] == pytest.approx(65.14, abs=0.0062)
    assert (values['retention'], values['alpha']) == (0.2, 1.0)


def test_evaluate__as_a_fraction():
    values = evaluate({'iou': 0.7637}, key='iou', scale='fraction', alpha=2)
    assert values['NormDEL'] == normdel(0.7637, 0.2, 2)
    assert values['alpha'] == 2


@pytest.mark.parametrize(
    'value', [np.float32(50), np.float64(50), np.array(50), np.array([50.0]), torch.tensor(50.0), 50]
)
def test_evaluate__whatever_kind_of_number_a_metric_returns(value):
    values = evaluate({'mIoU': value})
    assert values['NormDEL'] == 100 * normdel(0.5, 0.2)
    assert all(type(values[name]) is float for name in ('DEL', 'NormDEL', 'retention', 'alpha'))


@pytest.mark.parametrize(
    ('values', 'options', 'message'),
    [
        (
            {'accuracy/top1': 80.0, 'accuracy/top5': 90.0},
            {'key': 'top1'},
            "no metric 'top1'. Did you mean 'accuracy/top1'",
        ),
        ({'mIoU': 80.0, 'aAcc': 90.0}, {'key': 'miou'}, "Did you mean 'mIoU'. There are: mIoU, aAcc"),
        ({'mIoU': 80.0, 'aAcc': 90.0}, {'key': 'precision'}, "no metric 'precision'. There are: mIoU, aAcc"),
        ({'a/f1': 80.0, 'b/f1': 90.0}, {'key': 'f1'}, "'a/f1' or 'b/f1'"),
        ({'mIoU': 80.0}, {'key': 'IoU.tool'}, 'neither labels nor predictions contain'),
        ({'mIoU': math.nan}, {}, 'mIoU is NaN.* absent'),
        ({'mIoU': 80.0}, {'scale': 'fraction'}, "mIoU = 80 is outside 0 to 1.* say scale='percent'"),
        ({'mIoU': 180.0}, {}, 'mIoU = 180 is outside 0 to 100'),
        ({'mIoU': [80.0, 90.0]}, {}, r'not one number but \[80.0, 90.0\]'),
        ({'mIoU': 'good'}, {}, "not one number but 'good'"),
        ({'mIoU': 80.0, 'alpha': 1.0}, {}, "already returns alpha.* prefix='...'"),
        ({'mIoU': 80.0, 'retention': 1.0, 'DEL': 2.0}, {}, 'already returns DEL, retention'),
    ],
)
def test_evaluate__values_that_cannot_be_weighed(values, options, message):
    with pytest.raises(ConfigError, match=message):
        evaluate(values, **options)


def test_evaluate__a_percentage_below_1_is_said_once(warnings):
    evaluator = NormDELEvaluator(Constant({'mIoU': 0.76}), 0.2)
    for _ in range(2):
        evaluator.process([{}])
        assert evaluator.evaluate(1)['DEL'] == pytest.approx(0.76 * math.exp(-0.2))
    assert [text for text in warnings if 'fraction' in text] == [
        "mIoU is 0.76 %. If the metric prints fractions, say scale='fraction'."
    ]


def test_evaluate__metrics_without_values_get_none(warnings, tmp_path):
    evaluator = NormDELEvaluator(dict(type='DumpResults', out_file_path=str(tmp_path / 'out.pkl')), 0.2)
    evaluator.process([{'a': 1}])
    assert evaluator.evaluate(1) == {}
    assert any('no NormDEL' in text for text in warnings)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'retention': 0}, 'retention .* above 0 and at most 1'),
        ({'retention': 20}, 'got 20'),
        ({'retention': math.nan}, 'got nan'),
        ({'retention': True}, 'got True'),
        ({'retention': None}, 'a number in .*, a subset file, or a dict'),
        ({'retention': {'ratio': 0.2}}, 'a dict with subset and either eta or ratio'),
        ({'retention': {'subset': 'a', 'rate': 0.2}}, 'a dict with subset'),
        ({'alpha': -1}, 'alpha is a finite number of at least 0, got -1'),
        ({'alpha': math.nan}, 'got nan'),
        ({'alpha': '1'}, 'got 1'),
        ({'scale': '%'}, "percent or fraction; got '%'"),
        ({'iou_metrics': ['mIoU']}, 'no option iou_metrics.* metrics=dict.* _delete_=True'),
    ],
)
def test_construction__options_that_cannot_be_used(options, message):
    with pytest.raises(ConfigError, match=message):
        NormDELEvaluator(**{'metrics': IOU, 'retention': 0.2, **options})


def test_construction__the_exact_ratio_of_a_subset_file(make_subset):
    path = make_subset(2, 7)
    assert NormDELEvaluator(IOU, path).retention == 2 / 7
    assert NormDELEvaluator(IOU, ConfigDict(subset=path)).retention == 2 / 7
    assert NormDELEvaluator(IOU, dict(subset=path, ratio=0.4)).retention == 3 / 7
    assert NormDELEvaluator(IOU, dict(subset=path, eta=0.5)).retention == 4 / 7


def test_construction__subset_files_that_cannot_be_used(make_subset, tmp_path):
    with pytest.raises(SubsetError, match=r'typo\.parquet is not there'):
        NormDELEvaluator(IOU, str(tmp_path / 'typo.parquet'))
    with pytest.raises(SubsetError, match=r'0of7\.parquet keeps no image'):
        NormDELEvaluator(IOU, make_subset(0, 7))
    with pytest.raises(ConfigError, match='either eta or ratio'):
        NormDELEvaluator(IOU, dict(subset=make_subset(2, 7), eta=0.5, ratio=0.5))


@pytest.mark.parametrize(('scale', 'key'), [('percent', 'accuracy/top1'), ('fraction', 'right')])
def test_mmpretrain__accuracy_in_percent_and_a_fraction(scale, key):
    metrics = [dict(type='mmpretrain.Accuracy', topk=(1,)), Constant({'right': 0.75})]
    evaluator = NormDELEvaluator(metrics, 0.1, key=key, scale=scale)
    samples = [DataSample().set_gt_label(label).set_pred_score(torch.tensor([0.6, 0.4])) for label in (0, 0, 0, 1)]
    evaluator.process(samples)
    values = evaluator.evaluate(4)
    assert values['accuracy/top1'] == 75
    assert values['NormDEL'] == pytest.approx((100 if scale == 'percent' else 1) * normdel(0.75, 0.1))


def test_mmpretrain__out_appends_a_dump(tmp_path):
    evaluator = NormDELEvaluator([Constant({'mIoU': 50.0})], 0.2)
    evaluator.metrics.append(DumpResults(out_file_path=str(tmp_path / 'predictions.pkl')))
    evaluator.process([{'score': 3}])
    assert 'NormDEL' in evaluator.evaluate(1)
    assert load(tmp_path / 'predictions.pkl') == [{'score': 3}]


def test_mmseg__out_reaches_the_metrics_that_write(make_sample, tmp_path):
    dump = dict(type='DumpResults', out_file_path=str(tmp_path / 'predictions.pkl'))
    cfg = Config(dict(test_evaluator=dict(type='mmdel.NormDELEvaluator', metrics=[IOU, dump], retention=0.2)))
    cfg.test_evaluator['output_dir'] = str(tmp_path / 'masks')  # what mmseg's tools/test.py does
    cfg.test_evaluator['keep_results'] = True
    evaluator = EVALUATOR.build(cfg.test_evaluator)
    evaluator.dataset_meta = META
    evaluator.process([make_sample([0, 0, 1, 1], [0, 0, 0, 1], 'folder/frame.jpg')])
    values = evaluator.evaluate(1)
    assert values['NormDEL'] == pytest.approx(100 * normdel((2 / 3 + 1 / 2) / 2, 0.2), abs=0.01)
    assert np.asarray(Image.open(tmp_path / 'masks' / 'frame.png')).tolist() == [[0, 0, 1, 1]] * 2
    assert len(load(tmp_path / 'predictions.pkl')) == 1
    assert 'output_dir' not in cfg.test_evaluator.metrics[0]  # the config stays as it was


class Named(Constant):
    def __init__(self, output_dir=None, keep_results=False):
        super().__init__({'mIoU': 50.0})
        self.options = (output_dir, keep_results)


class Passing(Named):
    def __init__(self, more=1, **kwargs):
        super().__init__(**kwargs)


class Swallowing(Constant):
    """Hands unknown options to a class that does not know them, as most metrics do."""

    def __init__(self, **kwargs):
        super().__init__({'aAcc': 50.0}, **kwargs)


@pytest.mark.parametrize('kind', [Named, Passing])
def test_output_dir__only_where_a_constructor_names_it(kind, monkeypatch):
    monkeypatch.setitem(METRICS.module_dict, 'Kind', kind)
    metrics = [dict(type='Kind'), dict(type=Swallowing), Constant({'a': 1})]
    evaluator = NormDELEvaluator(metrics, 0.2, output_dir='out', keep_results=True)
    assert evaluator.metrics[0].options == ('out', True)


def test_output_dir__nobody_writes(warnings):
    NormDELEvaluator(dict(type=Swallowing), 0.2, output_dir='out')
    assert any('nothing goes to out' in text for text in warnings)


def test_metric_config__of_an_unknown_class_fails_as_in_mmengine():
    for options in ({}, {'output_dir': 'out'}):
        with pytest.raises(KeyError, match='NoSuchMetric is not in the'):
            NormDELEvaluator(dict(type='NoSuchMetric'), 0.2, **options)


def test_runner__takes_the_evaluator_from_a_config():
    evaluator = Runner.build_evaluator(None, dict(type='mmdel.NormDELEvaluator', metrics=IOU, retention=0.2))
    assert type(evaluator) is NormDELEvaluator and isinstance(evaluator, Evaluator)
