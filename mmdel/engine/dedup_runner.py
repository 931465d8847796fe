"""The main job: embed, rank, cut, write.

    runner = DedupRunner.from_cfg(Config.fromfile('configs/meddel_eta08.py'), ratio=0.05)
    subset = runner.run()

Every stage can be killed and started again: vectors are kept shard by shard (:mod:`mmdel.embedding.store`), rankings whole
(:mod:`mmdel.engine.ranking_cache`), and every file in the work dir is written under another name first.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

import mmdel
from mmdel.compute.devices import find_device
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.embed import Embedded, embed_images
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.vectors import ChosenRows, RowSource, Vectors
from mmdel.engine import pixel_range, update
from mmdel.engine.dedup_config import KEYS, build_part, check_dedup_config
from mmdel.engine.finished_run import FinishedRun, Origin
from mmdel.engine.given_vectors import read_given_vectors
from mmdel.engine.ranking_cache import cached_ranking
from mmdel.engine.reporting import report
from mmdel.engine.request import Request, dataset_of
from mmdel.engine.summary import Summary, summarise
from mmdel.engine.update import OldRun
from mmdel.engine.work_dir import (
    SUBSET,
    Chosen,
    previous_subset,
    refuse_another,
    refuse_other_images,
    require_space,
    write_results,
    write_skipped,
)
from mmdel.errors import ConfigError, GuardError, LockedError, SubsetError
from mmdel.images.formats.raster import MANY
from mmdel.images.image_table import Files, ImageTable, dataset_digest, image_table, masked_images
from mmdel.images.keys import absolute_folder, common_folder
from mmdel.leaks.leak_check import ExcludeNear, check_leaks
from mmdel.selection.findings import CONFLICT_THRESHOLD, LeakReport
from mmdel.selection.guards import Guards
from mmdel.selection.selector import BaseSelector, Ranking, build_selector
from mmdel.subset import Subset, check_eta, size_at


@dataclass(frozen=True)
class Cut:
    """What is asked for: an eta, or a ratio instead."""

    eta: float | None
    ratio: float | None


class DedupRunner:
    """Turns a dataset into a subset on disk.

    Args:
        selector (dict): Config of the selector.
        work_dir (str): Where the results go.
        dataset (dict, optional): Config of any dataset whose items have ``img_path``. Defaults to None (with ``embeddings``).
        embedder (dict, optional): Config of the embedder. Defaults to None (with ``embeddings``).
        center (bool): Subtract the mean vector before comparing. Defaults to False (the paper).
        cache_dir (str): Where vectors and rankings are kept between runs. Defaults to 'work_dirs/.embeddings'.
        default_scope (str): Scope in which the dataset's config is resolved. Defaults to 'mmpretrain'.
        ratio (float, optional): Keep this fraction of the readable images instead of cutting at the selector's eta, in (0, 1].
            Defaults to None; a method without an eta needs it, unless it knows its own size.
        embeddings (str, optional): A .npy file with ready vectors instead of a dataset. Defaults to None.
        keys (str, optional): The keys of ``embeddings``, one a line. Defaults to None (row numbers).
        device (str, optional): Where the encoder runs. Defaults to None (CUDA where there is one).
        overwrite (bool): Replace the result of another question in ``work_dir``. Defaults to False.
        report (bool): Write ``report/``. Defaults to True.
        guards (dict, optional): What must stay and what must not, see :class:`~mmdel.selection.guards.Guards`. Defaults to None.
        exclude_near (dict, optional): Test images whose copies take no part, see
            :class:`~mmdel.leaks.leak_check.ExcludeNear`. Defaults to None.
        conflict_threshold (float): Cosine above which differently labelled images are listed as conflicts. Defaults to 0.95.
        update (str, optional): An old subset whose decisions stay: only images that it does not list are decided, see
            :mod:`mmdel.engine.update`. Defaults to None.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.
        cfg (Config, optional): The whole config, dumped beside the results. Defaults to None.
    """

    def __init__(
        self,
        selector: dict[str, Any],
        work_dir: str,
        dataset: dict[str, Any] | None = None,
        embedder: dict[str, Any] | None = None,
        center: bool = False,
        cache_dir: str = 'work_dirs/.embeddings',
        default_scope: str = 'mmpretrain',
        ratio: float | None = None,
        embeddings: str | None = None,
        keys: str | None = None,
        device: str | None = None,
        overwrite: bool = False,
        report: bool = True,
        guards: dict[str, Any] | None = None,
        exclude_near: dict[str, Any] | None = None,
        conflict_threshold: float = CONFLICT_THRESHOLD,
        update: str | None = None,
        progress: Stages = SILENT,
        cfg: Config | None = None,
    ) -> None:
        if keys is not None and embeddings is None:
            raise ConfigError('--keys names the rows of --embeddings; give both, or neither.')
        if embeddings is None and (dataset is None or embedder is None):
            raise ConfigError("The config needs the keys 'dataset' and 'embedder' (or give --embeddings FILE.npy).")
        if ratio is not None:
            size_at(ratio, 1_000_000_000)
            if update is not None:
                raise ConfigError(
                    'With --update old decisions stay and new images are held to the old eta, so a share to keep cannot be asked '
                    'for. Leave --ratio out, or choose from all images anew, without --update.'
                )
        number = isinstance(conflict_threshold, int | float) and not isinstance(conflict_threshold, bool)
        if not number or not -1 <= conflict_threshold <= 1:
            raise ConfigError(f'conflict_threshold is a cosine between -1 and 1, got {conflict_threshold!r}.')
        self.selector: BaseSelector = build_selector(selector)
        eta = selector.get('eta', getattr(self.selector, 'eta', None))
        if ratio is None and not self.selector.own_size:
            if eta is None:
                raise ConfigError(
                    f'{selector["type"]} has no eta; say how many images to keep with --ratio, e.g. --ratio 0.05.'
                )
            check_eta(eta)
        self.cut = Cut(None if ratio is not None else eta, ratio)
        self.work_dir = Path(work_dir)
        self.dataset = dataset
        self.embedder = embedder
        self.center = center
        self.cache_dir = Path(cache_dir)
        if embeddings is None:
            self._refuse_inside(_image_folder(dataset))  # before anything is written
        self.default_scope = default_scope
        self.embeddings = embeddings
        self.keys = keys
        self.device = device
        if device is not None:
            find_device(device)  # a mistake shows before images are listed
        self.overwrite = overwrite
        self.report = report
        self.guards = Guards.from_cfg(guards)
        self.exclude_near = ExcludeNear.from_cfg(exclude_near)
        if self.exclude_near is not None and embeddings is not None:
            raise ConfigError('exclude_near needs the images and their encoder, and cannot go with --embeddings.')
        self.leaks: LeakReport | None = None
        self.conflict_threshold = conflict_threshold
        self.update = update
        self.progress = progress
        self.cfg = cfg
        self.notes: list[str] = []
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.classes: tuple[str, ...] = ()
        self.masked: frozenset[str] = frozenset()
        self.origin = Origin()
        self._old: OldRun | None = None
        self._root: str | None = None
        self._listed: tuple[ImageTable, BaseEmbedder] | None = None
        self._given: Embedded | None = None
        self._fingerprint: dict[str, Any] | None = None

    @classmethod
    def from_cfg(cls, cfg: Config, **options: Any) -> 'DedupRunner':
        """Build from a dedup config.

        Its keys are those of :data:`mmdel.engine.dedup_config.KEYS`.

        Args:
            cfg (Config): The config.
            **options: Further arguments of the constructor.

        Raises:
            ConfigError: A key is missing or unknown, or a value is of a wrong type or out of range.
        """
        check_dedup_config(cfg, uses_images=options.get('embeddings') is None)
        values = {name: cfg[name] for name in KEYS if name != 'custom_imports' and cfg.get(name) is not None}
        return cls(**values, **options, cfg=cfg)

    def prepare(self) -> None:
        """List the images, and refuse what would end badly; nothing is written into the work dir, and no image is opened.

        Raises:
            ConfigError: The work dir holds the answer to another question, or lies among the images.
            MmdelError: Something else that the caller can mend; the message says how.
        """
        self._old = self._open_old()
        self._refuse_another()
        if self.embeddings is not None:
            self.origin = Origin(
                embeddings=os.path.abspath(self.embeddings), keys=os.path.abspath(self.keys) if self.keys else ''
            )
            self._given = read_given_vectors(self.embeddings, self.keys)
        else:
            self._listed = self._list()
        self._refuse_another()
        if self._given is not None:
            self._fingerprint = self._given.fingerprint
        elif (self.work_dir / SUBSET).exists():
            self._encoder.build_pipeline()  # what is wrong with it is told before the encoder is made
            self._fingerprint = self._encoder.to(self.device).fingerprint()
        self._refuse_another()

    def run(self) -> Subset:
        """Do it all and return the subset, which then lies in ``work_dir`` with its lists and report.

        Raises:
            MmdelError: Something that the caller can mend; the message says how.
        """
        if self._listed is None and self._given is None:
            self.prepare()
        self.work_dir.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.work_dir / '.lock')
        try:
            with lock.acquire(blocking=False):
                return self._run()
        except Timeout as error:
            raise LockedError(
                f'Another run is writing into {self.work_dir}. Wait for it, or give this one its own --work-dir.'
            ) from error

    def _run(self) -> Subset:
        logger = MMLogger.get_current_instance()
        self._refuse_another()
        previous = previous_subset(self.work_dir)
        old = self._old
        chosen = self._choose() if old is None else self._extend(old)
        subset = chosen.subset
        self._fingerprint = subset.metadata['embedder']
        self._note_pages(chosen.unreadable)
        with self.progress.stage('write'):
            config = None if self.cfg is None else self.cfg.pretty_text
            self.notes += write_results(self.work_dir, chosen, self.origin, self._request(), self.leaks, config)
            write_skipped(self.work_dir, self.skipped)
        if old is None and previous is not None and previous.metadata['dataset'] != subset.metadata['dataset']:
            before, now = previous.metadata['images'], subset.metadata['images']
            logger.info(f'The images have changed since the last run here: {before:,} before, {now:,} now.')
        self.summary: Summary = summarise(subset, chosen.vectors, self.selector, chosen.ranking, self.progress)
        if chosen.changes is not None:
            self.summary = replace(self.summary, rows=self.summary.rows + update.update_rows(subset, chosen.changes))
        if self.report:
            report(
                self.work_dir / 'report',
                subset,
                chosen.vectors,
                self.summary.nearest,
                self.conflict_threshold,
                paths=chosen.paths,
                unreadable=chosen.unreadable,
                leaks=self.leaks,
                changes=() if chosen.changes is None else chosen.changes.rows,
                config='' if self.cfg is None else self.cfg.pretty_text,
                progress=self.progress,
            )
        return subset

    def _note_pages(self, unreadable: tuple[tuple[str, str], ...]) -> None:
        count = sum(reason.endswith(MANY) for _, reason in unreadable)
        if count:
            files = 'file with several pages or frames was' if count == 1 else 'files with several pages or frames were'
            self.notes.append(f'{count:,} {files} left out, since one page does not stand for all; {MANY}')

    def _choose(self) -> Chosen:
        """Decide about all images."""
        embedded = self._embed()
        if not len(embedded.table):
            raise SubsetError('No readable image is left, so there is nothing to choose from; see unreadable.csv.')
        paths = _paths(embedded.table)
        embedded, excluded = self._exclude(embedded)
        if not len(embedded.table):
            raise GuardError('guards.exclude names every readable image, so there is nothing to choose from.')
        embedded, leaked = self._exclude_leaks(embedded)
        if not len(embedded.table):
            raise SubsetError(
                'Every image is a copy of a test image, so there is nothing to choose from. Is exclude_near.against the pool?'
            )
        excluded = pa.concat_tables([excluded, leaked])
        require_space(self.work_dir, self.cache_dir, embedded.table['image'])
        vectors = Vectors(embedded.source, embedded.table['image'], self.center, self.progress)
        size = size_at(self.cut.ratio, len(vectors)) if self.cut.ratio is not None else None
        ranking = self._rank(vectors, embedded.table, size)
        subset = self._subset(embedded, vectors, ranking, excluded)
        return Chosen(subset, ranking, vectors, paths, embedded.unreadable)

    def _refuse_another(self, listed: ImageTable | None = None) -> None:
        """Refuse to replace another result unasked, as far as can be told at this point."""
        if self.overwrite:
            return
        request = self._request()
        refuse_another(self.work_dir, request)
        images = listed or self._given or (self._listed and self._listed[0])
        if images and request.embedder is None:
            refuse_other_images(self.work_dir, request.dataset, images.table)

    # --- old decisions that stay

    def _open_old(self) -> OldRun | None:
        if self.update is None:
            return None
        old = OldRun.open(self.update, self.selector, self._embedder_type, self.center)
        if os.path.realpath(old.run.folder) == os.path.realpath(self.work_dir):
            raise ConfigError(
                f'{self.update} would be overwritten by its own update. Give this run another --work-dir.'
            )
        return old

    def _extend(self, old: OldRun) -> Chosen:
        """Decide about the images that the old subset does not list."""
        guards = self.guards.of_new_images(old.subset)
        new, source, changes = self._new_vectors(old) if self.embeddings else self._new_images(old)
        new, excluded = self._exclude(new, guards)
        new, leaked = self._exclude_leaks(new)
        excluded = pa.concat_tables([excluded, leaked])
        table, vectors = update.merge(old, source, new, self.progress)
        require_space(self.work_dir, self.cache_dir, table['image'])
        request = {'guards': guards.config(), 'exclude_near': self._asked()['exclude_near']}
        asked = {name: value for name, value in request.items() if value is not None}
        extended = update.extend(
            old,
            self.selector,
            table,
            vectors,
            guards.must(table.filter(table['new']), self.masked),
            excluded,
            new.unreadable,
            self.classes,
            asked,
            self.progress,
        )
        run = FinishedRun(self.work_dir, extended.subset, self.origin)
        unreadable = tuple(sorted([*old.run.unreadable, *new.unreadable]))
        return Chosen(extended.subset, extended.ranking, vectors, run.paths, unreadable, changes)

    def _new_images(self, old: OldRun) -> tuple[Embedded, RowSource, update.Changes]:
        images, embedder = self._images()
        old.refuse_other_encoder(embedder.to(self.device).fingerprint())
        self.origin = replace(self.origin, spelled={**(old.run.origin.spelled or {}), **(self.origin.spelled or {})})
        changes = old.compare(images.table['image'].to_pylist(), [key for key, _ in images.ledger])
        here = FinishedRun(old.run.folder, old.subset, self.origin)
        missing, changed = here.since()
        unusable = {key for key, _ in images.ledger}
        changes = replace(changes, changed=tuple(sorted({*changed, *old.lost(unusable)})))
        if missing:  # the cache is another one, or was emptied: what is there still is made again, and must be the same
            self._embed_some(_only(images, set(missing)), embedder)
        source = old.vectors_here(here, self.progress)
        return self._embed_some(_only(images, set(changes.new)), embedder), source, changes

    def _new_vectors(self, old: OldRun) -> tuple[Embedded, RowSource, update.Changes]:
        given = self._embed()
        old.refuse_other_encoder(given.fingerprint)
        changes = old.compare(given.table['image'].to_pylist(), [])
        source = old.vectors_here(FinishedRun(old.run.folder, old.subset, self.origin), self.progress)
        rows = np.flatnonzero(np.isin(given.table['image'].to_numpy(), changes.new))
        new = replace(given, table=given.table.take(pa.array(rows)), source=ChosenRows(given.source, rows))
        return new, source, changes

    def _embed_some(self, images: ImageTable, embedder: BaseEmbedder) -> Embedded:
        return embed_images(
            images, embedder, str(self.cache_dir), device=self.device, progress=self.progress, some=False
        )

    # --- stages

    def _embed(self) -> Embedded:
        if self._given is not None:
            return self._given
        images, embedder = self._images()
        return embed_images(images, embedder, str(self.cache_dir), device=self.device, progress=self.progress)

    def _images(self) -> tuple[ImageTable, BaseEmbedder]:
        return self._listed or self._list()

    def _list(self) -> tuple[ImageTable, BaseEmbedder]:
        init_default_scope(self.default_scope)
        root = (self.dataset or {}).get('data_root')
        if isinstance(root, str):
            self._refuse_inside(root)
        with self.progress.stage('list'):
            dataset = build_part('dataset', self.dataset)
            images = image_table(dataset)
            if self.guards.asks == 'masked':
                self.masked = masked_images(images)
        self.notes += images.notes
        self.skipped = images.skipped
        self.classes = images.classes
        self.origin = Origin.of_images(images.root, images.table, self.cache_dir)
        self._refuse_inside(images.root)
        MMLogger.get_current_instance().info(
            f'{len(images.table):,} images below {images.root or "several folders"}; vectors are kept in {self.cache_dir}'
        )
        self._root = images.root
        self._refuse_another(images)  # before 16-bit images are looked through
        self._encoder = build_part('embedder', self.embedder)
        before = None if self._old is None else self._old.subset.metadata.get('embedder')
        note = pixel_range.set_range(
            self._encoder, images.table['path'], images.root, self.cache_dir, before, self.progress
        )
        if note:
            self.notes.append(note)
            if self.cfg is not None:  # the config beside the results makes the same vectors
                self.cfg.embedder.pipeline = self._encoder.pipeline
        return images, self._encoder

    def _refuse_inside(self, root: str | None) -> None:
        """Own files in an image folder would be taken for images the next time, unless a list names the images."""
        if (self.dataset or {}).get('ann_file'):
            return
        inside = {
            name: folder
            for name, folder in (('work_dir', self.work_dir), ('cache_dir', self.cache_dir))
            if root and _inside(folder, root)
        }
        if inside:
            there = ' and '.join(f'{name} {folder}' for name, folder in inside.items())
            beside = os.path.dirname(os.path.realpath(root or ''))
            other = ' '.join(f'{name}={os.path.join(beside, folder.name)}' for name, folder in inside.items())
            raise ConfigError(
                f'{there} would lie inside the image folder {root}, where the next run would look for images. '
                f'Choose another place, e.g. --cfg-options {other}'
            )

    def _rank(self, vectors: Vectors, table: pa.Table, size: int | None) -> Ranking:
        ranking, known = cached_ranking(self.cache_dir, self.selector, vectors, table, size, self.progress)
        if known:
            MMLogger.get_current_instance().info('The ranking of these vectors is known; only the cut is new.')
        self.notes += ranking.notes
        return ranking

    def _exclude(self, embedded: Embedded, guards: Guards | None = None) -> tuple[Embedded, pa.Table]:
        """Set images aside before anything is compared, so that they remove no other."""
        out = (guards or self.guards).excluded(embedded.table['image'])
        return _set_aside(embedded, out, 'excluded')

    def _exclude_leaks(self, embedded: Embedded) -> tuple[Embedded, pa.Table]:
        """Set copies of test images aside, likewise; a ratio then counts among the other images."""
        out = np.zeros(len(embedded.table), bool)
        if self.exclude_near is not None and len(out):
            self.leaks = check_leaks(
                embedded, self.exclude_near, self._encoder, str(self.cache_dir), self.device, self.progress
            )
            copies = pa.array(self.leaks.images, pa.string())
            out = pc.is_in(embedded.table['image'], copies).to_numpy()
            self.notes += list(self.leaks.notes)
        return _set_aside(embedded, out, 'leak')

    def _subset(self, embedded: Embedded, vectors: Vectors, ranking: Ranking, excluded: pa.Table) -> Subset:
        images = embedded.table['image']
        seen = {name: embedded.table[name] for name in embedded.table.column_names}
        subset = Subset.from_ranking(
            pa.table({**seen, **ranking.columns(images.combine_chunks())}),
            self._metadata(embedded, vectors),
            embedded.unreadable,
            ranking.kept,
            ranking.eta,
            excluded,
        )
        if self.selector.recut != 'none' and (self.cut.eta is not None or self.cut.ratio is not None):
            subset = subset.at(eta=self.cut.eta, ratio=self.cut.ratio)
        return self.guards.apply(subset, exact=self.cut.ratio is not None, masked=self.masked)

    def _metadata(self, embedded: Embedded, vectors: Vectors) -> dict[str, Any]:
        return {
            'mmdel': mmdel.__version__,
            **self._asked(),
            'embedder': embedded.fingerprint,
            'vectors': vectors.digest,
            'mean': None if vectors.mean is None else vectors.mean.tolist(),
            'dataset': dataset_digest(embedded.table),
            'contents': embedded.contents or None,
            'classes': list(self.classes),
            'checked': None if self.leaks is None else [asdict(each) for each in self.leaks.sets],
            'recut': self.selector.recut,
            'recut_hint': self.selector.recut_hint,
        }

    @property
    def _embedder_type(self) -> str:
        return 'given vectors' if self.embedder is None or self.embeddings else self.embedder['type']

    def _request(self) -> Request:
        """The question, as far as it is known at this point."""
        dataset: dict[str, Any] | None = None
        if self.embeddings is not None:
            paths = {'embeddings': self.embeddings, 'keys': self.keys}
            dataset = {name: os.path.realpath(path) if path else '' for name, path in paths.items()}
        elif self._root is not None and self.dataset is not None:
            dataset = dataset_of(self.dataset, self._root)
        against = () if self.exclude_near is None else tuple(map(os.path.abspath, self.exclude_near.against))
        update = None if self._old is None else self._old.digest
        return Request(**self._asked(), against=against, update=update, dataset=dataset, embedder=self._fingerprint)

    def _asked(self) -> dict[str, Any]:
        asked = {'eta': self.cut.eta, 'ratio': self.cut.ratio}
        return {
            'selector': self.selector.config(),
            'embedder_type': self._embedder_type,
            'center': self.center,
            'asked': asked,
            'guards': self.guards.config(),
            'exclude_near': None if self.exclude_near is None else self.exclude_near.config(),
        }


def _set_aside(embedded: Embedded, out: NDArray[np.bool_], reason: str) -> tuple[Embedded, pa.Table]:
    """The images that take part, and the rows of the others."""
    aside = embedded.table.filter(pa.array(out))
    if out.any():
        stays = np.flatnonzero(~out)
        source = ChosenRows(embedded.source, stays)
        embedded = replace(embedded, table=embedded.table.take(pa.array(stays)), source=source)
    return embedded, aside.append_column('reason', pa.repeat(pa.scalar(reason, pa.string()), len(aside)))


def _only(images: ImageTable, keys: set[str]) -> ImageTable:
    """The images and unusable files with these keys."""
    chosen = images.table.filter(pc.is_in(images.table['image'], pa.array(sorted(keys), pa.string())))
    return replace(images, table=chosen, ledger=tuple(row for row in images.ledger if row[0] in keys))


def _paths(table: pa.Table) -> Mapping[str, str]:
    """Key to file; {} for vectors without images."""
    return Files(table) if 'path' in table.column_names else {}


def _image_folder(dataset: Any) -> str | None:
    """The folder below which a dataset config surely has all its images, None where only the built dataset can tell."""
    folders: list[str | None] = []
    configs = [dataset]
    while configs:
        each = configs.pop()
        inner = [*([each['dataset']] if each.get('dataset') else ()), *(each.get('datasets') or ())]
        configs += inner
        if not inner:
            prefix = each.get('data_prefix') or ''
            prefix = prefix if isinstance(prefix, str) else prefix.get('img_path') or prefix.get('img') or ''
            sure = prefix or not each.get('ann_file') or str(each.get('type')).endswith('DataDEL')
            folders.append(absolute_folder(os.path.join(each.get('data_root') or '', prefix)) if sure else None)
    return common_folder(folders)


def _inside(folder: Path, root: str) -> bool:
    return os.path.commonpath([os.path.realpath(folder), os.path.realpath(root)]) == os.path.realpath(root)
