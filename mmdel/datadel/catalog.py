"""Table 1 as data: the fourteen datasets of the benchmark, and where each is to be had.

    CATALOG['hyper-kvasir'].frames      # 110079
    find('Kvasir-SEG').licence          # 'research and educational use only; ...'

The numbers of Table 1 stand in ``videos`` and ``frames``; what the source itself says is in ``expected``, and where the two
disagree a note says so. Nothing here is guessed: what could not be found is None, and a note says that. Citations are those
that the sources give for a dataset; which publications the reference numbers of Table 1 mean is not confirmed.
"""

import re

from mmdel.datadel.catalog_downstream import DOWNSTREAM
from mmdel.datadel.catalog_entry import Entry, Link
from mmdel.datadel.catalog_pretraining import PRETRAINING
from mmdel.errors import ConfigError

__all__ = ['ASKED', 'CATALOG', 'Entry', 'Link', 'find']

ASKED: tuple[Entry, ...] = (*PRETRAINING, *DOWNSTREAM)
"""The entries in the order in which their converters are asked whose a file is: the first that claims it has it."""

CATALOG: dict[str, Entry] = {
    entry.id: entry
    for division in (PRETRAINING, DOWNSTREAM)
    for entry in sorted(division, key=lambda entry: entry.name)
}
"""The entries by the name of their folder, in the order of Table 1."""


def find(name: str) -> Entry:
    """The entry of a dataset by its folder or its name, in any spelling.

    Raises:
        ConfigError: There is no such dataset.
    """
    wanted = _plain(name)
    for entry in CATALOG.values():
        if wanted in (_plain(entry.id), _plain(entry.name)):
            return entry
    raise ConfigError(f'The catalogue has no dataset {name!r}. It has: {", ".join(CATALOG)}.')


def _plain(name: str) -> str:
    return re.sub(r'[^a-z0-9]', '', name.lower())
