"""The config of a study: which selectors, ratios, seeds and downstream sets are compared.

    study = read_study('configs/study/demo.py')
    study.selectors['MedDEL'].ratios     # (0.05, 0.2)

The keys of the file:

    work_dir = 'work_dirs/study/demo'
    data_root = 'data/demo'
    selection = dict(config='../demo/meddel_pixels.py', options={'dataset.data_root': '{data_root}/pool'})
    selectors = {'MedDEL': dict(selector=dict(type='mmdel.MedDEL', scope='global'))}
    ratios, seeds = (0.05, 0.2), (0, 1, 2)
    pretraining = dict(config='../demo/mae_tiny.py', full_epochs=20)
    downstream = {'Kvasir-SEG': dict(config='../demo/segmentation_tiny.py')}
    references = {'all images': dict(kind='full'), 'random encoder': dict(kind='random')}

``config`` names an ordinary config, relative to the file of the study, and ``options`` changes keys of it, as
``--cfg-options`` would. In every string ``'{data_root}'`` and ``'{weights}'`` stand for those keys of the study, and the string
``'{seed}'`` for the seed of a run: a selector that has it somewhere is run for each seed, another one once for all of them.
Names that begin with an underscore are the file's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdel.config.config_check import check_keys, check_value
from mmdel.config.config_file import read_config
from mmdel.errors import ConfigError
from mmdel.subset import size_at

SEED = '{seed}'
PLACES = ('data_root', 'weights')
"""Keys that other values may refer to, so that one option moves a whole study."""

KINDS = ('full', 'random', 'checkpoint')
"""References: pre-training on all images, no pre-training, somebody else's weights."""

_RATES = ('select', 'pretrain', 'finetune', 'evaluate')
_RECIPE = {'config': str, 'options': dict}
_KEYS: dict[str, dict[str, Any]] = {
    'study': {
        'work_dir': str | None,
        'data_root': str | None,
        'weights': str | None,
        'selection': dict,
        'selectors': dict[str, dict],
        'ratios': Sequence[float],
        'seeds': Sequence[int],
        'pretraining': dict,
        'downstream': dict[str, dict],
        'references': dict[str, dict],
        'baselines': Sequence[str],
        'threads': int | None,
        'rates': dict[str, float],
        'images': int | None,
        'resume': bool,
        'sbatch': Sequence,
        'alpha': float,
        'box': int,
    },
    'selection': _RECIPE,
    'pretraining': {**_RECIPE, 'full_epochs': int},
    'selectors': {
        'selector': dict,
        'options': dict,
        'ratios': Sequence[float],
        'downstream': Sequence[str],
        'checkpoints': dict | Sequence,
    },
    'downstream': {**_RECIPE, 'metric': str, 'ratios': Sequence[float] | None},
    'references': {'kind': str, 'checkpoint': str | None, 'downstream': Sequence[str]},
}
"""What each part may contain."""


@dataclass(frozen=True)
class Recipe:
    """An ordinary config and what is changed in it.

    Args:
        path (Path): The file.
        options (dict): Dotted key -> value.
    """

    path: Path
    options: dict[str, Any]


@dataclass(frozen=True)
class Selector:
    """A selection method under comparison.

    Args:
        config (dict): Config of the selector.
        options (dict): Dotted keys of the dedup config that are its own, such as ``center``.
        ratios (tuple[float, ...]): Shares of the images that it keeps, in (0, 1).
        downstream (tuple[str, ...]): The sets that its encoders are tested on.
        checkpoints (dict[float, tuple[float, ...]]): Ratio -> shares of the pre-training, in (0, 1), whose checkpoints are tested
            as well (Table 4).
    """

    config: dict[str, Any]
    options: dict[str, Any]
    ratios: tuple[float, ...]
    downstream: tuple[str, ...]
    checkpoints: dict[float, tuple[float, ...]]

    @property
    def seeded(self) -> bool:
        """Whether each seed chooses images of its own."""
        return _holds_seed(self.config)


@dataclass(frozen=True)
class Downstream:
    """A set that encoders are tested on.

    Args:
        recipe (Recipe): The config of its fine-tuning and evaluation.
        metric (str): The metric by its full name, in percent.
        ratios (tuple[float, ...], optional): Only encoders that saw such shares come here. None: all.
    """

    recipe: Recipe
    metric: str
    ratios: tuple[float, ...] | None


@dataclass(frozen=True)
class Reference:
    """A row to compare with that no selector made.

    Args:
        kind (str): One of :data:`KINDS`.
        checkpoint (str, optional): The weights, for kind 'checkpoint'.
        downstream (tuple[str, ...]): The sets that it is tested on.
    """

    kind: str
    checkpoint: str | None
    downstream: tuple[str, ...]


@dataclass(frozen=True)
class Study:
    """What a study compares, checked and complete.

    Args:
        name (str): The stem of the config's file.
        path (Path): That file.
        work_dir (Path): Where everything goes.
        selection (Recipe): The dedup config: dataset, embedder, center.
        selectors (dict[str, Selector]): By name.
        seeds (tuple[int, ...]): Of selection where it asks for one, of pre-training, and of fine-tuning.
        pretraining (Recipe): The pre-training on all images.
        full_epochs (int): Its epochs on all images; a subset is trained for as many as cost the same.
        downstream (dict[str, Downstream]): By name.
        references (dict[str, Reference]): By name.
        baselines (tuple[str, ...]): Selectors that the others are tested against.
        threads (int, optional): CPU threads of a run. None leaves that to the libraries, and with it the last bits of results.
        resume (bool): Whether a killed training goes on from its latest checkpoint. It then draws its crops anew, so that its
            figures differ a little from those of one that was never killed; without it a killed training starts again.
        rates (dict[str, float]): What the author assumes of a machine until runs have been timed: images per second of
            'pretrain' and 'finetune', seconds of one 'select' and one 'evaluate'.
        images (int, optional): Size of the pool, for plans that are made without its images.
        sbatch (tuple[str, ...]): More arguments of sbatch.
        alpha (float): Of the NormDEL in tables.
        box (int): Validations at the end of a fine-tuning that make a box of Figure 4.
    """

    name: str
    path: Path
    work_dir: Path
    selection: Recipe
    selectors: dict[str, Selector]
    seeds: tuple[int, ...]
    pretraining: Recipe
    full_epochs: int
    downstream: dict[str, Downstream]
    references: dict[str, Reference]
    baselines: tuple[str, ...]
    threads: int | None
    resume: bool
    rates: dict[str, float]
    images: int | None
    sbatch: tuple[str, ...]
    alpha: float
    box: int


def read_study(path: str, options: list[str] | None = None, work_dir: str | None = None) -> Study:
    """Read and check the config of a study.

    Args:
        path (str): The file.
        options (list[str], optional): KEY=VALUE on top of it. Defaults to None.
        work_dir (str, optional): Instead of the one in the file. Defaults to None.

    Raises:
        ConfigError: A key is missing, unknown or of no use; the message names it.
    """
    cfg = read_config(path, options)
    raw = plain_config(cfg)
    raw = filled(raw, {f'{{{name}}}': str(raw[name]) for name in PLACES if raw.get(name) is not None})
    _known('study', raw, path)
    check_keys(raw.get('rates', {}), _RATES, 'rates', 'rates')
    for key in ('selectors', 'ratios', 'seeds', 'pretraining', 'downstream'):
        if key not in raw:
            raise ConfigError(f'{path} lacks the key {key!r}; see configs/study/demo.py.')
    folder = Path(path).parent
    downstream = {name: _downstream(name, each, folder) for name, each in raw['downstream'].items()}
    selectors = {name: _selector(name, each, raw['ratios'], downstream) for name, each in raw['selectors'].items()}
    if selectors and 'selection' not in raw:
        raise ConfigError(f"{path} lacks the key 'selection': the dedup config whose images are chosen from.")
    references = {name: _reference(name, each, downstream) for name, each in raw.get('references', {}).items()}
    baselines = tuple(raw.get('baselines', ()))
    _among('baselines', baselines, selectors)
    repeated = set(selectors) & set(references)
    if repeated:
        raise ConfigError(f'A selector and a reference are both called {sorted(repeated)[0]!r}.')
    full_epochs = raw['pretraining'].get('full_epochs')
    if not isinstance(full_epochs, int) or full_epochs < 1:
        raise ConfigError(f'pretraining.full_epochs is the number of epochs over all images, got {full_epochs}.')
    return Study(
        name=Path(path).stem,
        path=Path(path),
        work_dir=Path(work_dir or raw.get('work_dir') or Path('work_dirs', 'study', Path(path).stem)),
        selection=_recipe('selection', raw.get('selection', dict(config='')), folder),
        selectors=selectors,
        seeds=_numbers('seeds', raw['seeds'], int),
        pretraining=_recipe('pretraining', raw['pretraining'], folder),
        full_epochs=full_epochs,
        downstream=downstream,
        references=references,
        baselines=baselines,
        threads=raw.get('threads'),
        resume=bool(raw.get('resume', False)),
        rates=dict(raw.get('rates', {})),
        images=raw.get('images'),
        sbatch=tuple(map(str, raw.get('sbatch', ()))),
        alpha=float(raw.get('alpha', 1.0)),
        box=int(raw.get('box', 5)),
    )


def with_seed(value: Any, seed: int) -> Any:
    """The same config with ``'{seed}'`` replaced by the number."""
    if isinstance(value, Mapping):
        return {key: with_seed(each, seed) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_seed(each, seed) for each in value)
    return seed if value == SEED else value


# --- private


def plain_config(cfg: Config) -> dict[str, Any]:
    """Built-in types only; names that begin with an underscore are the file's own."""
    raw: dict[str, Any] = cfg.to_dict()
    return {key: value for key, value in raw.items() if not key.startswith('_')}


def filled(value: Any, words: Mapping[str, str]) -> Any:
    """The same config with words replaced in every string."""
    if isinstance(value, Mapping):
        return {key: filled(each, words) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(filled(each, words) for each in value)
    if isinstance(value, str):
        for word, text in words.items():
            value = value.replace(word, text)
    return value


def _holds_seed(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_holds_seed, value.values()))
    if isinstance(value, list | tuple):
        return any(map(_holds_seed, value))
    return bool(value == SEED)


def _known(kind: str, value: Any, where: str) -> None:
    check_value(value, dict, where)
    path = '' if kind == 'study' else where
    check_keys(value, _KEYS[kind], path, where)
    for key, each in value.items():
        check_value(each, _KEYS[kind][key], f'{path}.{key}'.lstrip('.'))


def _recipe(where: str, value: Mapping[str, Any], folder: Path) -> Recipe:
    if where in _KEYS:
        _known(where, value, where)
    if 'config' not in value:
        raise ConfigError(f"{where} lacks 'config', the file of an ordinary config, relative to the study's.")
    return Recipe(folder / value['config'], dict(value.get('options', {})))


def _downstream(name: str, value: Mapping[str, Any], folder: Path) -> Downstream:
    where = f'downstream[{name!r}]'
    _known('downstream', value, where)
    ratios = value.get('ratios')
    return Downstream(
        recipe=_recipe(where, value, folder),
        metric=value.get('metric', 'mIoU'),
        ratios=None if ratios is None else _numbers(f'{where}.ratios', ratios, float),
    )


def _selector(name: str, value: Any, ratios: Any, downstream: Mapping[str, Downstream]) -> Selector:
    where = f'selectors[{name!r}]'
    _known('selectors', value, where)
    if not isinstance(value.get('selector'), Mapping) or 'type' not in value['selector']:
        raise ConfigError(f"{where} lacks selector=dict(type='mmdel...', ...).")
    ratios = _numbers(f'{where}.ratios', value.get('ratios', ratios), float)
    for ratio in ratios:
        size_at(ratio, 1_000_000_000)
        if ratio == 1:
            raise ConfigError(f"{where}: all images are no selection; they are a reference, dict(kind='full').")
    names = tuple(value.get('downstream', downstream))
    _among(f'{where}.downstream', names, downstream)
    checkpoints = {
        float(ratio): _numbers(f'{where}.checkpoints', shares, float)
        for ratio, shares in dict(value.get('checkpoints', ())).items()
    }
    for ratio, shares in checkpoints.items():
        if ratio not in ratios or not all(0 < share < 1 for share in shares):
            raise ConfigError(
                f'{where}.checkpoints pairs one of its ratios with shares of the pre-training between 0 and 1, '
                f'got {ratio:g}: {shares}.'
            )
    return Selector(dict(value['selector']), dict(value.get('options', {})), ratios, names, checkpoints)


def _reference(name: str, value: Any, downstream: Mapping[str, Downstream]) -> Reference:
    where = f'references[{name!r}]'
    _known('references', value, where)
    kind, checkpoint = value.get('kind'), value.get('checkpoint')
    if kind not in KINDS:
        raise ConfigError(f'{where}.kind must be one of {", ".join(KINDS)}, got {kind!r}.')
    if (kind == 'checkpoint') != (checkpoint is not None):
        raise ConfigError(f"{where}: a checkpoint goes with kind='checkpoint', and with that alone.")
    names = tuple(value.get('downstream', downstream))
    _among(f'{where}.downstream', names, downstream)
    return Reference(kind, checkpoint, names)


def _numbers(where: str, values: Any, kind: type) -> tuple:
    wrong = not isinstance(values, list | tuple) or not values
    if wrong or any(isinstance(value, bool) or not isinstance(value, int | kind) for value in values):
        raise ConfigError(f'{where} must be a list of numbers, got {values!r}.')
    if len(set(values)) < len(values):
        raise ConfigError(f'{where} names a number twice: {values!r}.')
    return tuple(map(kind, values))


def _among(where: str, names: tuple[str, ...], known: Mapping[str, Any]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f'{where} names {unknown[0]!r}, and there are: {", ".join(known) or "none"}.')
