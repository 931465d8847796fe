"""Datasets of images and masks: whatever folders and names they have, the result is ``images/`` and ``masks/``.

A form is a pair of patterns. A dataset may lie among the downloads more than once: the place with most complete pairs is taken,
files on disk before archives, and the others are named in a note. What is not complete is never guessed: an image without a
mask, or a mask without an image, is a row.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from os.path import splitext

from mmdel.datadel.converters.converter import Claim, Claimed, Converter, Make, Plan, Put, Row, Task
from mmdel.datadel.converters.raw import RawFile


@dataclass(frozen=True)
class Form:
    """A native form.

    Args:
        name (str): What it is called; a result never mixes two.
        image (re.Pattern): Matches the key of an image; groups ``root`` and ``stem``, and ``group`` where a folder
            is part of the name.
        mask (re.Pattern): Likewise; and ``label`` where there is a mask for each class.
    """

    name: str
    image: re.Pattern[str]
    mask: re.Pattern[str]


class PairConverter(Converter):
    """Pairs images with masks by their stems.

    Attributes:
        forms (tuple[Form, ...]): Native forms, the best first.
        rest (re.Pattern, optional): Matches below the root what belongs to the download and is not needed.
        several (bool): Whether an image may have several mask files.
        lone_images (str): What images without a mask are counted as, where the release has them on purpose. Defaults
            to '', a fault.
    """

    classes = 2
    forms: tuple[Form, ...] = ()
    rest: re.Pattern[str] | None = None
    several = False
    lone_images = ''

    def claim(self, key: str) -> Claim | None:
        """By the forms, in order; then lists and what is not needed."""
        for form in self.forms:
            for role, pattern in (('mask', form.mask), ('image', form.image)):
                match = pattern.fullmatch(key)
                if match:
                    named = match.groupdict()
                    stem = '/'.join(name for name in (named.get('group'), match['stem']) if name)
                    return Claim(role, stem, match['root'].rstrip('/'), 'pairs', form.name, named.get('label') or '')
        return None

    def mask(self, masks: Sequence[Claimed]) -> tuple[str, Make | None]:
        """Suffix of a mask in the result, and how it is made of its files; None for as it is."""
        return splitext(masks[0].file.path)[1], None

    def groups(self, stem: str) -> tuple[str, str] | None:
        """Sequence and centre of an image, where its name tells them."""
        return None

    def plan(self, claimed: Sequence[Claimed], form: str = '') -> Plan:
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
        self._pair(places[chosen], plan)
        return plan

    # --- private

    def _rank(self, place: tuple[str, str], items: Sequence[Claimed]) -> tuple:
        images = {item.claim.name for item in items if item.claim.role == 'image'}
        pairs = images & {item.claim.name for item in items if item.claim.role == 'mask'}
        order = [form.name for form in self.forms].index(place[0])
        packed = sum(item.file.local is None for item in items)
        return -len(pairs), order, packed, len(place[1].split('/')), place[1]

    def _pair(self, items: Sequence[Claimed], plan: Plan) -> None:
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
            known = masks[name].setdefault(item.file.path if self.several else name, item)
            if known is not item and not _copies(known.file, item.file):
                plan.rows.append(_taken(item, known))
        for stem, namesakes in images.items():
            found = list(masks.pop(stem, {}).values())
            image = max(namesakes, key=lambda each: _shared_folders(each, found))  # the first of equals
            plan.rows += [_taken(other, image) for other in namesakes if other is not image]
            if found:
                plan.tasks.append(self._task(stem, image.file, found))
                group = self.groups(stem)
                if group:
                    plan.groups[stem] = group
            elif self.lone_images:
                plan.left_out[self.lone_images] = plan.left_out.get(self.lone_images, 0) + 1
            else:
                plan.rows.append(Row(image.file.path, 'missing', 'its mask is not there; left out'))
        for lone in masks.values():
            for item in lone.values():
                plan.rows.append(Row(item.file.path, 'missing', 'its image is not there; left out'))

    def _task(self, stem: str, image: RawFile, masks: Sequence[Claimed]) -> Task:
        suffix, make = self.mask(masks)
        return Task(
            'pairs',
            (
                Put(f'images/{stem}{splitext(image.path)[1]}', (image,)),
                Put(
                    f'masks/{stem}{suffix}',
                    tuple(item.file for item in masks),
                    make,
                    'binary' if self.classes == 2 else 'index',
                ),
            ),
        )


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
