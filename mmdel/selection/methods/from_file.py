"""A subset made elsewhere: a plain list of keys, or a subset file.

FromFile('chosen.txt')                # one key a line, in the order in which they are worth keeping
FromFile('other_run/subset.parquet')  # the images that it keeps, in the order of its ranking
"""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa

from mmdel import similarity
from mmdel.compute.progress import SILENT, Stages
from mmdel.embedding.vectors import Vectors
from mmdel.errors import DatasetError
from mmdel.images import keys
from mmdel.registry import SELECTORS
from mmdel.selection.selector import BaseSelector, Ranking, ranking_of
from mmdel.subset import Subset, plain_files


@SELECTORS.register_module()
class FromFile(BaseSelector):
    """The images that a file names come first; without a ratio, exactly these stay.

    A smaller ratio keeps the first of them. A larger one adds the images least similar to any of them.

    Args:
        file (str): A text file with one key a line (paths relative to the image folder, as in ``keep.txt``), or a subset file
            (``.parquet``).

    Raises:
        DatasetError: The text cannot be read, is empty, or names a key twice.
        SubsetError: The subset file cannot be used.
    """

    own_size = True

    def __init__(self, file: str) -> None:
        path = Path(file)
        self._file = file
        self._keys = _subset_keys(path) if path.suffix == '.parquet' else _listed_keys(path)
        # the place of the file does not decide anything, what it says does
        self.file = path.name
        self.sha256 = hashlib.sha256('\n'.join(self._keys).encode()).hexdigest()

    def rank(self, vectors: Vectors, table: pa.Table, size: int | None = None, progress: Stages = SILENT) -> Ranking:
        """The images of the file in its order, then the others, least similar to any of these first.

        Raises:
            DatasetError: The file names an image that is not there or not readable.
        """
        row = {key: number for number, key in enumerate(table['image'].to_pylist())}
        wanted = plain_files.names_of(self._keys, lambda line: keys.meant(line, row), self._file)
        missing = [key for key in wanted if key not in row]
        if missing:
            raise DatasetError(
                f'{self._file} names {len(missing):,} images that are not among the {len(row):,} readable ones, first '
                f'{", ".join(map(repr, missing[:3]))}; there are {", ".join(map(repr, sorted(row)[:3]))}, ... '
                'Keys are paths relative to the image folder.'
            )
        listed = np.array([row[key] for key in wanted], np.int64)
        rest = np.setdiff1d(np.arange(len(vectors)), listed)
        with progress.stage('fill', len(rest) * len(listed), 'pairs') as tick:
            nearest = similarity.nearest(vectors, [(rest, listed)], tick).cosine[rest]
        return ranking_of(np.concatenate([listed, rest[np.lexsort((rest, nearest))]]), kept=len(listed))


def _subset_keys(path: Path) -> list[str]:
    kept = Subset.read(path)
    kept_rows = kept.table.filter(kept.table['keep']).sort_by('rank')
    return kept_rows['image'].to_pylist()


def _listed_keys(path: Path) -> list[str]:
    lines = plain_files.read_lines(path)
    if not plain_files.names_of(lines, source=str(path)):
        raise DatasetError(f'{path} names no image.')
    return lines
