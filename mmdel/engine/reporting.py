"""From a cut and its vectors to the report: what ``tools/dedup.py`` and ``make_report.py`` do alike."""

from pathlib import Path
from typing import Any

from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import ConfigError, ReportError
from mmdel.report.page import Findings, write_report
from mmdel.selection.conflicts import list_conflicts
from mmdel.selection.findings import CONFLICT_THRESHOLD, NearestKept
from mmdel.subset import Subset


def report(
    folder: Path,
    subset: Subset,
    vectors: Vectors,
    nearest: NearestKept,
    threshold: float = CONFLICT_THRESHOLD,
    progress: Stages = SILENT,
    **findings: Any,
) -> Path:
    """Look for conflicts and write the report.

    Args:
        folder (Path): Where it goes.
        subset (Subset): The cut.
        vectors (Vectors): Row i belongs to the i-th readable row of the subset.
        nearest (NearestKept): The most similar kept image of each removed one.
        threshold (float): Cosine above which differently labelled images are in conflict. Defaults to 0.95.
        progress (Stages): Shows the stages. Defaults to ``SILENT``.
        **findings: Further fields of :class:`~mmdel.report.page.Findings`.

    Returns:
        Path: The page.

    Raises:
        ConfigError: ``threshold`` is no cosine.
        ReportError: The report cannot be written; the result that it is drawn of stays as it is.
    """
    if not -1 <= threshold <= 1:
        raise ConfigError(f'the cosine above which images are in conflict lies between -1 and 1, got {threshold:g}.')
    conflicts = list_conflicts(subset, vectors, threshold, progress)
    try:
        with progress.stage('report'):
            return write_report(folder, subset, Findings(nearest, conflicts=conflicts, threshold=threshold, **findings))
    except OSError as error:
        raise ReportError(
            f'The report in {folder} cannot be written ({error.strerror or error}). The subset and its lists are whole. When '
            f'that is mended, draw it: python tools/analysis_tools/make_report.py {folder.parent} [--out DIR]'
        ) from error
