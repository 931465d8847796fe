import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmdel.config.config_file import read_part
from mmdel.config.shipped import ENCODERS
from mmdel.embedding import TimmEmbedder
from mmdel.errors import ConfigError, WeightsError
from mmdel.registry import EMBEDDERS

timm = pytest.importorskip('timm')
safetensors = pytest.importorskip('safetensors.torch')

VIT, RESNET = 'test_vit.r160_in1k', 'test_resnet.r160_in1k'


def embedder(model: str = VIT, **options: Any) -> TimmEmbedder:
    return EMBEDDERS.build(dict(type='mmdel.TimmEmbedder', model=model, precision='float32', **options))


def pixels(side: int = 160, count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def as_timm(images: torch.Tensor, built: TimmEmbedder) -> torch.Tensor:
    about = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(built.model).to_dict())
    mean, std = (torch.tensor(about[name])[:, None, None] for name in ('mean', 'std'))
    return (images.permute(0, 3, 1, 2).flip(1).float() / 255 - mean) / std


def saved(file: Path, model: str = VIT, seed: int = 5, **options: Any) -> Any:
    """A model with its classifier, whose weights lie in `file`."""
    torch.manual_seed(seed)
    made = timm.create_model(model, **options).eval()
    state = made.state_dict()
    (safetensors.save_file if file.suffix == '.safetensors' else torch.save)(state, file)
    return made


@pytest.mark.parametrize('file', ['a.safetensors', 'a.pth'])
@pytest.mark.parametrize('model', [VIT, RESNET])
def test_pooled__is_what_timm_gives_to_the_classifier(tmp_path: Path, model: str, file: str) -> None:
    made = saved(tmp_path / file, model)
    built = embedder(model, checkpoint=str(tmp_path / file))
    with torch.inference_mode():
        images = as_timm(pixels(), built)
        expected = made.forward_head(made.forward_features(images), pre_logits=True)
    np.testing.assert_allclose(built.embed(pixels()), expected, atol=1e-4)


@pytest.mark.parametrize('out_index', [0, -1])
@pytest.mark.parametrize('feature', ['cls_token', 'avg_patch'])
def test_tokens__are_those_of_the_block(tmp_path: Path, feature: str, out_index: int) -> None:
    made = saved(tmp_path / 'a.safetensors')
    built = embedder(checkpoint=str(tmp_path / 'a.safetensors'), feature=feature, out_index=out_index)
    found: list[torch.Tensor] = []
    layer = made.norm if out_index == -1 else made.blocks[out_index]
    layer.register_forward_hook(lambda module, given, output: found.append(output))
    with torch.inference_mode():
        made(as_timm(pixels(), built))
    expected = found[0][:, 0] if feature == 'cls_token' else found[0][:, 1:].mean(dim=1)
    np.testing.assert_allclose(built.embed(pixels()), expected, atol=1e-4)


def test_feature_maps__mean_of_a_stage_and_no_class_token() -> None:
    assert embedder(RESNET, checkpoint='random', feature='avg_patch', out_index=1).embed(pixels()).shape[0] == 2
    for out_index in (-1, 1):
        with pytest.raises(ConfigError, match=r'no class token.*embedder.feature=avg_patch'):
            embedder(RESNET, checkpoint='random', feature='cls_token', out_index=out_index).embed(pixels())


def test_preprocessing__is_the_models_own(tmp_path: Path, messages: list[str]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    image = cv2.resize(image, (330, 220), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    built = embedder(checkpoint='random', crop=True)
    results = {'img_path': str(tmp_path / 'a.png')}
    for transform in built.build_pipeline():
        results = transform(results)
    about = timm.data.resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(VIT).to_dict())
    expected = timm.data.create_transform(**about)(Image.open(tmp_path / 'a.png'))
    found = as_timm(torch.from_numpy(np.ascontiguousarray(results['img']))[None], built)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    built.fingerprint()
    assert any('160 px, bicubic, cropped' in message for message in messages)


def test_fingerprint__the_same_by_name_and_by_config_and_another_with_other_weights(tmp_path: Path) -> None:
    saved(tmp_path / 'a.safetensors')
    saved(tmp_path / 'b.pth')
    saved(tmp_path / 'c.pth', seed=6)
    by_name = read_part(f'timm:{VIT}', ENCODERS, 'embedder')
    options = dict(checkpoint=str(tmp_path / 'a.safetensors'), precision='float32')
    by_config = embedder(checkpoint=str(tmp_path / 'b.pth')).fingerprint()
    assert EMBEDDERS.build({**by_name, **options}).fingerprint() == by_config
    assert str(tmp_path) not in str(by_config)
    assert embedder(checkpoint=str(tmp_path / 'c.pth')).fingerprint()['weights'] != by_config['weights']


def test_another_input_size__position_embedding_is_resized(tmp_path: Path) -> None:
    saved(tmp_path / 'a.safetensors')
    built = embedder(checkpoint=str(tmp_path / 'a.safetensors'), input_size=96)
    assert built.embed(pixels(96)).shape == (2, 64)
    assert embedder(RESNET, checkpoint='random', input_size=96).embed(pixels(96)).shape == (2, 96)


def test_weights_that_are_not_here__the_file_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def unreachable(*_: Any, **__: Any) -> str:
        raise FileNotFoundError('no network')

    monkeypatch.setattr(huggingface_hub, 'hf_hub_download', unreachable)
    with pytest.raises(
        WeightsError, match=r'model.safetensors of https://huggingface.co/timm/test_vit.*checkpoint=FILE'
    ):
        embedder().fingerprint()
    with pytest.raises(WeightsError, match='no checkpoint'):
        embedder(checkpoint=str(tmp_path / 'none.safetensors')).fingerprint()


def test_weights_of_another_model__are_refused(tmp_path: Path) -> None:
    saved(tmp_path / 'a.safetensors', RESNET)
    with pytest.raises(WeightsError, match='does not fit'):
        embedder(checkpoint=str(tmp_path / 'a.safetensors')).fingerprint()


def test_file_that_runs_code__is_refused(tmp_path: Path) -> None:
    torch.save({'state_dict': {'a': torch.zeros(1)}, 'run': Path('x')}, tmp_path / 'a.pth')
    with pytest.raises(WeightsError, match='would run code'):
        embedder(checkpoint=str(tmp_path / 'a.pth')).fingerprint()


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'model': 'test_vitt'}, "Did you mean 'test_vit'"),
        ({'model': 'test_vit.none'}, "describes no weights 'none'"),
        ({'feature': 'tokens'}, "'cls_token'"),
        ({'out_index': 1}, "needs feature='cls_token'"),
    ],
)
def test_mistakes__say_what_to_do(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        embedder(**options)


def test_without_timm__the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ConfigError, match=r"pip install 'mmdel\[timm\]'"):
        embedder()
