"""A config as text, read without running it: only plain values, and only encoders and datasets that are known to be harmless.

The work dir of a run may come from a stranger, and a config is a program. So what is needed of it again is read as data, and
where it names anything that mmdel does not ship, the person has to name a config that is trusted.
"""

import ast
from typing import Any

from mmdel.errors import ConfigError

_VISION_TRANSFORMER = {'type', 'arch', 'patch_size', 'img_size', 'layer_scale_init_value'}
_PLAIN = {'mmdel.PixelEmbedder', 'mmdel.HashEmbedder'}
_TRANSFORMS = {'mmdel.LoadFrame'}


def plain_config(text: str, where: str) -> dict[str, Any]:
    """The keys of a config and their values.

    Args:
        text (str): The config, as mmengine dumps it: assignments of constants, lists, tuples and dicts.
        where (str): Its path, for messages.

    Raises:
        ConfigError: It holds anything else.
    """
    try:
        values = {}
        for statement in ast.parse(text).body:
            if not (
                isinstance(statement, ast.Assign)
                and len(statement.targets) == 1
                and isinstance(statement.targets[0], ast.Name)
            ):
                raise ValueError(f'line {statement.lineno} is no assignment')
            values[statement.targets[0].id] = _value(statement.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f'{where} is not what a run writes ({error}).') from error
    return values


def check_harmless(values: dict[str, Any], where: str, again: bool = False) -> None:
    """Refuse what could start a program or load what is not checked.

    Args:
        values (dict): From :func:`plain_config`.
        where (str): Its path, for messages.
        again (bool): Whether the whole run will be made again. Defaults to False, only its embedder.

    Raises:
        ConfigError: It names something that mmdel does not ship; the message says how to go on.
    """
    foreign = _foreign_embedder(values.get('embedder'))
    if again and not foreign:
        foreign = _foreign_run(values)
    if not foreign and values.get('custom_imports'):
        foreign = 'custom_imports'
    if foreign:
        raise ConfigError(
            f'{where} uses {foreign}, and a file beside a subset may come from anybody, so it is not run unasked. '
            f'If you made this run yourself, add --config {where}'
        )


def _foreign_run(values: dict[str, Any]) -> str:
    """What of a run besides its embedder is not known to be harmless, '' where nothing."""
    dataset, selector = values.get('dataset'), values.get('selector')
    if not isinstance(dataset, dict) or dataset.get('type') != 'mmdel.DataDEL' or dataset.get('pipeline'):
        return 'a dataset of its own'
    # selectors and their clusterers are ours; another scope leads to any function there is
    if not all(kind.startswith('mmdel.') and kind.count('.') == 1 for kind in _types(selector)) or not _types(selector):
        return 'a selector of its own'
    # the test sets of the run are configs, too
    return 'exclude_near' if values.get('exclude_near') else ''


def _types(value: Any) -> list[str]:
    """Every ``type`` in a part of a config."""
    if isinstance(value, list | tuple):
        return [kind for each in value for kind in _types(each)]
    if not isinstance(value, dict):
        return []
    own = [str(value['type'])] if 'type' in value else []
    return own + [kind for each in value.values() for kind in _types(each)]


def _foreign_embedder(embedder: Any) -> str:
    """What of an embedder is not known to be harmless, '' where nothing."""
    if not isinstance(embedder, dict):
        return 'no embedder'
    pipeline = embedder.get('pipeline') or []
    if not all(isinstance(each, dict) and each.get('type') in _TRANSFORMS for each in pipeline):
        return 'a pipeline of its own'
    rest = {name: value for name, value in embedder.items() if name not in ('type', 'backbone', 'pipeline')}
    if any(isinstance(value, dict) for value in rest.values()):
        return 'an embedder with parts of its own'
    if embedder.get('type') in _PLAIN and 'backbone' not in embedder:
        return ''
    backbone = embedder.get('backbone')
    if embedder.get('type') != 'mmdel.ViTEmbedder' or not isinstance(backbone, dict):
        return f'the embedder {embedder.get("type")!r}'
    if backbone.get('type') != 'mmpretrain.VisionTransformer' or not set(backbone) <= _VISION_TRANSFORMER:
        return f'the backbone {backbone.get("type")!r}'
    return '' if isinstance(backbone.get('arch'), str) else 'an arch of its own'


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Call(func=ast.Name(id='dict'), args=[], keywords=keywords) if all(each.arg for each in keywords):
            return {str(each.arg): _value(each.value) for each in keywords}
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_value(key): _value(value) for key, value in zip(keys, values, strict=True) if key is not None}
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            made = [_value(element) for element in elements]
            return made if isinstance(node, ast.List) else tuple(made)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value
    raise ValueError(f'line {node.lineno} holds something else than plain values')
