import csv
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import METRICS as ROOT
from mmseg.evaluation import IoUMetric

import mmdel.evaluation
from mmdel.evaluation import ClassIoUMetric
from mmdel.registry import METRICS

CLASSES = ('background', 'polyp', 'tool')


def evaluated(metric, samples):
    metric.dataset_meta = {'classes': CLASSES}
    for sample in samples:
        metric.process({}, [sample])
    return metric.evaluate(len(samples))


def iou(samples, number):
    """Reference: intersection over union of one class over all pixels that are not ignored; NaN where there is none."""
    pairs = [
        (int(p), int(t))
        for sample in samples
        for p, t in zip(sample['pred_sem_seg']['data'].flatten(), sample['gt_sem_seg']['data'].flatten(), strict=True)
        if t != 255
    ]
    both = sum(p == number and t == number for p, t in pairs)
    either = sum(number in pair for pair in pairs)
    return 100 * both / either if either else np.nan


images = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=12)


@pytest.mark.filterwarnings('ignore:Mean of empty slice')  # where all pixels are ignored
@given(st.lists(images, min_size=1, max_size=3))
def test_class_iou__of_each_class_beside_what_mmseg_returns(pictures):
    samples = [
        {
            'pred_sem_seg': {'data': torch.tensor([[[p for p, _ in picture]]])},
            'gt_sem_seg': {'data': torch.tensor([[[t for _, t in picture]]])},
        }
        for picture in pictures
    ]
    values = evaluated(ClassIoUMetric(), samples)
    plain = evaluated(IoUMetric(), samples)
    expected = {f'IoU.{name}': iou(samples, number) for number, name in enumerate(CLASSES)}
    expected = {name: value for name, value in expected.items() if not np.isnan(value)}
    assert {name: values[name] for name in plain} == pytest.approx(plain, nan_ok=True)
    assert list(values) == [*plain, *expected]
    for name, value in expected.items():
        assert values[name] == pytest.approx(value, abs=0.0051)
        assert values[name] == round(values[name], 2)
    if expected:
        assert values['mIoU'] == pytest.approx(np.mean(list(expected.values())), abs=0.0051)


def test_class_iou__an_absent_class_is_left_out_of_mean_and_log(make_sample):
    values = evaluated(ClassIoUMetric(), [make_sample([0, 0, 1, 1], [0, 0, 0, 1])])
    assert {name: value for name, value in values.items() if name.startswith('IoU')} == {
        'IoU.background': 66.67,
        'IoU.polyp': 50.0,
    }
    assert 'NaN' not in json.dumps({name: float(value) for name, value in values.items()})


def test_class_iou__an_absent_class_counts_as_nan_to_num(make_sample):
    values = evaluated(ClassIoUMetric(nan_to_num=0), [make_sample([0, 1], [0, 1])])
    assert values['IoU.tool'] == 0
    assert values['mIoU'] == pytest.approx(66.67)


def test_class_iou__with_other_metrics_and_a_prefix(make_sample):
    values = evaluated(ClassIoUMetric(iou_metrics=['mDice'], prefix='val'), [make_sample([0, 1], [0, 1])])
    assert values['val/mDice'] == 100 and values['val/IoU.polyp'] == 100


def test_class_iou__format_only_returns_nothing(make_sample, tmp_path):
    values = evaluated(
        ClassIoUMetric(format_only=True, output_dir=str(tmp_path)), [make_sample([0, 1], [0, 1], 'a.jpg')]
    )
    assert values == {}
    assert (tmp_path / 'a.png').exists()


def test_class_iou__is_found_by_its_name_from_any_scope():
    assert ROOT.get('mmdel.ClassIoUMetric') is ClassIoUMetric
    assert issubclass(ClassIoUMetric, IoUMetric)


def test_class_iou__without_mmseg(monkeypatch):
    for name in ('mmseg', 'mmseg.evaluation'):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(METRICS.module_dict, 'ClassIoUMetric')
    path = Path(mmdel.evaluation.__file__).with_name('class_iou_metric.py')
    spec = importlib.util.spec_from_file_location('without_mmseg', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(ImportError, match=r'ClassIoUMetric needs mmseg.* pip install .mmdel\[onedl\]'):
        METRICS.build(dict(type='mmdel.ClassIoUMetric', iou_metrics=['mIoU']))


def test_per_image__adds_up_to_the_metric_and_names_images_below_their_shared_folder(make_sample, tmp_path):
    samples = [
        make_sample([0, 1, 1, 1], [0, 0, 1, 1], 'data/images/b/7.jpg'),
        make_sample([0, 0, 1, 2], [0, 0, 255, 1], 'data/images/a/7.jpg'),
    ]
    file = tmp_path / 'run' / 'per_image.csv'
    values = evaluated(ClassIoUMetric(per_image=str(file)), samples)
    assert values == evaluated(ClassIoUMetric(), samples)
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [(row['image'], row['class']) for row in rows] == [
        (image, name) for image in ('a/7.jpg', 'b/7.jpg') for name in CLASSES
    ]
    for name in CLASSES:
        sums = [sum(int(row[what]) for row in rows if row['class'] == name) for what in ('intersection', 'union')]
        assert round(100 * sums[0] / sums[1], 2) == values[f'IoU.{name}']
    first = file.read_bytes()
    evaluated(ClassIoUMetric(per_image=str(file)), samples[::-1])
    assert file.read_bytes() == first
