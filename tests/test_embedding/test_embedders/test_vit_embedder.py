from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from mmdel.embedding import ViTEmbedder, embed_images
from mmdel.errors import ConfigError, WeightsError
from mmdel.registry import EMBEDDERS

Make = Callable[..., Any]
CONFIGS = Path(__file__).parents[3] / 'configs' / '_base_' / 'embedders'
ARCH = dict(embed_dims=32, num_layers=3, num_heads=2, feedforward_channels=64)
TINY = dict(type='mmpretrain.VisionTransformer', arch=ARCH, patch_size=8)


def embedder(backbone: dict[str, Any] = TINY, **options: Any) -> ViTEmbedder:
    options = dict(input_size=32, precision='float32', batch_size=4) | options
    return EMBEDDERS.build(dict(type='mmdel.ViTEmbedder', backbone=backbone, **options))


def pixels(side: int = 32, count: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def normalised(images: torch.Tensor) -> torch.Tensor:
    rgb = images.permute(0, 3, 1, 2).flip(1).float()
    mean, std = (torch.tensor(v)[:, None, None] for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    return (rgb - mean) / std


def saved(file: Path, **options: Any) -> torch.nn.Module:
    """A backbone whose weights lie in `file`, as mmengine's runner writes them."""
    torch.manual_seed(5)
    backbone = MODELS.build(TINY | {'img_size': 32} | options)
    backbone.init_weights()
    backbone.eval()
    state = {f'backbone.{name}': value for name, value in backbone.state_dict().items()}
    torch.save({'state_dict': state | {'head.fc.weight': torch.zeros(2, 32)}}, file)
    return backbone


@pytest.mark.parametrize('out_index', [0, 1, 2, -1])
@pytest.mark.parametrize('feature', ['cls_token', 'avg_patch'])
def test_features__are_the_backbones_tokens(tmp_path: Path, feature: str, out_index: int) -> None:
    backbone = saved(tmp_path / 'vit.pth', out_type='raw', out_indices=[out_index])
    with torch.inference_mode():
        (tokens,) = backbone(normalised(pixels()))
    expected = tokens[:, 0] if feature == 'cls_token' else tokens[:, 1:].mean(dim=1)
    found = embedder(checkpoint=str(tmp_path / 'vit.pth'), feature=feature, out_index=out_index).embed(pixels())
    assert found.dtype == np.float32 and np.allclose(found, expected, atol=1e-5)


def test_without_checkpoint__random_but_the_same_and_said(messages: list[str]) -> None:
    one, other = embedder(), embedder()
    assert np.array_equal(one.embed(pixels()), other.embed(pixels()))
    assert one.fingerprint() == other.fingerprint()
    assert any('its weights are random' in message for message in messages)


def test_fingerprint__names_backbone_and_feature_but_no_path(tmp_path: Path) -> None:
    saved(tmp_path / 'vit.pth')
    fingerprint = embedder(checkpoint=str(tmp_path / 'vit.pth')).fingerprint()
    assert fingerprint['backbone'] == TINY
    assert (fingerprint['feature'], fingerprint['out_index']) == ('cls_token', -1)
    assert str(tmp_path) not in str(fingerprint)
    assert fingerprint['weights'] != embedder().fingerprint()['weights']


def test_checkpoint_of_another_size__position_embedding_is_resized(tmp_path: Path) -> None:
    backbone = saved(tmp_path / 'vit.pth', img_size=64)
    with torch.inference_mode():
        expected = backbone(normalised(pixels(40)))[-1]
    found = embedder(checkpoint=str(tmp_path / 'vit.pth'), input_size=40).embed(pixels(40))
    assert np.allclose(found, expected, atol=1e-5)


def test_checkpoint_of_a_mae__loads_into_the_plain_backbone(tmp_path: Path) -> None:
    mae = MODELS.build(dict(type='mmpretrain.MAEViT', arch=ARCH | {'num_layers': 3}, patch_size=8, img_size=32))
    mae.init_weights()
    state = {f'backbone.{name}': value for name, value in mae.state_dict().items()}
    torch.save({'state_dict': state | {'neck.mask_token': torch.zeros(1)}}, tmp_path / 'mae.pth')
    found = embedder(checkpoint=str(tmp_path / 'mae.pth'), feature='avg_patch').embed(pixels())
    with torch.inference_mode():
        mae.eval()
        tokens = mae(normalised(pixels()), mask=None)[-1]
    assert np.allclose(found, tokens[:, 1:].mean(dim=1), atol=1e-5)


def test_checkpoint_of_another_arch__is_refused(tmp_path: Path) -> None:
    saved(tmp_path / 'vit.pth', arch=ARCH | {'num_layers': 4})
    with pytest.raises(WeightsError, match=r'vit.pth does not fit .* unknown to the backbone \(layers.3.ln1.weight'):
        embedder(checkpoint=str(tmp_path / 'vit.pth')).fingerprint()
    saved(tmp_path / 'vit.pth', layer_scale_init_value=1e-5)
    with pytest.raises(WeightsError, match=r'vit.pth does not fit'):
        embedder(checkpoint=str(tmp_path / 'vit.pth')).fingerprint()


def test_backbones_with_feature_maps__mean_over_the_map() -> None:
    resnet = dict(type='mmpretrain.ResNet', depth=18)
    assert embedder(resnet, feature='avg_patch').embed(pixels()).shape == (4, 512)
    assert embedder(resnet, feature='avg_patch', out_index=1).embed(pixels()).shape == (4, 128)
    swin = dict(type='mmpretrain.SwinTransformer', arch='tiny')
    assert embedder(swin, feature='avg_patch', input_size=224).embed(pixels(224, 1)).shape == (1, 768)
    no_token = TINY | {'with_cls_token': False}
    for backbone, words in ((resnet, 'avg_patch'), (swin, 'avg_patch'), (no_token, 'with_cls_token')):
        with pytest.raises(ConfigError, match=words):
            embedder(backbone).fingerprint()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'feature': 'tokens'}, "'cls_token' or 'avg_patch'"),
        ({'backbone': TINY | {'out_type': 'raw'}}, 'feature='),
        ({'backbone': TINY | {'out_indices': [1]}}, 'out_index='),
        ({'backbone': TINY | {'init_cfg': dict(type='Pretrained', checkpoint='x.pth')}}, 'checkpoint='),
        ({'backbone': dict(type='mmpretrain.MAEViT', arch='b')}, 'masks its input'),
        ({'backbone': dict(type='mmpretrain.VisionTransformerr')}, "no backbone 'mmpretrain.VisionTransformerr'"),
        ({'backbone': dict(arch='b')}, 'needs a type'),
        ({'backbone': TINY | {'arch': 'huge-ish'}}, 'VisionTransformer cannot be built'),
        ({'out_index': 7}, 'VisionTransformer cannot be built'),
    ],
)
def test_wrong_backbones__say_what_to_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        embedder(**options).fingerprint()


def config(name: str, **options: Any) -> dict[str, Any]:
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict({f'embedder.{option}': value for option, value in options.items()})
    return cfg.embedder


@pytest.mark.parametrize('name', sorted(path.stem for path in CONFIGS.glob('*.py')))
def test_shipped_configs__build_and_embed(name: str) -> None:
    built = EMBEDDERS.build(config(name) if name in ('pixels', 'phash') else config(name, checkpoint=None))
    dim = {'pixels': 769, 'phash': 64, 'dinov2-small': 384}.get(name, 768)
    assert built.embed(pixels(built.input_size, 1)).shape == (1, dim)
    assert built.pipeline[0]['type'] == 'mmdel.LoadFrame'  # for --cfg-options embedder.pipeline.0.max_pixels=...


def test_own_mae_without_checkpoint__says_how_to_give_one() -> None:
    with pytest.raises(WeightsError, match='embedder.checkpoint=FILE'):
        EMBEDDERS.build(config('my-mae')).fingerprint()


@pytest.mark.real
def test_shipped_weights__find_the_same_scene(
    real_data: Path, real_weights: Path, table_of: Make, tmp_path: Path
) -> None:
    pairs = (('0510', '0593'), ('0459', '0620'), ('0300', '0667'), ('0147', '0534'))
    for name in sum(pairs, ()):
        (tmp_path / f'{name}.jpg').symlink_to(real_data / 'kvasir_seg' / 'train' / 'images' / f'{name}.jpg')
    built = EMBEDDERS.build(config('dinov2-small', checkpoint=str(real_weights), feature='avg_patch', out_index=6))
    images = table_of(tmp_path)
    embedded = embed_images(images, built, str(tmp_path.parent / 'cache'))
    vectors = embedded.source.read(slice(0, 8))
    assert vectors.shape == (8, 384)
    vectors = vectors - vectors.mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T - 2 * np.eye(8)
    keys = [key.removesuffix('.jpg') for key in embedded.table['image'].to_pylist()]
    for one, other in pairs:
        assert keys[cosines[keys.index(one)].argmax()] == other
