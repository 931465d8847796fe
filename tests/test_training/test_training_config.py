import pytest
from mmengine.config import Config

from mmdel.errors import ConfigError
from mmdel.training import training_config


def scored(**changes):
    evaluator = dict(type='mmdel.NormDELEvaluator', metrics=[dict(type='IoUMetric')], retention=0.5)
    return Config(dict(val_evaluator=dict(evaluator), test_evaluator=dict(evaluator), **changes))


def test_read__mmpretrain_loaders_get_the_collate_function_of_its_own_tools(tmp_path):
    text = "default_scope = {!r}\ntrain_dataloader = dict(batch_size=2)\nval_dataloader = dict(collate_fn=dict(type='mine'))"
    for scope, expected in (('mmpretrain', dict(type='default_collate')), ('mmseg', None)):
        (tmp_path / 'config.py').write_text(text.format(scope))
        cfg = training_config.read_training_config(str(tmp_path / 'config.py'), ['train_dataloader.batch_size=3'])
        assert cfg.train_dataloader.get('collate_fn') == expected
        assert cfg.train_dataloader.batch_size == 3
        assert cfg.val_dataloader.collate_fn == dict(type='mine')


def test_pretrained__keeps_the_prefix_of_the_config_and_makes_an_init_cfg_where_there_is_none():
    for init_cfg, prefix in (
        (None, 'backbone.'),
        (dict(type='Pretrained', checkpoint='a', prefix='encoder.'), 'encoder.'),
    ):
        cfg = Config(dict(model=dict(backbone=dict(type='X', init_cfg=init_cfg))))
        training_config.set_pretrained(cfg, 'b.pth')
        assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='b.pth', prefix=prefix)
    with pytest.raises(ConfigError, match='has no model.backbone'):
        training_config.set_pretrained(Config(dict()), 'b.pth')


@pytest.mark.parametrize(('text', 'value'), [('0.2', 0.2), ('1', 1.0), ('work/subset.parquet', 'work/subset.parquet')])
def test_retention__is_a_number_or_a_file_for_validation_and_test(text, value):
    cfg = scored()
    training_config.set_retention(cfg, text)
    assert cfg.val_evaluator.retention == cfg.test_evaluator.retention == value
    with pytest.raises(ConfigError, match='needs an mmdel.NormDELEvaluator'):
        training_config.set_retention(Config(dict(val_evaluator=dict(type='IoUMetric'))), text)


def test_drawing__switches_the_hook_of_either_library_on():
    hooks = dict(default_hooks=dict(visualization=dict(type='X')), visualizer=dict(type='Y'))
    mmseg, mmpretrain = (Config(dict(hooks, default_scope=scope)) for scope in ('mmseg', 'mmpretrain'))
    for cfg in (mmseg, mmpretrain):
        training_config.draw_predictions(cfg, 'pictures', False, 3, 1.0)
        assert cfg.default_hooks.visualization.interval == 3
    assert mmseg.default_hooks.visualization.draw
    assert mmseg.visualizer.save_dir == 'pictures'
    assert mmpretrain.default_hooks.visualization.enable
    assert mmpretrain.default_hooks.visualization.out_dir == 'pictures'
    with pytest.raises(ConfigError, match='visualization=dict'):
        training_config.draw_predictions(Config(dict()), 'pictures', False, 1, 1.0)


def test_predictions__go_into_a_folder_for_segmentation_and_into_one_file_elsewhere():
    cfg = scored(default_scope='mmseg')
    training_config.keep_predictions(cfg, 'masks')
    assert (cfg.test_evaluator.output_dir, cfg.test_evaluator.keep_results) == ('masks', True)
    dump = dict(type='mmengine.DumpResults', out_file_path='all.pkl')
    for evaluator in (dict(type='Accuracy'), [dict(type='Accuracy')]):
        cfg = Config(dict(default_scope='mmpretrain', test_evaluator=evaluator))
        training_config.keep_predictions(cfg, 'all.pkl')
        assert [dict(each) for each in cfg.test_evaluator] == [dict(type='Accuracy'), dump]
    cfg = scored(default_scope='mmpretrain')
    training_config.keep_predictions(cfg, 'all.pkl')
    assert [dict(each) for each in cfg.test_evaluator.metrics] == [dict(type='IoUMetric'), dump]
    with pytest.raises(ConfigError, match='go into one file, FILE.pkl'):
        training_config.keep_predictions(cfg, 'folder')
