"""Train, validation and test lists: written once by a rule, never guessed.

    splits = write_splits('data/datadel/cvc-clinicdb')    # writes train.txt, val.txt, test.txt and splits.json
    splits.lists['val']                                   # ('26', '27', ...)

The rule. A list that the download brought, beside ``images/`` or in ``official/``, counts as the official split and stays as it
is. Without one, groups (see :mod:`mmdel.datadel.split_groups`) are ordered by the sha256 of their name and cut where the number
of images comes nearest to 80 and 90 %; so a group is never on both sides, and no list is empty. Of an incomplete official split

- a missing ``val`` is cut from ``train`` by that rule, 8 to 1;
- a missing ``test`` is ``val``, because the held-out list is what the field tests on; with ``train`` alone, it is the rest;
- a missing ``train`` is the rest, from which a missing ``val`` or ``test`` is cut, too.

Nothing changes when it runs again. A list that somebody else wrote is replaced only when asked, and kept in ``official/``.
"""

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdel.compute.files import atomic, write_text
from mmdel.datadel.image_folder import by_stem, read_list, unmatched
from mmdel.datadel.split_groups import Groups, group_images
from mmdel.errors import DatasetError, counted, three

SHARES = {'train': 8, 'val': 1, 'test': 1}
"""How the images are shared out; where only some lists are cut, in the same proportion."""

HEADER = 'splits.json'
_GIVEN = 'given'


@dataclass(frozen=True)
class Splits:
    """The lists of a dataset.

    Args:
        lists (dict[str, tuple[str, ...]]): Stems of ``train``, ``val`` and ``test``.
        rules (dict[str, str]): Where each list comes from, for people.
        groups (Groups): Which images belong together.
        notes (tuple[str, ...]): What a person should know. Defaults to ().
        written (tuple[str, ...]): The lists that this call has written. Defaults to ().
    """

    lists: dict[str, tuple[str, ...]]
    rules: dict[str, str]
    groups: Groups
    notes: tuple[str, ...] = ()
    written: tuple[str, ...] = ()


def write_splits(
    folder: str | os.PathLike[str],
    dataset: str | None = None,
    table: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Splits:
    """Write the lists of a folder with ``images/`` and ``masks/``, and beside them a header that says how they came about.

    Args:
        folder (str): The folder.
        dataset (str, optional): Which dataset it holds. Defaults to None (the folder's name).
        table (str, optional): Groups, a CSV file with the columns ``stem`` and ``group``. Defaults to None
            (``groups.csv`` in the folder, where there is one).
        overwrite (bool): Whether lists that are there may be replaced. Defaults to False.

    Raises:
        DatasetError: The folder is not laid out so, or too few groups are there, or a list is in the way.
    """
    folder = Path(folder)
    dataset = dataset or Path(os.path.abspath(folder)).name
    images, notes = _images(folder)
    if table is None and (folder / 'groups.csv').is_file():
        table = folder / 'groups.csv'
    groups = group_images(images, dataset, table)
    digests = _own_digests(folder)
    there = [name for name in SHARES if _path(folder, name).is_file()]
    own = {name for name in there if _digest(_path(folder, name).read_bytes()) in digests.get(name, ())}
    if len(there) == len(SHARES) and not overwrite:
        present = _read_lists(folder, there, images)
        rules = {name: 'as it was written before' if name in own else _GIVEN for name in SHARES}
        return Splits(present, rules, groups, (*notes, *groups.notes, *_remarks(present, groups, images)))

    official = folder / 'official'
    given = _read_lists(folder, [name for name in there if name not in own], images)
    for name, stems in _read_lists(
        official, [name for name in SHARES if _path(official, name).is_file()], images
    ).items():
        if set(given.setdefault(name, stems)) != set(stems):
            raise DatasetError(
                f'{_path(folder, name)} and {_path(official, name)} differ. Remove the one that does not count.'
            )
    # what mmdel wrote may name images that are gone by now
    present = given | {name: tuple(_path(folder, name).read_text(encoding='utf-8').split('\n')[:-1]) for name in own}
    present = {name: present[name] for name in there}
    lists, rules = make_splits(groups.of, given)
    changed = [name for name in SHARES if set(present.get(name, ())) != set(lists[name])]
    _refuse([name for name in changed if name in present and not overwrite], own, folder)
    for name in given if any(name in present and name not in own for name in changed) else ():
        if not _path(official, name).is_file():
            with atomic(_path(official, name)) as temporary:
                temporary.write_bytes(_path(folder, name).read_bytes())
    texts = {name: ''.join(f'{stem}\n' for stem in lists[name]) for name in changed}
    fresh = {name: _digest(text.encode()) for name, text in texts.items()}
    kept = {name: _digest(_path(folder, name).read_bytes()) for name in own if name not in changed}
    # before the lists, with the old digests too: killed at any moment, the next run knows which lists are its own
    _write_header(
        folder, dataset, lists, rules, groups, {n: [*digests.get(n, ()), d] for n, d in (kept | fresh).items()}
    )
    for name, text in texts.items():
        write_text(_path(folder, name), text)
    _write_header(folder, dataset, lists, rules, groups, {name: [digest] for name, digest in (kept | fresh).items()})
    return Splits(lists, rules, groups, (*notes, *groups.notes, *_remarks(lists, groups, images)), tuple(changed))


def make_splits(
    groups: Mapping[str, str], given: Mapping[str, Sequence[str]] | None = None
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Complete a split by the rule of this module.

    Args:
        groups (Mapping[str, str]): The group of each image, by stem.
        given (Mapping[str, Sequence[str]], optional): The lists of an official split. Defaults to None.

    Returns:
        tuple: The stems of each list, and where each list comes from.

    Raises:
        DatasetError: The given lists overlap, or the images are in too few groups.
    """
    lists = {name: tuple(stems) for name, stems in (given or {}).items()}
    rules = dict.fromkeys(lists, _GIVEN)
    _refuse_overlap(lists)
    if 'train' in lists:
        if 'test' not in lists and 'val' in lists:
            lists['test'], rules['test'] = lists['val'], 'the given val: what the field tests on'
        elif 'test' not in lists:
            lists['test'], rules['test'] = _rest(groups, lists), 'what the given train leaves'
        if 'val' not in lists:
            part = cut({stem: groups[stem] for stem in lists['train']}, ('train', 'val'))
            lists |= part
            rules |= {'train': 'the given train without val', 'val': 'cut from the given train, 1 of 9'}
    else:
        names = tuple(name for name in SHARES if name not in lists)
        rest = _rest(groups, lists)
        lists |= cut({stem: groups[stem] for stem in rest}, names)
        shares = '/'.join(str(SHARES[name] * 10) for name in names)
        rules |= dict.fromkeys(names, f'cut {shares} by hash' if len(names) > 1 else 'what the given lists leave')
    return {name: lists[name] for name in SHARES}, {name: rules[name] for name in SHARES}


def cut(groups: Mapping[str, str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Cut the images into lists, in the order of the hash of their group, where the shares are met best.

    Args:
        groups (Mapping[str, str]): The group of each image, by stem.
        names (Sequence[str]): The lists, keys of :data:`SHARES`.

    Returns:
        dict[str, tuple[str, ...]]: The stems of each list, sorted.

    Raises:
        DatasetError: There are fewer groups than lists.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for stem, group in groups.items():
        members[group].append(stem)
    if len(members) < len(names):
        raise DatasetError(
            f'{counted(len(groups), "image")} in {counted(len(members), "group")} cannot be cut into {len(names)} lists '
            f'({", ".join(names)}) without separating what belongs together. Give smaller groups (groups.csv), or more images.'
        )
    order = sorted(members, key=lambda group: (hashlib.sha256(group.encode()).digest(), group))
    counts = [0]
    for group in order:
        counts.append(counts[-1] + len(members[group]))
    whole = sum(SHARES[name] for name in names)
    lists, start, share = {}, 0, 0
    for number, name in enumerate(names):
        share += SHARES[name]
        last = len(order) - (len(names) - number - 1)  # a group is left for each list that follows
        # in whole numbers, so that no rounding decides a tie
        distance = [abs(count * whole - share * counts[-1]) for count in counts]
        end = min(range(start + 1, last + 1), key=lambda place, d=distance: (d[place], place))  # type: ignore[misc]
        end = end if number < len(names) - 1 else len(order)
        lists[name] = tuple(sorted(stem for group in order[start:end] for stem in members[group]))
        start = end
    return lists


# --- private


def _path(folder: Path, name: str) -> Path:
    return folder / f'{name}.txt'


def _read_lists(folder: Path, names: Sequence[str], images: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(read_list(_path(folder, name), images)) for name in names}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _images(folder: Path) -> tuple[dict[str, str], list[str]]:
    if not (folder / 'images').is_dir():
        raise DatasetError(
            f'{folder} has no folder images/. A segmentation dataset has images/ and masks/ with files of the same names.'
        )
    images = by_stem(folder / 'images')
    if not (folder / 'masks').is_dir():
        return images, ['there is no folder masks/, so every image is listed']
    lone = unmatched(list(images), by_stem(folder / 'masks'))
    if len(lone) == len(images):
        raise DatasetError(
            f'No image of {folder} has a mask of its name: {three(lone)}. Masks carry the name of their image.'
        )
    notes = [f'{counted(len(lone), "image")} without a mask in no list: {three(lone)}'] if lone else []
    return {stem: path for stem, path in images.items() if stem not in set(lone)}, notes


def _own_digests(folder: Path) -> dict[str, list[str]]:
    """The digests of the lists that mmdel has written here."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding='utf-8'))
        return {str(name): list(digests) for name, digests in header['written'].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(
            f'{folder / HEADER} is damaged ({error}). Remove it; the lists beside it then count as given.'
        ) from error


def _write_header(
    folder: Path,
    dataset: str,
    lists: Mapping[str, Sequence[str]],
    rules: Mapping[str, str],
    groups: Groups,
    written: Mapping[str, Sequence[str]],
) -> None:
    header = {
        'format': 1,
        'dataset': dataset,
        'groups': groups.source,
        'lists': {
            name: {
                'images': len(stems),
                'groups': len({groups.of[stem] for stem in stems}),
                'rule': rules[name],
            }
            for name, stems in lists.items()
        },
        'written': {name: list(dict.fromkeys(digests)) for name, digests in sorted(written.items())},
    }
    with atomic(folder / HEADER) as temporary:
        temporary.write_text(json.dumps(header, indent=2, ensure_ascii=False) + '\n', encoding='utf-8')


def _refuse(names: Sequence[str], own: set[str], folder: Path) -> None:
    for name in names:
        if name in own:
            raise DatasetError(
                f'{_path(folder, name)} was written for other images or groups than are there now. '
                'Write all lists again: --overwrite'
            )
        raise DatasetError(
            f'{_path(folder, name)} would have to change, because the lists beside it are incomplete. '
            'With --overwrite it is replaced, and kept in official/.'
        )


def _refuse_overlap(lists: Mapping[str, Sequence[str]]) -> None:
    for one, other in (('train', 'val'), ('train', 'test')):
        both = sorted(set(lists.get(one, ())) & set(lists.get(other, ())))
        if both:
            raise DatasetError(f'{one}.txt and {other}.txt share {counted(len(both), "image")}: {three(both)}.')


def _rest(groups: Mapping[str, str], lists: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    taken = {stem for stems in lists.values() for stem in stems}
    rest = tuple(sorted(stem for stem in groups if stem not in taken))
    if not rest:
        raise DatasetError(f'The given {" and ".join(lists)} hold every image, so none is left for another list.')
    return rest


def _remarks(lists: Mapping[str, Sequence[str]], groups: Groups, images: Mapping[str, str]) -> list[str]:
    remarks = []
    held = {groups.of[stem] for name in ('val', 'test') for stem in lists[name]}
    both = sorted(held & {groups.of[stem] for stem in lists['train']})
    if both:
        remarks.append(f'{counted(len(both), "group")} of the given lists on both sides: {three(both)}')
    listed = {stem for stems in lists.values() for stem in stems}
    others = [stem for stem in images if stem not in listed]
    if others:
        remarks.append(f'{counted(len(others), "image")} in no list: {three(others)}')
    return remarks
