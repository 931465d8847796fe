import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmdel.compute.devices import resolve_precision
from mmdel.datasets.datadel import DataDEL
from mmdel.embedding import BaseEmbedder, embed_images
from mmdel.errors import ConfigError
from mmdel.images.image_table import image_table
from mmdel.registry import EMBEDDERS

Make = Callable[..., Any]
DOCS = Path(__file__).parents[3] / 'docs' / 'custom_embedder.md'


class Wrong(BaseEmbedder):
    def __init__(self, output: Any = None, **options: Any) -> None:
        super().__init__(**options)
        self._output = output

    def build_model(self) -> nn.Module:
        class Model(nn.Module):
            def forward(module, images: torch.Tensor) -> Any:  # noqa: N805
                return self._output

        return Model()


def test_fingerprint__is_json_and_the_same_every_time(tiny: Make) -> None:
    fingerprint = tiny().fingerprint()
    assert fingerprint == tiny().fingerprint() == json.loads(json.dumps(fingerprint))
    assert {'type', 'weights', 'precision', 'pipeline', 'input_size', 'mean', 'std', 'to_rgb'} == set(fingerprint)
    assert fingerprint['type'] == 'TinyEmbedder' and len(fingerprint['weights']) == 64


def test_mirrored__is_the_same_model_over_mirror_images_in_a_cache_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        image = rng.integers(0, 256, (20, 30, 3), np.uint8)
        for folder, picture in (('plain', image), ('mirrored', image[:, ::-1])):
            (tmp_path / folder).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / folder / f'{i}.png'), picture)
    embedder = EMBEDDERS.build(dict(type='mmdel.PixelEmbedder'))
    found = {}
    for folder, each in (('plain', embedder.mirrored()), ('mirrored', embedder), ('plain', embedder)):
        images = image_table(DataDEL(str(tmp_path / folder)))
        found[folder, each is embedder] = embed_images(images, each, str(tmp_path / 'cache'), num_workers=0)
    by_flip, by_file, plain = (each.source.read(slice(None)) for each in found.values())
    np.testing.assert_array_equal(by_flip, by_file)
    assert not np.allclose(by_flip, plain)
    assert embedder.mirrored().fingerprint() == embedder.mirrored().fingerprint() != embedder.fingerprint()
    assert len(list((tmp_path / 'cache').iterdir())) == 2


def test_fingerprint__tells_what_vectors_depend_on(tiny: Make) -> None:
    class Setting(tiny):  # type: ignore[misc, valid-type]
        def __init__(self, layer: int, **options: Any) -> None:
            super().__init__(**options)
            self.layer = layer

    plain = tiny().fingerprint()
    others = [
        tiny(factor=2).fingerprint(),
        tiny(precision='bfloat16').fingerprint(),
        tiny(input_size=9).fingerprint(),
        tiny(std=(1, 2, 3)).fingerprint(),
        tiny(pipeline=[dict(type='LoadImageFromFile')]).fingerprint(),
        Setting(1).fingerprint(),
        Setting(2).fingerprint(),
    ]
    assert all(others[i] != others[j] for i in range(7) for j in range(i)) and plain not in others
    assert tiny(batch_size=7, shard_size=70).fingerprint() == plain


def test_fingerprint__refuses_what_it_cannot_tell(tiny: Make) -> None:
    embedder = tiny()
    embedder.weights_of = object()
    with pytest.raises(ConfigError, match=r'TinyEmbedder\.weights_of is object.*underscore'):
        embedder.fingerprint()


def test_unseeded_random_weights__the_same_in_every_run() -> None:
    class Random(BaseEmbedder):
        def build_model(self) -> nn.Module:
            return nn.Linear(3, 3)

    torch.manual_seed(1)
    first = Random().fingerprint()
    torch.manual_seed(2)
    assert Random().fingerprint() == first


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'input_size': 0}, 'input_size'),
        ({'batch_size': 2.5}, 'batch_size'),
        ({'shard_size': -1}, 'shard_size'),
        ({'mean': (1, 2)}, 'mean'),
        ({'std': (1, 0, 1)}, 'std'),
        ({'precision': 'int8'}, 'precision'),
        ({'pipeline': []}, 'pipeline'),
        ({'pipeline': [dict(type='NoSuchLoader')]}, 'NoSuchLoader'),
        ({'pipeline': [dict(type='mmdel.LoadFrame', sharp=True)]}, 'sharp'),
    ],
    ids=str,
)
def test_wrong_options__are_config_errors(tiny: Make, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        tiny(**options).build_pipeline()


@pytest.mark.parametrize('output', [None, (torch.zeros(2, 3),), torch.zeros(2, 3, 4, 4), torch.zeros(3, 5)])
def test_model_that_returns_something_else__is_a_config_error(output: Any) -> None:
    with pytest.raises(ConfigError, match=r'return one tensor \[B, D\]'):
        Wrong(output).embed(torch.zeros(2, 224, 224, 3, dtype=torch.uint8))


def test_precision__auto_and_explicit(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device('cpu')
    for native, expected in ((True, 'bfloat16'), (False, 'float32')):
        monkeypatch.setattr('mmdel.compute.devices._cpu_multiplies_bfloat16', lambda native=native: native)
        assert resolve_precision('auto', cpu) == expected
    assert resolve_precision('float16', cpu) == 'float16'
    assert resolve_precision('auto', torch.device('meta')) == 'float32'


def test_low_precision__close_to_full(tiny: Make) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8))
    full, low = (tiny(precision=precision).embed(images) for precision in ('float32', 'bfloat16'))
    assert full.dtype == low.dtype == np.float32
    assert np.allclose(full, low, rtol=0.02) and not np.array_equal(full, low)


def test_documented_embedder__runs_as_printed(
    image_folder: Path, table_of: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = re.findall(r'```python\n(.*?)```', DOCS.read_text(), re.DOTALL)
    module = types.ModuleType('my_embedder')
    monkeypatch.setitem(sys.modules, 'my_embedder', module)
    monkeypatch.setattr(EMBEDDERS, '_module_dict', dict(EMBEDDERS.module_dict))
    exec(compile(blocks[0], 'my_embedder.py', 'exec'), module.__dict__)
    config: dict[str, Any] = {}
    exec(compile(blocks[1], 'my_config.py', 'exec'), config)
    cfg = {name: value for name, value in config['embedder'].items() if name != '_delete_'}
    embedder = EMBEDDERS.build(cfg)
    embedded = embed_images(table_of(image_folder), embedder, str(tmp_path / 'cache'), num_workers=0)
    assert embedded.source.shape == (20, 3 * 8 * 8)
    assert embedded.fingerprint['type'] == 'ColourLayout' and embedded.fingerprint['grid'] == 8
