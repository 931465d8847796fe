"""What a dedup config may contain: every key with its type, its default and what it means.

    check_dedup_config(Config.fromfile('configs/meddel_eta08.py'))

:data:`KEYS` are those of the file. What stands below ``dataset``, ``embedder`` and ``selector`` are the arguments of the class
that ``type`` names, so a class of one's own is checked by its own signature. ``docs/config.md`` is written from here.
"""

import inspect
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DATASETS, MODELS, TRANSFORMS, Registry

from mmdel.config.config_check import Arguments, arguments, check_keys, check_value, nearest
from mmdel.errors import ConfigError, MmdelError
from mmdel.registry import CLUSTERERS, EMBEDDERS, SELECTORS
from mmdel.selection.findings import CONFLICT_THRESHOLD, LeakRule
from mmdel.selection.guards import Guards
from mmdel.subset.columns import GROUPS

REQUIRED = inspect.Parameter.empty
"""Default of a key that every config needs."""


@dataclass(frozen=True)
class Key:
    """A key of a dedup config.

    Args:
        kind (Any): The annotation that its value fits.
        default (Any): What holds without it, or :data:`REQUIRED`.
        meaning (str): A sentence for people.
    """

    kind: Any
    default: Any
    meaning: str


KEYS: dict[str, Key] = {
    'dataset': Key(dict | None, None, 'Whose images are chosen from: any dataset whose items have `img_path`.'),
    'embedder': Key(dict | None, None, 'What turns images into vectors. `--encoder NAME` takes a ready one.'),
    'selector': Key(dict, REQUIRED, 'What ranks the images. `--selector NAME` takes a ready one.'),
    'center': Key(bool, False, 'Subtract the mean vector before comparing; what raw encoders often need.'),
    'guards': Key(dict | None, None, 'What must stay and what must not, whatever the ranking says.'),
    'exclude_near': Key(dict | None, None, 'Test images whose copies take no part.'),
    'conflict_threshold': Key(
        float, CONFLICT_THRESHOLD, 'Cosine above which images with different labels are listed as conflicts.'
    ),
    'work_dir': Key(
        str,
        REQUIRED,
        'Where the results go. `tools/dedup.py` names it after the config and the options if none is given.',
    ),
    'cache_dir': Key(str, 'work_dirs/.embeddings', 'Where vectors and rankings are kept between runs.'),
    'default_scope': Key(str, 'mmpretrain', 'Library in which a `type` without a prefix is looked up.'),
    'custom_imports': Key(dict | None, None, "Modules with classes of your own: `dict(imports=['my_package'])`."),
}
"""The keys of the file. Names that begin with an underscore are the file's own."""

CUSTOM_IMPORTS: dict[str, Any] = {'imports': str | Sequence[str], 'allow_failed_imports': bool}
EXCLUDE_NEAR: dict[str, Any] = {'against': str | Sequence[str], **arguments(LeakRule).kinds}


@dataclass(frozen=True)
class Part:
    """A key whose value is a dict with a ``type``.

    Args:
        registry (Registry): Where the type is looked up.
        example (str): A type that there is.
    """

    registry: Registry
    example: str


PARTS: dict[str, Part] = {
    'dataset': Part(DATASETS, 'mmdel.DataDEL'),
    'embedder': Part(EMBEDDERS, 'mmdel.ViTEmbedder'),
    'selector': Part(SELECTORS, 'mmdel.MedDEL'),
    'clusterer': Part(CLUSTERERS, 'mmdel.FaissKMeans'),
    'backbone': Part(MODELS, 'mmpretrain.VisionTransformer'),
    'pipeline': Part(TRANSFORMS, 'mmdel.LoadFrame'),
}
"""By name, wherever they stand; a pipeline is a list of them."""


def check_dedup_config(cfg: Mapping[str, Any], uses_images: bool = True, built: Collection[str] = ()) -> None:
    """Refuse what nobody would read, and values of a wrong type.

    Args:
        cfg (Mapping): A config, or its keys as a dict.
        uses_images (bool): Whether dataset and embedder will be built. Defaults to True; without it classes of other libraries
            are not looked up.
        built (Collection[str]): Parts of which there are objects already: what the config says of them is only noted. Defaults
            to ().

    Raises:
        ConfigError: It names the key by its whole path, its value, and what would do.
    """
    given = {name: value for name, value in cfg.items() if not isinstance(value, type)}  # imports of the file
    if 'train_dataloader' in given:
        raise ConfigError(
            'This is the config of a training. Its images are taken with --dataset-from, beside a dedup config.'
        )
    check_keys(given, KEYS, '', 'a dedup config', ' A name of your own begins with an underscore.')
    for name, key in KEYS.items():
        value = given.get(name)
        if value is None and key.default is not REQUIRED:
            continue
        if value is None:
            raise ConfigError(
                f'The config {getattr(cfg, "filename", None) or ""} lacks the key {name!r}; see configs/meddel_eta08.py.'
            )
        check_value(value, key.kind, name)
    scope = given.get('default_scope') or KEYS['default_scope'].default
    if scope not in MODULE2PACKAGE and not (scope.isidentifier() and find_spec(scope)):
        raise ConfigError(
            f'default_scope={scope!r}: there is no such library. Did you mean {nearest(scope, MODULE2PACKAGE) or "mmpretrain"}?'
        )
    for name in ('dataset', 'embedder', 'selector'):
        if given.get(name) is not None and name not in built:
            _check_part(name, given[name], PARTS[name], scope, uses_images)
    for name, kinds in (
        ('guards', arguments(Guards).kinds),
        ('exclude_near', EXCLUDE_NEAR),
        ('custom_imports', CUSTOM_IMPORTS),
    ):
        if given.get(name) is not None:
            check_keys(given[name], kinds, name, name)
            _check_values(given[name], kinds, name)
    for name in ('min_keep', 'max_keep'):
        check_keys((given.get('guards') or {}).get(name) or {}, GROUPS, f'guards.{name}', 'an image')


def build_part(name: str, config: Any) -> Any:
    """Build the dataset or the embedder of a config, by its registry.

    Args:
        name (str): 'dataset' or 'embedder'.
        config (Mapping): Its config.

    Raises:
        ConfigError: Its class refuses what it was given; the message says where.
    """
    try:
        return PARTS[name].registry.build(config)
    except (MmdelError, ImportError):
        raise
    except Exception as error:  # of a class that anybody may have written, given what anybody may have typed
        place = inspect.getinnerframes(error.__traceback__)[-1] if error.__traceback__ else None
        where = f' ({place.filename}, line {place.lineno})' if place else ''
        raise ConfigError(
            f'The {name} {config.get("type")} cannot be built: {type(error).__name__}: {error}{where}'
        ) from error


# --- private


def _check_part(path: str, value: Any, part: Part, scope: str, foreign: bool) -> None:
    check_value(value, dict, path)
    if value.get('type') is None:
        raise ConfigError(f'{path} lacks its type, such as {path}.type={part.example}; got {dict(value)!r}.')
    scope = value.get('_scope_') or scope
    kind = _find(path, value['type'], part, scope, foreign)
    if kind is None:
        return
    name = value['type'] if isinstance(value['type'], str) else value['type'].__name__
    known = arguments(kind)
    given = {key: each for key, each in value.items() if key != 'type'}
    if not known.open:
        check_keys(given, known.kinds, path, name, _hint(part, given, known))
    missing = [key for key in known.required if key not in given]
    if missing:
        raise ConfigError(f'{path} lacks {missing[0]!r}, without which there is no {name}.')
    # classes of other libraries are annotated loosely
    if part.registry.scope != 'mmdel' and kind.__module__.partition('.')[0] != 'mmdel':
        return
    _check_values(given, known.kinds, path)
    for key in PARTS.keys() & given.keys() & known.kinds.keys():
        inner = {f'{path}.{key}': given[key]}
        if key == 'pipeline':
            inner = {f'{path}.{key}.{place}': each for place, each in enumerate(given[key] or ()) if not callable(each)}
        for where, each in inner.items():
            if each is not None:
                _check_part(where, each, PARTS[key], scope, foreign)


def _check_values(given: Mapping[str, Any], kinds: Mapping[str, Any], path: str) -> None:
    for key, each in given.items():
        check_value(each, kinds.get(key, Any), f'{path}.{key}')


def _find(path: str, kind: Any, part: Part, scope: str, foreign: bool) -> Any:
    """The class of a part; None where it is another library's and not wanted."""
    if callable(kind):
        return kind
    check_value(kind, str, f'{path}.type')
    own = part.registry.scope == 'mmdel'
    if not own and not foreign and not kind.startswith('mmdel.'):
        return None
    searched = part.registry.switch_scope_and_registry(None if kind.startswith('mmdel.') else scope)
    with warnings.catch_warnings(), searched as registry:
        # mmcv without compiled operators says so when it is imported; none of them is needed
        warnings.filterwarnings('ignore', message='Fail to import')
        try:
            found = registry.get(kind)
        except RuntimeError:  # mmengine's word for a path to a class that is not there
            found = None
        prefix, dot, name = kind.rpartition('.')
        known = registry if prefix in ('', registry.scope) else part.registry.children.get(prefix, registry)
    if found is None:
        library = prefix or scope
        if library in MODULE2PACKAGE and find_spec(library) is None:
            return None  # who builds it says how to install it
        near = nearest(name, known.module_dict)
        meant = f' Did you mean {prefix + dot + near}?' if near else ''
        raise ConfigError(
            f'{path}.type={kind!r}: there is no such {part.registry.name}.{meant} One of your own is registered by an import, '
            "custom_imports = dict(imports=['my_package']) in the config."
        )
    return found


def _hint(part: Part, given: Mapping[str, Any], known: Arguments) -> str:
    unknown = [key for key in given if key not in known.kinds and not key.startswith('_')]
    if part.registry is SELECTORS and unknown[:1] == ['eta']:
        return ' It ranks images without a threshold: say how many to keep with --ratio.'
    return ' If it is left over from another type, in a _base_, add _delete_=True to the dict.'
