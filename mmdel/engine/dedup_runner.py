"""The main job: embed, rank, cut, write.

    runner = DedupRunner.from_cfg(Config.fromfile('configs/meddel_eta08.py'), ratio=0.05)
    subset = runner.run()
    runner.decide().subset         # the same without a work dir

Every stage can be killed and started again: vectors are kept shard by shard (:mod:`mmdel.embedding.store`), rankings whole
(:mod:`mmdel.engine.ranking_cache`), and every file in the work dir is written under another name first.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from numpy.typing import NDArray

import mmdel
from mmdel.compute.devices import find_device
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.embed import Embedded, embed_images
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.given_vectors import read_given_vectors
from mmdel.embedding.vectors import ChosenRows, RowSource, Vectors
from mmdel.engine import update
from mmdel.engine.dedup_config import build_part
from mmdel.engine.finished_run import FinishedRun
from mmdel.engine.ranking_cache import cached_ranking
from mmdel.engine.request import Request
from mmdel.engine.summary import Summary, report, summarise
from mmdel.engine.update import OldRun
from mmdel.engine.work_dir import (
    SUBSET,
    Changes,
    Chosen,
    Origin,
    locked,
    previous_subset,
    refuse_another,
    refuse_inside,
    refuse_other_images,
    require_space,
    write_results,
    write_skipped,
)
from mmdel.errors import ConfigError, GuardError, SubsetError
from mmdel.images import depth
from mmdel.images.formats.raster import MANY
from mmdel.images.image_table import Files, ImageTable, dataset_digest, image_table, masked_images
from mmdel.images.keys import absolute_folder, common_folder
from mmdel.leaks.leak_check import check_leaks
from mmdel.selection.findings import LeakReport
from mmdel.selection.guards import Guards
from mmdel.selection.selector import Ranking
from mmdel.subset import Subset, size_at


class DedupRunner:
    """Turns a dataset into a subset on disk.

    Args:
        request (Request): What is asked.
        device (str, optional): Where the encoder runs. Defaults to None (CUDA where there is one).
        overwrite (bool): Replace the result of another question in the work dir. Defaults to False.
        report (bool): Write ``report/``. Defaults to True.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.
        embedder (BaseEmbedder, optional): The encoder. Defaults to None: it is built from the config.
        given (Embedded, optional): Vectors that are in memory; ``request.embeddings`` then says where they will be kept.
            Defaults to None.

    Raises:
        ConfigError: The work dir or the cache lies among the images, or there is no such device.
    """

    def __init__(
        self,
        request: Request,
        device: str | None = None,
        overwrite: bool = False,
        report: bool = True,
        progress: Stages = SILENT,
        embedder: BaseEmbedder | None = None,
        given: Embedded | None = None,
    ) -> None:
        self.request = request
        self.work_dir, self.cache_dir = Path(request['work_dir']), Path(request['cache_dir'])
        self.device = device
        self.overwrite = overwrite
        self.report = report
        self.progress = progress
        self.leaks: LeakReport | None = None
        self.notes: list[str] = []
        self.skipped: tuple[tuple[str, str], ...] = ()
        self.classes: tuple[str, ...] = ()
        self.masked: frozenset[str] = frozenset()
        self.origin = Origin()
        self._old: OldRun | None = None
        self._listed: tuple[ImageTable, BaseEmbedder] | None = None
        self.given = given
        self._prepared = False
        # the loader of its pipeline may be told the range of 16-bit images
        self._own_embedder = None if embedder is None else embedder.with_pipeline(embedder.pipeline)
        # before anything is written, or images are listed
        if request.embeddings is None:
            self._refuse_inside(_image_folder(request['dataset']))
        if device is not None:
            find_device(device)

    @classmethod
    def from_cfg(cls, cfg: Config, **options: Any) -> 'DedupRunner':
        """Build from a dedup config.

        Args:
            cfg (Config): The config.
            **options: Further arguments of :meth:`mmdel.engine.request.Request.from_cfg` (``ratio``, ``embeddings``, ``keys``,
                ``update``, ``selector``, ``embedder``) and of the constructor.

        Raises:
            ConfigError: A key is missing or unknown, or a value is of a wrong type or out of range.
        """
        names = ('device', 'overwrite', 'report', 'progress', 'given')
        own = {name: options.pop(name) for name in names if name in options}
        return cls(Request.from_cfg(cfg, **options), embedder=options.get('embedder'), **own)

    def prepare(self) -> None:
        """List the images, and refuse what would end badly; nothing is written into the work dir, and no image is opened.

        Raises:
            ConfigError: The work dir holds the answer to another question, or lies among the images.
            MmdelError: Something else that the caller can mend; the message says how.
        """
        self._old = self._open_old()
        if self._old is not None:
            self._ask(updated=self._old.digest)
        self._refuse_another()
        embeddings, keys = self.request.embeddings, self.request.keys
        if embeddings is not None:
            self.origin = Origin(embeddings=os.path.abspath(embeddings), keys=os.path.abspath(keys) if keys else '')
            self.given = self.given or read_given_vectors(embeddings, keys)
        else:
            self._listed = self._list()
        self._refuse_another()
        if self.given is not None:
            self._ask(fingerprint=self.given.fingerprint)
        elif (self.work_dir / SUBSET).exists():
            self._encoder.build_pipeline()  # what is wrong with it is told before the encoder is made
            self._ask(fingerprint=self._encoder.to(self.device).fingerprint())
        self._refuse_another()
        self._prepared = True

    def decide(self) -> Chosen:
        """Decide, and write nothing but what is kept in ``cache_dir``.

        Raises:
            MmdelError: Something that the caller can mend; the message says how.
        """
        if not self._prepared:
            self.prepare()
        old = self._old
        chosen = self._choose() if old is None else self._extend(old)
        self._ask(fingerprint=chosen.subset.metadata['embedder'])
        self._note_pages(chosen.unreadable)
        return chosen

    def run(self) -> Subset:
        """Do it all and return the subset, which then lies in ``work_dir`` with its lists and report.

        Raises:
            MmdelError: Something that the caller can mend; the message says how.
        """
        if not self._prepared:
            self.prepare()
        with locked(self.work_dir):
            return self._run()

    def _run(self) -> Subset:
        logger = MMLogger.get_current_instance()
        self._refuse_another()
        previous = previous_subset(self.work_dir)
        chosen = self.decide()
        subset = chosen.subset
        with self.progress.stage('write'):
            self.notes += write_results(self.work_dir, chosen, self.origin, self.request, self.leaks)
            write_skipped(self.work_dir, self.skipped)
        if self._old is None and previous is not None and previous.metadata['dataset'] != subset.metadata['dataset']:
            before, now = previous.metadata['images'], subset.metadata['images']
            logger.info(f'The images have changed since the last run here: {before:,} before, {now:,} now.')
        self.summary: Summary = summarise(subset, chosen.vectors, self.request.selector, chosen.ranking, self.progress)
        if chosen.changes is not None:
            self.summary = replace(self.summary, rows=self.summary.rows + update.update_rows(subset, chosen.changes))
        if self.report:
            report(
                self.work_dir / 'report',
                subset,
                chosen.vectors,
                self.summary.nearest,
                self.request['conflict_threshold'],
                paths=chosen.paths,
                unreadable=chosen.unreadable,
                leaks=self.leaks,
                changes=() if chosen.changes is None else chosen.changes.rows,
                config=self.request.config.pretty_text,
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
        vectors = Vectors(embedded.source, embedded.table['image'], self.request['center'], self.progress)
        size = size_at(self.request.ratio, len(vectors)) if self.request.ratio is not None else None
        ranking = self._rank(vectors, embedded.table, size)
        subset = self._subset(embedded, vectors, ranking, excluded)
        return Chosen(subset, ranking, vectors, paths, embedded.unreadable)

    def _refuse_another(self, listed: ImageTable | None = None) -> None:
        """Refuse to replace another result unasked, as far as can be told at this point."""
        if self.overwrite:
            return
        refuse_another(self.work_dir, self.request)
        images = listed or self.given or (self._listed and self._listed[0])
        if images and self.request.fingerprint is None:
            refuse_other_images(self.work_dir, self.request.dataset, images.table)

    def _ask(self, **known: Any) -> None:
        """Put into the request what is known by now."""
        self.request = replace(self.request, **known)

    # --- old decisions that stay

    def _open_old(self) -> OldRun | None:
        if self.request.update is None:
            return None
        old = OldRun.open(self.request)
        if os.path.realpath(old.run.folder) == os.path.realpath(self.work_dir):
            raise ConfigError(
                f'{self.request.update} would be overwritten by its own update. Give this run another --work-dir.'
            )
        return old

    def _extend(self, old: OldRun) -> Chosen:
        """Decide about the images that the old subset does not list."""
        guards = self.request.guards.of_new_images(old.subset)
        new, source, changes = self._new_vectors(old) if self.request.embeddings else self._new_images(old)
        new, excluded = self._exclude(new, guards)
        new, leaked = self._exclude_leaks(new)
        excluded = pa.concat_tables([excluded, leaked])
        table, vectors = update.merge(old, source, new, self.progress)
        require_space(self.work_dir, self.cache_dir, table['image'])
        extended = update.extend(
            old,
            replace(self.request, guards=guards),
            table,
            vectors,
            guards.must(table.filter(table['new']), self.masked),
            excluded,
            new.unreadable,
            self.classes,
            self.progress,
        )
        run = FinishedRun(self.work_dir, extended.subset, self.origin)
        unreadable = tuple(sorted([*old.run.unreadable, *new.unreadable]))
        return Chosen(extended.subset, extended.ranking, vectors, run.paths, unreadable, changes)

    def _new_images(self, old: OldRun) -> tuple[Embedded, RowSource, Changes]:
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

    def _new_vectors(self, old: OldRun) -> tuple[Embedded, RowSource, Changes]:
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
        if self.given is not None:
            return self.given
        images, embedder = self._images()
        return embed_images(images, embedder, str(self.cache_dir), device=self.device, progress=self.progress)

    def _images(self) -> tuple[ImageTable, BaseEmbedder]:
        return self._listed or self._list()

    def _list(self) -> tuple[ImageTable, BaseEmbedder]:
        init_default_scope(self.request['default_scope'])
        root = (self.request['dataset'] or {}).get('data_root')
        if isinstance(root, str):
            self._refuse_inside(root)
        with self.progress.stage('list'):
            dataset = build_part('dataset', self.request['dataset'])
            images = image_table(dataset)
            if self.request.guards.asks == 'masked':
                self.masked = masked_images(images)
        self.notes += images.notes
        self.skipped = images.skipped
        self.classes = images.classes
        self.origin = Origin.of_images(images.root, images.table, self.cache_dir)
        self._refuse_inside(images.root)
        MMLogger.get_current_instance().info(
            f'{len(images.table):,} images below {images.root or "several folders"}; vectors are kept in {self.cache_dir}'
        )
        self._ask(root=images.root)
        self._refuse_another(images)  # before 16-bit images are looked through
        self._encoder = self._own_embedder or build_part('embedder', self.request['embedder'])
        before = None if self._old is None else self._old.subset.metadata.get('embedder')
        note = depth.set_range(self._encoder, images.table['path'], images.root, self.cache_dir, before, self.progress)
        if note:
            self.notes.append(note)
            # the config beside the results makes the same vectors
            self.request.config.embedder.pipeline = self._encoder.pipeline
        return images, self._encoder

    def _refuse_inside(self, root: str | None) -> None:
        refuse_inside(root, self.request['dataset'], work_dir=self.work_dir, cache_dir=self.cache_dir)

    def _rank(self, vectors: Vectors, table: pa.Table, size: int | None) -> Ranking:
        ranking, known = cached_ranking(self.cache_dir, self.request.selector, vectors, table, size, self.progress)
        if known:
            MMLogger.get_current_instance().info('The ranking of these vectors is known; only the cut is new.')
        self.notes += ranking.notes
        return ranking

    def _exclude(self, embedded: Embedded, guards: Guards | None = None) -> tuple[Embedded, pa.Table]:
        """Set images aside before anything is compared, so that they remove no other."""
        out = (guards or self.request.guards).excluded(embedded.table['image'])
        return _set_aside(embedded, out, 'excluded')

    def _exclude_leaks(self, embedded: Embedded) -> tuple[Embedded, pa.Table]:
        """Set copies of test images aside, likewise; a ratio then counts among the other images."""
        out = np.zeros(len(embedded.table), bool)
        if self.request.exclude_near is not None and len(out):
            self.leaks = check_leaks(
                embedded, self.request.exclude_near, self._encoder, str(self.cache_dir), self.device, self.progress
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
        if self.request.selector.recut != 'none' and (self.request.eta is not None or self.request.ratio is not None):
            subset = subset.at(eta=self.request.eta, ratio=self.request.ratio)
        return self.request.guards.apply(subset, exact=self.request.ratio is not None, masked=self.masked)

    def _metadata(self, embedded: Embedded, vectors: Vectors) -> dict[str, Any]:
        return {
            'mmdel': mmdel.__version__,
            **self.request.asked(),
            'embedder': embedded.fingerprint,
            'vectors': vectors.digest,
            'mean': None if vectors.mean is None else vectors.mean.tolist(),
            'dataset': dataset_digest(embedded.table),
            'contents': embedded.contents or None,
            'classes': list(self.classes),
            'checked': None if self.leaks is None else [asdict(each) for each in self.leaks.sets],
            'recut': self.request.selector.recut,
            'recut_hint': self.request.selector.recut_hint,
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
