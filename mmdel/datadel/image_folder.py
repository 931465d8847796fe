"""Images by their stem: the name below a folder without its suffix, by which an image finds its mask and its list.

images = by_stem('data/datadel/kvasir-seg/images')     # {'a': '.../images/a.jpg', 'b': '.../images/b.PNG'}
read_list('data/datadel/kvasir-seg/train.txt', images)  # ['a', 'b']
"""

import os
from collections.abc import Mapping, Sequence

from mmdel.errors import DatasetError, counted, three
from mmdel.images import keys
from mmdel.images.listing import list_images
from mmdel.subset import plain_files


def by_stem(folder: str | os.PathLike[str]) -> dict[str, str]:
    """The path of every image below a folder, by its stem, sorted.

    Raises:
        DatasetError: There is no such folder, no image in it, or two images have one stem.
    """
    listing = list_images(folder)
    paths: dict[str, str] = {}
    twins = []
    for key in listing.keys:
        stem, path = os.path.splitext(key)[0], listing.path(key)
        if stem in paths:
            twins.append(f'{os.path.basename(paths[stem])} and {os.path.basename(path)}')
        paths.setdefault(stem, path)
    if twins:
        raise DatasetError(
            f'{counted(len(twins), "pair")} of images below {os.fspath(folder)} differ in their suffix only: {three(twins)}. '
            'Images and masks belong together by the name without it, so keep one of each pair.'
        )
    return dict(sorted(paths.items()))


def read_list(path: str | os.PathLike[str], images: Mapping[str, str]) -> list[str]:
    """The stems that a list names, one a line; a line may hold the whole file name, as some downloads have it.

    Args:
        path (str): The list.
        images (Mapping[str, str]): From :func:`by_stem`.

    Raises:
        DatasetError: The list cannot be read, is empty, names an image twice, or one that is not there.
    """
    lines = list(plain_files.names_of(plain_files.read_lines(path), source=os.fspath(path)))
    if not lines:
        raise DatasetError(f'{path} is empty.')
    stems = [stem_of(line, images) for line in lines]
    missing = [line for line, stem in zip(lines, stems, strict=True) if stem is None]
    if missing:
        raise DatasetError(
            f'{counted(len(missing), "image")} of the {len(lines)} that {path} lists are not below the image folder: '
            f'{three(missing)}. A line is the path relative to that folder without its suffix; the folder has '
            f'{three(list(images))}.'
        )
    known = [stem for stem in stems if stem is not None]
    twice = sorted({stem for stem in known if known.count(stem) > 1}) if len(set(known)) < len(known) else []
    if twice:
        raise DatasetError(f'{path} lists {counted(len(twice), "image")} more than once: {three(twice)}.')
    return known


def stem_of(name: str, images: Mapping[str, str]) -> str | None:
    """The stem that a stem or file name means; None where there is no such image."""
    key = keys.meant(name, images)
    if key in images:
        return key
    for each in dict.fromkeys((keys.normalise(name), key)):
        stem, suffix = os.path.splitext(each)
        if stem in images and os.path.splitext(images[stem])[1] == suffix:
            return stem
    return None


def unmatched(stems: Sequence[str], masks: Mapping[str, str]) -> list[str]:
    """The stems without a mask."""
    return [stem for stem in stems if stem not in masks]
