import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mmdel.config.config_file import read_part
from mmdel.config.shipped import ENCODERS
from mmdel.embedding import HFEmbedder
from mmdel.errors import ConfigError, WeightsError
from mmdel.registry import EMBEDDERS

transformers = pytest.importorskip('transformers')

TINY = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=2, intermediate_size=64, image_size=32, patch_size=8
)


def embedder(folder: Path, **options: Any) -> HFEmbedder:
    return EMBEDDERS.build(dict(type='mmdel.HFEmbedder', model=str(folder), precision='float32', **options))


def pixels(side: int = 32, count: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def normalised(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    return (images.permute(0, 3, 1, 2).flip(1).float() / 255 - mean) / std


def saved(folder: Path, kind: str = 'Dinov2', seed: int = 5, **options: Any) -> Any:
    """A tiny model in a folder, as ``save_pretrained`` leaves it, with an image processor like DINOv2's."""
    torch.manual_seed(seed)
    config = getattr(transformers, f'{kind}Config')(**TINY | options)
    model = getattr(transformers, f'{kind}Model')(config).eval()
    model.save_pretrained(folder)
    about = dict(
        image_processor_type='BitImageProcessor', size={'shortest_edge': 40}, crop_size={'height': 32, 'width': 32},
        do_resize=True, do_center_crop=True, do_rescale=True, do_normalize=True, rescale_factor=1 / 255, resample=3,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225], do_convert_rgb=True,
    )  # fmt: skip
    (folder / 'preprocessor_config.json').write_text(json.dumps(about))
    return model


@pytest.mark.parametrize('out_index', [0, -1])
@pytest.mark.parametrize('feature', ['cls_token', 'avg_patch'])
@pytest.mark.parametrize(('kind', 'prefix'), [('Dinov2', 1), ('DeiT', 2)])
def test_tokens__are_those_of_the_layer(tmp_path: Path, kind: str, prefix: int, feature: str, out_index: int) -> None:
    model = saved(tmp_path, kind)
    with torch.inference_mode():
        output = model(normalised(pixels()), output_hidden_states=True)
    tokens = output.last_hidden_state if out_index == -1 else output.hidden_states[out_index + 1]
    expected = tokens[:, 0] if feature == 'cls_token' else tokens[:, prefix:].mean(dim=1)
    found = embedder(tmp_path, feature=feature, out_index=out_index).embed(pixels())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pooled__is_the_models_own(tmp_path: Path) -> None:
    model = saved(tmp_path)
    with torch.inference_mode():
        expected = model(normalised(pixels())).pooler_output
    np.testing.assert_allclose(embedder(tmp_path, feature='pooled').embed(pixels()), expected, atol=1e-4)


def test_another_input_size__position_embedding_is_resized(tmp_path: Path) -> None:
    saved(tmp_path, 'ViT')
    assert embedder(tmp_path, input_size=48).embed(pixels(48)).shape == (2, 32)


def test_preprocessing__is_the_image_processors(tmp_path: Path, messages: list[str]) -> None:
    saved(tmp_path / 'm')
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)).resize((120, 90))
    smooth.save(tmp_path / 'a.png')
    built = embedder(tmp_path / 'm', crop=True)
    results = {'img_path': str(tmp_path / 'a.png')}
    for transform in built.build_pipeline():
        results = transform(results)
    found = normalised(torch.from_numpy(np.ascontiguousarray(results['img']))[None])[0]
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'm')
    expected = processor(Image.open(tmp_path / 'a.png').convert('RGB'), return_tensors='pt')['pixel_values'][0]
    assert (found - expected).abs().max() < 0.05, 'a grey level or two: torchvision and Pillow round differently'
    built.fingerprint()
    assert any('32 px, bicubic, cropped' in message for message in messages)


def test_fingerprint__the_same_by_name_and_by_config_and_another_with_other_weights(tmp_path: Path) -> None:
    for name, seed in (('a', 5), ('b', 5), ('c', 6)):
        saved(tmp_path / name, seed=seed)
    by_name = EMBEDDERS.build({**read_part(f'hf:{tmp_path / "a"}', ENCODERS, 'embedder'), 'precision': 'float32'})
    by_config = embedder(tmp_path / 'b').fingerprint()
    assert by_name.fingerprint() == by_config
    assert str(tmp_path) not in str(by_config)
    assert embedder(tmp_path / 'c').fingerprint()['weights'] != by_config['weights']
    assert by_name.config()['model'] == str(tmp_path / 'a')


def test_weights_that_a_file_lacks__are_refused_and_not_random(tmp_path: Path) -> None:
    saved(tmp_path)
    config = json.loads((tmp_path / 'config.json').read_text())
    (tmp_path / 'config.json').write_text(json.dumps({**config, 'num_hidden_layers': 4}))
    with pytest.raises(WeightsError, match='would be random'):
        embedder(tmp_path).fingerprint()


def test_pickled_weights__are_not_loaded(tmp_path: Path) -> None:
    model = saved(tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    torch.save(model.state_dict(), tmp_path / 'pytorch_model.bin')
    with pytest.raises(WeightsError, match=r'Fetch .*model.safetensors'):
        embedder(tmp_path).fingerprint()


def test_model_that_is_not_here__the_files_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise OSError('no network')

    monkeypatch.setattr(transformers.AutoImageProcessor, 'from_pretrained', unreachable)
    with pytest.raises(WeightsError, match=r'huggingface.co/no/such .*no network.*model.safetensors .*hf:FOLDER'):
        EMBEDDERS.build(dict(type='mmdel.HFEmbedder', model='no/such'))


def test_without_transformers__the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ConfigError, match=r"pip install 'mmdel\[hf\]'"):
        embedder(tmp_path)
