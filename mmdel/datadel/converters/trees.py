"""Datasets whose native tree is the canonical one: the three pre-training sets keep their folders and names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mmdel.datadel.converters.converter import Claim, Claimed, Converter, Plan, Put, Row, Task


@dataclass(frozen=True)
class Part:
    """A part of a tree.

    Args:
        name (str): What it is counted as; '' for what is left out.
        pattern (str): Matches a key below outer folders; the group ``target`` is the path below the dataset's folder.
        kind (str): 'image' or 'video'. Defaults to 'image'.
    """

    name: str
    pattern: str
    kind: str = 'image'


class TreeConverter(Converter):
    """Takes the parts of a tree from wherever they lie, in several archives too, and puts them together again."""

    def __init__(self, *parts: Part) -> None:
        self.parts = tuple((part, re.compile(rf'(?P<root>(?:.*/)?){part.pattern}')) for part in parts)

    def claim(self, key: str) -> Claim | None:
        """By the parts, in order."""
        for part, pattern in self.parts:
            match = pattern.fullmatch(key)
            if match:
                root = match['root'].rstrip('/')
                if not part.name:
                    return Claim('rest', key[len(match['root']) :], root)
                return Claim('file', self.target(match), root, part.name, label=part.kind)
        return None

    def target(self, match: re.Match[str]) -> str:
        """The path below the dataset's folder."""
        return match['target']

    def plan(self, claimed: Sequence[Claimed], form: str = '', classes: Sequence[str] = ()) -> Plan:
        """Each file by itself; of two with one target the first counts."""
        plan = Plan(roots=tuple(sorted({item.claim.root for item in claimed})))
        taken: dict[str, Claimed] = {}
        copies = 0
        for item in claimed:
            if item.claim.role == 'rest':
                what = item.claim.name.split('/')[0]
                plan.left_out[what] = plan.left_out.get(what, 0) + 1
                continue
            target = item.claim.name
            first = taken.setdefault(target.casefold(), item)
            if first is item:
                put = Put(target, (item.file,), kind=item.claim.label)
                plan.tasks.append(Task(item.claim.part, (put,)))
            elif first.claim.name != target:
                reason = f'differs from {first.file.path} in case only; no disk that ignores case could hold both'
                plan.rows.append(Row(item.file.path, 'extra', reason))
            elif first.file.member.size == item.file.member.size:
                copies += 1
            else:
                reason = f'has the name of {first.file.path} and another size; that one is taken'
                plan.rows.append(Row(item.file.path, 'extra', reason))
        if copies:
            plan.notes.append(f'{copies:,} files stand among the downloads twice; one of each is taken')
        return plan
