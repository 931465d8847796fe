import subprocess
import sys

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmdel.errors import ConfigError
from mmdel.models import MLPHead

ENCODER = dict(
    type='mmpretrain.VisionTransformer',
    arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=16),
    img_size=32,
    patch_size=16,
    out_type='featmap',
)


def reference(head, tokens):
    """The same weights in linear layers, one token after another: [N, C] to [N, classes]."""
    convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    classifier = head.conv_seg
    layers = []
    for convolution in [each for each in convolutions if each is not classifier] + [classifier]:
        linear = nn.Linear(convolution.in_channels, convolution.out_channels)
        linear.weight.data = convolution.weight.data[:, :, 0, 0]
        linear.bias.data = convolution.bias.data
        layers += [linear, nn.GELU()]
    mlp = nn.Sequential(*layers[:-1])
    return torch.stack([mlp(token) for token in tokens])


@pytest.fixture(autouse=True)
def seeded():
    init_default_scope('mmseg')
    torch.manual_seed(0)


@pytest.mark.parametrize('depth', [0, 1, 3])
def test_forward__is_a_linear_mlp_on_every_token(depth):
    head = MODELS.build(dict(type='mmdel.MLPHead', in_channels=6, channels=5, depth=depth, num_classes=3)).eval()
    features = torch.randn(2, 6, 3, 4)
    logits = head([features])
    tokens = features.permute(0, 2, 3, 1).reshape(-1, 6)
    torch.testing.assert_close(logits.permute(0, 2, 3, 1).reshape(-1, 3), reference(head, tokens))


def test_forward__a_token_changes_its_own_logits_only():
    head = MLPHead(6, 5, depth=2, num_classes=3).eval()
    features = torch.randn(1, 6, 4, 4)
    changed = features.clone()
    changed[0, :, 1, 2] += 1
    moved = (head([features]) != head([changed])).any(dim=1)[0]
    assert moved.nonzero().tolist() == [[1, 2]]


def test_forward__several_feature_maps_are_one_token():
    options = dict(channels=5, depth=1, num_classes=2)
    several = MLPHead((6, 4), in_index=(0, 1), input_transform='resize_concat', **options).eval()
    one = MLPHead(10, **options).eval()
    one.load_state_dict(several.state_dict())
    maps = [torch.randn(1, 6, 4, 4), torch.randn(1, 4, 4, 4)]
    torch.testing.assert_close(several(maps), one([torch.cat(maps, dim=1)]))
    assert MLPHead((6, 4), in_index=(0, 1), input_transform='resize_concat', depth=0)(maps).shape == (1, 2, 4, 4)


def test_build__two_classes_have_two_logits_without_a_warning(recwarn):
    head = MODELS.build(dict(type='mmdel.MLPHead', in_channels=6))
    assert head.conv_seg.out_channels == head.num_classes == 2
    assert not [warning for warning in recwarn if 'binary segmentation' in str(warning.message)]


def test_norm__is_used_where_it_is_given():
    plain, normed = (MLPHead(6, norm_cfg=norm) for norm in (None, dict(type='BN')))
    assert not [module for module in plain.modules() if isinstance(module, nn.BatchNorm2d)]
    assert [module for module in normed.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize('frozen', [False, True])
def test_segmentor__loss_reaches_the_head_and_an_encoder_that_is_not_frozen(frozen):
    model = MODELS.build(
        ConfigDict(
            dict(
                type='EncoderDecoder',
                data_preprocessor=dict(
                    type='SegDataPreProcessor', size=(32, 32), seg_pad_val=255, test_cfg=dict(size_divisor=16)
                ),
                backbone=ENCODER | (dict(frozen_stages=2) if frozen else {}),
                decode_head=dict(type='mmdel.MLPHead', in_channels=8, channels=4, num_classes=2),
                train_cfg=dict(),
                test_cfg=dict(mode='whole'),
            )
        )
    )
    model.init_weights()
    model.train()
    sample = SegDataSample(
        gt_sem_seg=PixelData(data=torch.randint(0, 2, (1, 32, 32))), metainfo=dict(img_shape=(32, 32))
    )
    loss = model.loss(torch.randn(1, 3, 32, 32), [sample])
    loss['decode.loss_ce'].backward()
    assert all(parameter.grad is not None for parameter in model.decode_head.parameters())
    assert all((parameter.grad is None) == frozen for parameter in model.backbone.parameters())
    model.eval()
    data = model.data_preprocessor(
        dict(
            inputs=[torch.zeros(3, 30, 40)],
            data_samples=[SegDataSample(metainfo=dict(img_shape=(30, 40), ori_shape=(60, 80)))],
        )
    )
    result = model.predict(data['inputs'], data['data_samples'])[0]
    assert result.pred_sem_seg.data.shape == (1, 60, 80)


@pytest.mark.parametrize(
    ('options', 'words'), [(dict(depth=-1), 'depth'), (dict(input_transform='multiple_select'), 'resize_concat')]
)
def test_error__options(options, words):
    with pytest.raises(ConfigError, match=words):
        MLPHead(6, **options)


def test_error__without_mmseg_says_why():
    code = """
import sys
sys.modules['mmseg.models.decode_heads.decode_head'] = None
import mmdel.models
try:
    mmdel.models.MLPHead(6)
except ImportError as error:
    print('ImportError', error)
"""
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=100)
    assert 'ImportError mmdel.MLPHead needs mmseg' in run.stdout, run.stderr
    assert 'mmdel[onedl]' in run.stdout
