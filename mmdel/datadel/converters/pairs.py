"""Datasets of images and masks: whatever folders and names they have, the result is ``images/`` and ``masks/``.

A form is a pair of patterns. A dataset may lie among the downloads more than once: the place with most complete pairs is taken,
files on disk before archives, and the others are named in a note. What is not complete is never guessed: an image without a
mask, or a mask without an image, is a row.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from os.path import splitext

from mmdel.datadel.converters.class_masks import Layers
from mmdel.datadel.converters.converter import Claim, Claimed, Converter, Plan, Put, Row, Task
from mmdel.datadel.converters.raw import RawFile

IMAGE = r'\.(?:jpe?g|png|bmp|tiff?|webp)'
"""Suffixes of images in patterns."""


@dataclass(frozen=True)
class Form:
    """A native form; case is ignored.

    Args:
        name (str): What it is called; a result never mixes two.
        image (str): Pattern of the key of an image; groups ``root`` and ``stem``, and ``group`` where a folder
            is part of the name.
        mask (str): Likewise; and ``label`` where there is a mask for each class.
    """

    name: str
    image: str
    mask: str


def by_folder(name: str) -> Form:
    """``NAME/images/x`` and ``NAME/masks/x``; archives of the two folders may hold them once more.

    Args:
        name (str): A pattern for the dataset's folder.
    """
    root = rf'(?P<root>(?:.*/)?{name})'
    return Form(
        'folders',
        rf'{root}/images?/(?:images?/)?(?P<stem>[^/]+){IMAGE}',
        rf'{root}/masks?/(?:masks?/)?(?P<stem>[^/]+){IMAGE}',
    )


def by_names(stem: str, without: str) -> Form:
    """Folders of any name that hold ``images`` and ``masks`` with file names that only one dataset has.

    Args:
        stem (str): A pattern for the names.
        without (str): A pattern for folders that hold the same names for another reason.
    """
    root = rf'(?P<root>(?!(?:.*/)?(?:{without})/).+)'
    return Form(
        'folders',
        rf'{root}/images/(?:images/)?(?P<stem>{stem})\.jpe?g',
        rf'{root}/masks/(?:masks/)?(?P<stem>{stem})\.(?:jpe?g|png)',
    )


def by_prefix(name: str) -> Form:
    """``N.tif`` and ``pN.tif`` below one folder, in one folder or in two.

    Args:
        name (str): A pattern for the dataset's folder.
    """
    root = rf'(?P<root>(?:.*?/)?{name})/(?:[^/]+/)*'
    return Form('original', rf'{root}(?P<stem>\d+){IMAGE}', rf'{root}p(?P<stem>\d+){IMAGE}')


class PairConverter(Converter):
    """Pairs images with masks by their stems.

    Args:
        *forms (Form): Native forms, the best first.
        rest (str): Pattern, below the root, of what belongs to the download and is not needed. Defaults to '', nothing.
        layers (Layers, optional): How one mask is made of several classes. Defaults to None, it is as it is.
        groups (Callable, optional): Sequence and centre of an image, where its stem tells them. Defaults to None.
        lone_images (str): What images without a mask are counted as, where the release has them on purpose. Defaults
            to '', a fault.
    """

    def __init__(
        self,
        *forms: Form,
        rest: str = '',
        layers: Layers | None = None,
        groups: Callable[[str], tuple[str, str]] | None = None,
        lone_images: str = '',
    ) -> None:
        self.forms = tuple(
            (form.name, role, re.compile(getattr(form, role), re.I)) for form in forms for role in ('mask', 'image')
        )
        self.rest = re.compile(rest, re.I)
        self.layers, self.groups, self.lone_images = layers, groups, lone_images

    def claim(self, key: str) -> Claim | None:
        """By the forms, in order."""
        for form, role, pattern in self.forms:
            match = pattern.fullmatch(key)
            if match:
                named = match.groupdict()
                stem = '/'.join(name for name in (named.get('group'), match['stem']) if name)
                return Claim(role, stem, match['root'].rstrip('/'), 'pairs', form, named.get('label') or '')
        return None

    def is_rest(self, path: str) -> bool:
        """By the pattern."""
        return self.rest.fullmatch(path) is not None

    def plan(self, claimed: Sequence[Claimed], form: str = '', classes: Sequence[str] = ()) -> Plan:
        """Choose a place, pair its files, and say what is left over."""
        places: dict[tuple[str, str], list[Claimed]] = defaultdict(list)
        for item in claimed:
            places[item.claim.form, item.claim.root].append(item)
        plan = Plan(form=form)
        usable = {place: items for place, items in places.items() if not form or place[0] == form}
        if not usable:
            other = ', '.join(sorted({root or '.' for _, root in places}))
            plan.notes.append(
                f'{other} holds another native form than the one already assembled, and is not mixed with it'
            )
            return plan
        chosen = min(usable, key=lambda place: self._rank(place, usable[place]))
        plan.form, plan.roots = chosen[0], (chosen[1],)
        for place in sorted(places):
            if place != chosen:
                plan.notes.append(f'{place[1]} holds it too ({len(places[place]):,} files) and is not used')
        self._pair(places[chosen], plan, classes)
        return plan

    # --- private

    def _rank(self, place: tuple[str, str], items: Sequence[Claimed]) -> tuple:
        images = {item.claim.name for item in items if item.claim.role == 'image'}
        pairs = images & {item.claim.name for item in items if item.claim.role == 'mask'}
        order = [name for name, *_ in self.forms].index(place[0])
        packed = sum(item.file.local is None for item in items)
        return -len(pairs), order, packed, len(place[1].split('/')), place[1]

    def _pair(self, items: Sequence[Claimed], plan: Plan, classes: Sequence[str]) -> None:
        images: dict[str, list[Claimed]] = {}
        masks: dict[str, dict[str, Claimed]] = defaultdict(dict)
        spelt: dict[str, str] = {}
        for item in items:
            name = item.claim.name
            first = spelt.setdefault(name.casefold(), name)
            if first != name:
                plan.rows.append(Row(item.file.path, 'extra', f'its name differs from {first} in case only'))
                continue
            if item.claim.role == 'image':
                namesakes = images.setdefault(name, [])
                if not any(_copies(other.file, item.file) for other in namesakes):
                    namesakes.append(item)
                continue
            known = masks[name].setdefault(item.file.path if item.claim.label else name, item)
            if known is not item and not _copies(known.file, item.file):
                plan.rows.append(_taken(item, known))
        for stem, namesakes in images.items():
            found = list(masks.pop(stem, {}).values())
            image = max(namesakes, key=lambda each: _shared_folders(each, found))  # the first of equals
            plan.rows += [_taken(other, image) for other in namesakes if other is not image]
            if found:
                plan.tasks.append(self._task(stem, image.file, found, classes))
                if self.groups:
                    plan.groups[stem] = self.groups(stem)
            elif self.lone_images:
                plan.left_out[self.lone_images] = plan.left_out.get(self.lone_images, 0) + 1
            else:
                plan.rows.append(Row(image.file.path, 'missing', 'its mask is not there; left out'))
        for lone in masks.values():
            for item in lone.values():
                plan.rows.append(Row(item.file.path, 'missing', 'its image is not there; left out'))

    def _task(self, stem: str, image: RawFile, masks: Sequence[Claimed], classes: Sequence[str]) -> Task:
        make = self.layers.maker(classes, [item.claim.label for item in masks]) if self.layers else None
        suffix = '.png' if make else splitext(masks[0].file.path)[1]
        kind = 'binary' if len(classes) == 2 else 'index'
        mask = Put(f'masks/{stem}{suffix}', tuple(item.file for item in masks), make, kind)
        return Task('pairs', (Put(f'images/{stem}{splitext(image.path)[1]}', (image,)), mask))


def _copies(one: RawFile, other: RawFile) -> bool:
    """Whether two files of one name may be taken for the same: one packed, one unpacked."""
    return one.member.size == other.member.size and splitext(one.path)[1] == splitext(other.path)[1]


def _taken(item: Claimed, other: Claimed) -> Row:
    return Row(item.file.path, 'extra', f'has the name of {other.file.path}; that one is taken')


def _shared_folders(image: Claimed, masks: Sequence[Claimed]) -> int:
    """How far an image's folder and that of its masks are the same: of images with one name, the nearest belongs to them."""
    if not masks:
        return 0
    folders = [each.file.path.split('/')[:-1] for each in (image, *masks)]
    levels = zip(*folders, strict=False)
    return sum(1 for _ in takewhile(lambda names: len(set(names)) == 1, levels))
