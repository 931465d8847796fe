"""Filters OpenMMLab annotation files down to the images of a subset.

    filter_annotations('train.json', 'train_5_percent.json', Subset.read('subset.parquet'))

Knows the JSON of ``BaseDataset`` (``data_list`` of items with ``img_path``), COCO's (``images`` with ``file_name``,
``annotations`` with ``image_id``), and text with one image a line, a label or more behind it, with or without a suffix.
Everything else in the file stays as it is, in its order.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdel.compute.files import write_text
from mmdel.errors import ConfigError, DatasetError, three
from mmdel.images import keys
from mmdel.subset import Subset, plain_files

UNLISTED = ('error', 'drop', 'keep')


@dataclass(frozen=True)
class Filtered:
    """What became of an annotation file.

    Args:
        before (int): Images in it.
        after (int): Images that stayed.
    """

    before: int
    after: int


def filter_annotations(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    subset: Subset,
    prefix: str = '',
    unlisted: str = 'error',
) -> Filtered:
    """Write a copy of an annotation file without the images that a subset drops.

    Args:
        source (str): The file, ``.json`` or text.
        out (str): The copy; not ``source`` itself.
        subset (Subset): The subset.
        prefix (str): What stands before a name in the file to make it a key, such as 'images/'. Defaults to '': found by trying
            the folders in which the subset has images.
        unlisted (str): What happens to images that the subset does not list: 'error', 'drop' or 'keep'. Defaults to 'error'.

    Raises:
        ConfigError: ``unlisted`` is unknown, or ``out`` is ``source``.
        DatasetError: The file cannot be read or is of no known form, or its images are not those of the subset.
    """
    if unlisted not in UNLISTED:
        raise ConfigError(f'unlisted must be one of {", ".join(UNLISTED)}, got {unlisted!r}.')
    if os.path.realpath(source) == os.path.realpath(out):
        raise ConfigError(f'{out} is the annotation file itself, which is never changed. Choose another --out.')
    try:
        document = json.loads(Path(source).read_bytes()) if str(source).lower().endswith('.json') else None
    except (OSError, ValueError) as error:
        raise DatasetError(f'{source} cannot be read ({error}).') from error
    decision = _Decision(subset, os.fspath(source), prefix, unlisted)
    if document is None:
        lines = [line.removeprefix(plain_files.MARK) for line in plain_files.read_lines(source)]
        lines = [line for line in lines if line.strip()]
        result = ''.join(f'{line}\n' for line in decision.filter(lines, str))
    elif isinstance(document, dict) and isinstance(document.get('data_list'), list):
        document['data_list'] = decision.filter(document['data_list'], lambda item: item['img_path'])
        result = json.dumps(document, ensure_ascii=False)
    elif isinstance(document, dict) and isinstance(document.get('images'), list):
        document['images'] = decision.filter(document['images'], lambda item: item['file_name'])
        there = {item['id'] for item in document['images']}
        document['annotations'] = [each for each in document.get('annotations', ()) if each['image_id'] in there]
        result = json.dumps(document, ensure_ascii=False)
    else:
        raise DatasetError(
            f'{source} is of no form that is known: JSON with data_list (mmengine) or images and annotations (COCO), or text.'
        )
    write_text(out, result)
    return decision.done


class _Decision:
    """Which items of a file stay."""

    def __init__(self, subset: Subset, source: str, prefix: str, unlisted: str) -> None:
        self._source = source
        self._prefix = prefix
        self._unlisted = unlisted
        self._keep = dict(zip(subset.images, subset.keep.tolist(), strict=True))
        self._stems: dict[str, list[str]] = {}
        for key in self._keep:
            self._stems.setdefault(os.path.splitext(key)[0], []).append(key)
        self.done = Filtered(0, 0)

    def filter(self, items: Sequence[Any], name_of: Callable[[Any], str]) -> list[Any]:
        try:
            names = [name_of(item) for item in items]
        except (KeyError, TypeError) as error:
            raise DatasetError(f'An item of {self._source} has no {error}, so its image is not known.') from error
        prefix = self._prefix or self._find_prefix(names)
        found = [self._key(prefix, name) for name in names]
        unlisted = [name for name, key in zip(names, found, strict=True) if key is None]
        if names and len(unlisted) == len(names):
            raise DatasetError(
                f'None of the {len(names):,} images of {self._source} is in the subset.\n'
                f'  names in the file:  {three(names)}\n'
                f'  keys of the subset: {three(list(self._keep))}\n'
                'Say what stands before the names: --prefix FOLDER/'
            )
        if unlisted and self._unlisted == 'error':
            raise DatasetError(
                f'{len(unlisted):,} of {len(names):,} images of {self._source} are not listed in the subset: {three(unlisted)}. '
                'Say what becomes of them: --unlisted drop, or --unlisted keep.'
            )
        self._refuse_ambiguous(prefix, found)
        stays = [self._unlisted == 'keep' if key is None else self._keep[key] for key in found]
        kept = [item for item, stay in zip(items, stays, strict=True) if stay]
        if not kept:
            raise DatasetError(f'The subset keeps none of the {len(names):,} images of {self._source}.')
        self.done = Filtered(len(items), len(kept))
        return kept

    def _find_prefix(self, names: Sequence[str]) -> str:
        """The folder before the names under which most of them are found; none where they are keys as they stand."""
        if all(self._key('', name) is not None for name in names):
            return ''
        folders = sorted(
            {'', *(f'{part}/' for key in self._keep for part in _parents(key))}, key=lambda each: (len(each), each)
        )
        sample = names[:: max(1, len(names) // 50)]
        counts = {folder: sum(self._key(folder, name) is not None for name in sample) for folder in folders}
        best = [folder for folder, count in counts.items() if count == max(counts.values())]
        if len(best) > 1 and counts[best[0]]:
            counts = {folder: sum(self._key(folder, name) is not None for name in names) for folder in best}
            best = [folder for folder, count in counts.items() if count == max(counts.values())]
            if len(best) > 1:
                raise DatasetError(
                    f'The images of {self._source} may be those of several folders of the subset: {three(best)}. Say '
                    f'which stands before the names: --prefix {best[0]}'
                )
        return best[0]

    def _refuse_ambiguous(self, prefix: str, found: Sequence[str | None]) -> None:
        """Two entries of one name may be two images where the subset has several of that name."""
        repeated = [key for key, count in Counter(found).items() if key is not None and count > 1]
        if not repeated:
            return
        names: dict[str, list[str]] = {}
        for key in self._keep:
            names.setdefault(key.rpartition('/')[2], []).append(key)
        for key in repeated:
            tail = key.removeprefix(prefix)
            alike = [other for other in names[key.rpartition('/')[2]] if other == tail or other.endswith(f'/{tail}')]
            if len(alike) > 1:
                raise DatasetError(
                    f'{self._source} names {tail} more than once, and the subset has {three(alike)}: which of '
                    'them is meant cannot be known. Write paths into it that tell them apart.'
                )

    def _key(self, prefix: str, name: str) -> str | None:
        """The key of a name, or of a line that begins with one; a stem counts where only one image has it."""
        words = name.split(' ')
        # names may hold blanks, and labels come behind the name
        for end in range(len(words), 0, -1):
            key = keys.normalise(prefix + ' '.join(words[:end]))
            if key in self._keep:
                return key
            if len(self._stems.get(key, ())) == 1:
                return self._stems[key][0]
        return None


def _parents(key: str) -> list[str]:
    parts = key.split('/')[:-1]
    return ['/'.join(parts[: end + 1]) for end in range(len(parts))]
