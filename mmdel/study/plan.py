"""Plans a study: four kinds of ordinary runs, and the cells of the table that they fill.

    select    tools/dedup.py    a subset                  once a selector, ratio and (where it wants one) seed
    pretrain  tools/train.py    an encoder                once a subset and seed, at equal compute
    finetune  tools/train.py    a model of a downstream set
    evaluate  tools/test.py     its figures

A cell is one evaluation. Runs are shared: a deterministic selector's subset by all seeds, an encoder by all downstream sets.
A run's folder carries the digest of what it depends on in its name, so a folder never holds the result of another recipe.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdel.config.config_file import merge_values, read_config
from mmdel.engine.dedup_config import check_dedup_config
from mmdel.errors import ConfigError
from mmdel.study.inputs import Inputs
from mmdel.study.study_config import Downstream, Recipe, Reference, Selector, Study, with_seed
from mmdel.training.equal_compute import set_epochs

SELECT, PRETRAIN, FINETUNE, EVALUATE = KINDS = ('select', 'pretrain', 'finetune', 'evaluate')

SUBSET = 'subset.parquet'
PER_IMAGE = 'per_image.csv'
METRICS = 'metrics.json'


@dataclass(frozen=True)
class Run:
    """One ordinary run.

    Args:
        name (str): '<kind>/<words>-<digest>', its folder below the work dir of the study.
        kind (str): One of :data:`KINDS`.
        digest (str): Of everything that it depends on.
        config (Config): What its tool is given.
        needs (dict[str, str]): What it takes from others: role ('subset', 'encoder', 'model') -> name of the run.
        ratio (float, optional): The share of images of 'select'; the share that NormDEL weighs of the two last kinds where that
            is a number and no subset.
        share (float): Of 'finetune': how much of its encoder's pre-training is over.
        full_epochs (int, optional): Of 'pretrain' on a subset: what equal compute means.
        images (float): Images that go through the model in training, where the plan can tell; else 0.
    """

    name: str
    kind: str
    digest: str
    config: Config
    needs: dict[str, str] = field(default_factory=dict)
    ratio: float | None = None
    share: float = 1.0
    full_epochs: int | None = None
    images: float = 0.0


@dataclass(frozen=True)
class Cell:
    """One row of the results table.

    Args:
        digest (str): Of the evaluation, and so of everything before it.
        group (str): Name of the selector or reference.
        kind (str): 'selector', or the kind of the reference.
        selector (dict, optional): Its config, seed filled in.
        ratio (float, optional): The share that was asked for; 1 for all images, None without pre-training.
        seed (int): Of the runs.
        share (float): How much of the pre-training is over.
        downstream (str): Name of the downstream set.
        encoder (str): 'frozen' or 'fine-tuned', as the config says.
        metric (str): Full name of the metric.
        runs (tuple[str, ...]): Names of its runs, in the order in which they run; the last is the evaluation.
        configs (dict[str, str]): Kind of run -> name of the config's file.
    """

    digest: str
    group: str
    kind: str
    selector: dict[str, Any] | None
    ratio: float | None
    seed: int
    share: float
    downstream: str
    encoder: str
    metric: str
    runs: tuple[str, ...]
    configs: dict[str, str]

    def __str__(self) -> str:
        ratio = '' if self.ratio is None or self.kind != 'selector' else f' at {self.ratio:.4g}'
        share = '' if self.share == 1 else f', {self.share:.0%} of the pre-training'
        return f'{self.group}{ratio}, seed {self.seed}, {self.downstream}{share}'


@dataclass(frozen=True)
class Plan:
    """All runs of a study by name, each after those that it needs, and all cells.

    Cells come seed by seed, so that a study that is stopped early has whole tables of its first seeds.
    """

    study: Study
    runs: dict[str, Run]
    cells: tuple[Cell, ...]


def make_plan(study: Study) -> Plan:
    """Plan a study; nothing is run or written, and only configs are read.

    Raises:
        ConfigError: A config is missing, or lacks what a study changes in it.
    """
    return _Planner(study).plan()


class _Planner:
    def __init__(self, study: Study) -> None:
        self.study = study
        self.runs: dict[str, Run] = {}
        self._inputs = Inputs()
        self._read: dict[tuple[Path, str], Config] = {}

    def plan(self) -> Plan:
        study = self.study
        cells: list[Cell] = []
        for seed in study.seeds:
            for name, selector in study.selectors.items():
                for ratio in selector.ratios:
                    cells += self._selected(name, selector, ratio, seed)
            for name, reference in study.references.items():
                cells += self._referred(name, reference, seed)
        if not cells:
            raise ConfigError(f'{study.path} compares nothing: it has neither selectors nor references.')
        return Plan(study, self.runs, tuple(cells))

    # --- the cells of one encoder

    def _selected(self, name: str, selector: Selector, ratio: float, seed: int) -> Iterator[Cell]:
        config = with_seed(selector.config, seed)
        subset = self._select(name, selector, config, ratio, seed)
        encoder = self._pretrain(name, ratio, seed, subset)
        for share in (*selector.checkpoints.get(ratio, ()), 1.0):
            for downstream in selector.downstream:
                if _wants(self.study.downstream[downstream], ratio):
                    cell = dict(group=name, kind='selector', selector=config, ratio=ratio, seed=seed, share=share)
                    yield self._cell(cell, downstream, encoder, subset, None)

    def _referred(self, name: str, reference: Reference, seed: int) -> Iterator[Cell]:
        full = reference.kind == 'full'
        encoder = self._pretrain(name, 1.0, seed, None) if full else None
        for downstream in reference.downstream:
            if not full or _wants(self.study.downstream[downstream], 1.0):
                ratio = 1.0 if full else None
                cell = dict(group=name, kind=reference.kind, selector=None, ratio=ratio, seed=seed, share=1.0)
                yield self._cell(cell, downstream, encoder, None, reference.checkpoint)

    # --- runs

    def _select(self, name: str, selector: Selector, config: dict, ratio: float, seed: int) -> Run:
        cfg = self._config(self.study.selection)
        merge_values(cfg, selector.options, f'selectors[{name!r}].options')
        cfg.selector = config
        check_dedup_config({**cfg, 'work_dir': str(self.study.work_dir)}, uses_images=False)
        words = [name, f'{ratio:g}', *([f'seed{seed}'] if selector.seeded else [])]
        return self._add(SELECT, words, cfg, extra={'ratio': ratio}, ratio=ratio)

    def _pretrain(self, name: str, ratio: float, seed: int, subset: Run | None) -> Run:
        study = self.study
        cfg = self._config(study.pretraining)
        _need(study.pretraining, cfg, 'train_dataloader.dataset', 'train_cfg.max_epochs')
        cfg.merge_from_dict({'randomness.seed': seed})
        words, full_epochs = [name, f'{ratio:g}', f'seed{seed}'], study.full_epochs
        images = float(full_epochs * (study.images or 0))
        if subset is None:
            set_epochs(cfg, full_epochs)
            return self._add(PRETRAIN, words, cfg, images=images)
        images_only = copy.deepcopy(cfg.train_dataloader.dataset)
        extra, needs = {'full_epochs': full_epochs}, {'subset': subset}
        run = self._add(PRETRAIN, words, cfg, needs, extra, full_epochs=full_epochs, images=images)
        # after the digest, in which a subset counts by how it is made and not by where it lies
        run.config.train_dataloader.dataset = dict(
            type='mmdel.MedDELDataset', subset=str(study.work_dir / subset.name / SUBSET), dataset=images_only
        )
        return run

    def _cell(
        self, cell: dict[str, Any], name: str, encoder: Run | None, subset: Run | None, checkpoint: str | None
    ) -> Cell:
        study, downstream = self.study, self.study.downstream[name]
        cfg = self._config(downstream.recipe)
        _need(downstream.recipe, cfg, 'model.backbone', 'train_dataloader', 'test_dataloader', 'test_evaluator')
        cfg.merge_from_dict({'randomness.seed': cell['seed']})
        prefix = (cfg.model.backbone.get('init_cfg') or {}).get('prefix', 'backbone.')
        pretrained = dict(
            type='Pretrained', checkpoint=checkpoint or '', prefix=prefix
        )  # '' until --pretrained names it
        cfg.model.backbone.init_cfg = None if encoder is None and checkpoint is None else pretrained
        for evaluator in ('val_evaluator', 'test_evaluator'):
            cfg[evaluator] = _weighed(cfg.get(evaluator), encoder is not None)
        words = [name, cell['group'], *([] if cell['ratio'] is None else [f'{cell["ratio"]:g}']), f'seed{cell["seed"]}']
        words += [] if cell['share'] == 1 else [f'at{cell["share"]:g}']
        needs = {} if encoder is None else {'encoder': encoder}
        if subset is not None:
            needs['subset'] = subset
        options: dict[str, Any] = dict(ratio=1.0 if subset is None and encoder is not None else None)
        iterations, batch = (cfg.get('train_cfg') or {}).get('max_iters', 0), cfg.train_dataloader.get('batch_size', 0)
        images = float(iterations * batch)
        model = self._add(
            FINETUNE, words, cfg, needs, {'share': cell['share']}, share=cell['share'], images=images, **options
        )
        tested = copy.deepcopy(cfg)
        needs = {'model': model, **({} if subset is None else {'subset': subset})}
        run = self._add(EVALUATE, words, tested, needs, **options)
        _write_per_image(run.config.test_evaluator, str(study.work_dir / run.name / PER_IMAGE))
        runs = [each for each in (subset, encoder, model, run) if each is not None]
        recipes = [study.selection, study.pretraining, downstream.recipe, downstream.recipe]
        used = {each.kind: recipes[KINDS.index(each.kind)].path.name for each in runs}
        return Cell(
            digest=run.digest,
            downstream=name,
            encoder=_encoder_mode(cfg),
            metric=downstream.metric,
            runs=tuple(each.name for each in runs),
            configs=used,
            **cell,
        )

    def _add(
        self,
        kind: str,
        words: list[str],
        cfg: Config,
        needs: Mapping[str, Run] | None = None,
        extra: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Run:
        needs = needs or {}
        extra = {**(extra or {}), 'threads': self.study.threads}
        digest = self._inputs.digest(kind, cfg, [needs[role].digest for role in sorted(needs)], extra)
        name = f'{kind}/{"_".join(map(_slug, words))}-{digest[:8]}'
        if name not in self.runs:
            roles = {role: run.name for role, run in needs.items()}
            self.runs[name] = Run(name, kind, digest, cfg, roles, **options)
        return self.runs[name]

    def _config(self, recipe: Recipe) -> Config:
        key = recipe.path, repr(recipe.options)
        if key not in self._read:
            cfg = read_config(str(recipe.path))
            merge_values(cfg, recipe.options, f'the options of {recipe.path}')
            self._read[key] = cfg
        return copy.deepcopy(self._read[key])


# --- private


def _wants(downstream: Downstream, ratio: float) -> bool:
    return downstream.ratios is None or ratio in downstream.ratios


def _slug(word: str) -> str:
    return re.sub(r'[^a-z0-9.]+', '-', word.lower()).strip('-')


def _need(recipe: Recipe, cfg: Config, *keys: str) -> None:
    for key in keys:
        value: Any = cfg
        for part in key.split('.'):
            value = (value or {}).get(part)
        if not value:
            raise ConfigError(f'{recipe.path} has no {key}, which a study needs there.')


def _encoder_mode(cfg: Config) -> str:
    return 'frozen' if (cfg.model.backbone.get('frozen_stages') or -1) > 0 else 'fine-tuned'


def _weighed(evaluator: Any, has_share: bool) -> Any:
    """An evaluator with NormDEL where the encoder saw a share of the data, and without it where it saw none."""
    if not isinstance(evaluator, Mapping) or evaluator.get('type') != 'mmdel.NormDELEvaluator':
        return evaluator
    if has_share:
        return dict(evaluator, retention=1.0)  # --retention says which
    return evaluator['metrics']


def _write_per_image(evaluator: Any, path: str) -> None:
    if isinstance(evaluator, list | tuple):
        for each in evaluator:
            _write_per_image(each, path)
    elif isinstance(evaluator, Mapping):
        if evaluator.get('type') in ('mmdel.ClassIoUMetric', 'ClassIoUMetric'):
            evaluator['per_image'] = path  # type: ignore[index]
        _write_per_image(evaluator.get('metrics'), path)
