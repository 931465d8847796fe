"""``report/``: what a person looks at after a run."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmdel.files import atomic
from mmdel.subset import Subset
from mmdel.visualization.plots import RemovedPair, plot_removed, plot_retention


def write_report(folder: Path, subset: Subset, examples: Sequence[RemovedPair], paths: dict[str, str]) -> list[Path]:
    """Write ``removed.png`` (where images are at hand) and ``retention.png`` (where every eta has an answer).

    Args:
        folder (Path): Where the pictures go.
        subset (Subset): The cut.
        examples (Sequence[RemovedPair]): Removed images with their kept ones.
        paths (dict[str, str]): Key to file; empty for vectors without images.

    Returns:
        list[Path]: The files written.
    """
    figures: dict[str, Figure] = {}
    if examples and paths:
        figures['removed.png'] = plot_removed(examples, paths)
    if subset.metadata['recut'] == 'any':
        figures['retention.png'] = plot_retention(subset)
    for name in ('removed.png', 'retention.png'):
        if name not in figures:
            (folder / name).unlink(missing_ok=True)
    for name, figure in figures.items():
        with atomic(folder / name) as temporary:
            figure.savefig(temporary, format='png')
    return [folder / name for name in figures]
