import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmdel.config.config_file import read_part
from mmdel.config.shipped import ENCODERS
from mmdel.embedding import OnnxEmbedder
from mmdel.errors import ConfigError, WeightsError
from mmdel.registry import EMBEDDERS

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')


def embedder(file: Path, **options: Any) -> OnnxEmbedder:
    return EMBEDDERS.build(dict(type='mmdel.OnnxEmbedder', model=str(file), **options))


def pixels(side: int = 8, count: int = 3) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8))


def normalised(images: torch.Tensor) -> np.ndarray:
    mean, std = (torch.tensor(v)[:, None, None] for v in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    return ((images.permute(0, 3, 1, 2).flip(1).float() - mean) / std).numpy()


def saved(file: Path, batch: int | str = 'B', side: int | str = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    """A convolution of 4 x 4 patches: the map, the same as tokens, and its mean. Returns its weights [5, 3, 4, 4]."""
    weights = np.random.default_rng(seed).normal(size=(5, channels, 4, 4)).astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node('Conv', ['x', 'w'], ['map'], strides=[4, 4]),
        helper.make_node('Reshape', ['map', 'flat'], ['channels']),
        helper.make_node('Transpose', ['channels'], ['tokens'], perm=[0, 2, 1]),
        helper.make_node('ReduceMean', ['map'], ['mean'], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        'tiny',
        [helper.make_tensor_value_info('x', kind.FLOAT, [batch, channels, side, side])],
        [helper.make_tensor_value_info(name, kind.FLOAT, None) for name in ('mean', 'tokens', 'map')],
        [onnx.numpy_helper.from_array(weights, 'w'), onnx.numpy_helper.from_array(np.array([0, 5, -1]), 'flat')],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    file.write_bytes(model.SerializeToString())
    return weights


def patches(images: torch.Tensor, weights: np.ndarray) -> np.ndarray:
    cut = normalised(images).reshape(len(images), 3, 2, 4, 2, 4)
    return np.einsum('bchiwj,kcij->bhwk', cut, weights).reshape(len(images), 4, -1)


@pytest.mark.parametrize('batch', ['B', 1, 2])
def test_outputs__mean_token_and_map(tmp_path: Path, batch: int | str) -> None:
    expected = patches(pixels(), saved(tmp_path / 'a.onnx', batch))
    for options, vectors in (
        ({}, expected.mean(axis=1)),
        ({'output': 'map', 'feature': 'avg_patch'}, expected.mean(axis=1)),
        ({'output': 'tokens', 'feature': 'cls_token'}, expected[:, 0]),
        ({'output': 'tokens', 'feature': 'avg_patch'}, expected[:, 1:].mean(axis=1)),
    ):
        np.testing.assert_allclose(embedder(tmp_path / 'a.onnx', **options).embed(pixels()), vectors, atol=1e-4)


def test_preprocessing__size_of_the_file_and_a_warning_for_the_rest(tmp_path: Path, messages: list[str]) -> None:
    saved(tmp_path / 'a.onnx')
    saved(tmp_path / 'b.onnx', side='S')
    assert (embedder(tmp_path / 'a.onnx').input_size, embedder(tmp_path / 'b.onnx').input_size) == (8, 224)
    assert embedder(tmp_path / 'b.onnx', input_size=16).embed(pixels(16)).shape == (3, 5)
    assert any('does not state mean and std' in message for message in messages)


def test_fingerprint__by_name_and_by_config_other_weights_and_weights_beside_the_file(tmp_path: Path) -> None:
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        saved(tmp_path / f'{name}.onnx', seed=seed)
    by_name = EMBEDDERS.build(read_part(f'onnx:{tmp_path / "a.onnx"}', ENCODERS, 'embedder')).fingerprint()
    assert by_name == embedder(tmp_path / 'b.onnx').fingerprint()
    assert str(tmp_path) not in str(by_name)
    assert embedder(tmp_path / 'c.onnx').fingerprint()['weights'] != by_name['weights']
    (tmp_path / 'b.onnx.data').write_bytes(b'1')
    assert embedder(tmp_path / 'b.onnx').fingerprint()['weights'] != by_name['weights']


def test_model_that_a_package_ships__embeds() -> None:
    file = Path(onnx.__file__).parent / 'backend' / 'test' / 'data' / 'light' / 'light_squeezenet.onnx'
    if not file.is_file():
        pytest.skip('this onnx ships no model')
    assert embedder(file).input_size == 224
    assert embedder(file).embed(pixels(224, 1)).shape[0] == 1


@pytest.mark.parametrize(
    ('made', 'options', 'words'),
    [
        ({}, {'input_size': 9}, 'images of 8 px'),
        ({}, {'output': 'none'}, 'There are: mean, tokens, map'),
        ({'channels': 1}, {}, r'takes \[B, 3, S, S\]'),
    ],
)
def test_mistakes__say_what_to_do(tmp_path: Path, made: dict[str, Any], options: dict[str, Any], words: str) -> None:
    saved(tmp_path / 'a.onnx', **made)
    with pytest.raises(ConfigError, match=words):
        embedder(tmp_path / 'a.onnx', **options)


def test_files_that_are_none__are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match='There is no ONNX file'):
        embedder(tmp_path / 'a.onnx')
    (tmp_path / 'a.onnx').write_bytes(b'no model')
    with pytest.raises(WeightsError, match='damaged'):
        embedder(tmp_path / 'a.onnx')
    with pytest.raises(ConfigError, match='Write onnx:FILE'):
        read_part('onnx:', ENCODERS, 'embedder')


def test_without_onnxruntime__the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    saved(tmp_path / 'a.onnx')
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ConfigError, match=r"pip install 'mmdel\[onnx\]'"):
        embedder(tmp_path / 'a.onnx')
