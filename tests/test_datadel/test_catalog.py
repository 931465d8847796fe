"""The catalogue against Table 1, and the page against the catalogue."""

import dataclasses
import re
from pathlib import Path

import pytest

from mmdel.datadel import catalog_page
from mmdel.datadel.catalog import ASKED, CATALOG, find
from mmdel.datadel.converters.converter import Converter
from mmdel.datasets.datadel import LAYOUTS
from mmdel.errors import ConfigError
from mmdel.registry import DATASETS

TABLE = """
gastrovision        2 0   8000
hyper-kvasir        1 374 110079
kvasir-capsule      1 117 47238
cvc-clinicdb        1 0   612
cvc-300             ? 0   60
cvc-colondb         ? 0   380
ead2019             6 0   2991
edd2020             4 0   380
etis                ? 0   196
imageclefmed        1 0   66662
kvasir-instrument   1 0   590
kvasir-seg          4 0   1000
kvasir-sessile      4 0   196
polypgen            6 0   3762
"""


def test_catalogue__is_table_1():
    rows = [line.split() for line in TABLE.strip().splitlines()]
    assert [row[0] for row in rows] == list(CATALOG)
    for (name, centres, videos, frames), entry in zip(rows, CATALOG.values(), strict=True):
        assert (entry.id, entry.videos, entry.frames) == (name, int(videos), int(frames))
        assert entry.centres == (None if centres == '?' else int(centres))
    assert sum(entry.frames for entry in CATALOG.values() if entry.division == 'pretraining') == 165_317
    assert [entry.id for entry in CATALOG.values() if entry.division == 'pretraining'] == list(LAYOUTS)


def test_catalogue__where_source_and_table_differ_a_note_says_so():
    for entry in CATALOG.values():
        images = sum(number for part, number in entry.expected.items() if 'video' not in part)
        videos = sum(number for part, number in entry.expected.items() if 'video' in part)
        for said, own in ((entry.frames, images), (entry.videos, videos)):
            if said != own:
                assert any(f'{said:,}' in note and f'{own:,}' in note for note in entry.notes), entry.id
    assert CATALOG['hyper-kvasir'].expected['labelled videos'] == 373
    assert CATALOG['edd2020'].expected == {'pairs': 386}


def test_catalogue__every_entry_is_usable():
    assert sorted(entry.id for entry in ASKED) == sorted(CATALOG)
    for entry in CATALOG.values():
        assert isinstance(entry.converter, Converter)
        assert DATASETS.get(entry.dataset) is not None
        assert entry.page.startswith(('https://', 'http://mv.cvc.uab.es/'))
        assert entry.licence and entry.citation and entry.archives and entry.layout
        for link in entry.links:
            assert link.url.startswith('https://') and link.url.endswith(link.archive)
            assert link.sha256 is None or re.fullmatch('[0-9a-f]{64}', link.sha256)
        with pytest.raises(dataclasses.FrozenInstanceError):
            entry.frames = 0


@pytest.mark.parametrize('name', ['kvasir-seg', 'Kvasir-SEG', 'KVASIR SEG', 'kvasirseg'])
def test_find__in_any_spelling(name):
    assert find(name).id == 'kvasir-seg'


def test_find__says_what_there_is():
    with pytest.raises(ConfigError, match='imagenet.*gastrovision'):
        find('imagenet')


def test_page__is_what_the_catalogue_gives():
    page = Path(__file__).resolve().parents[2] / 'docs' / 'datadel.md'
    written = 'python tools/prepare_datadel.py --list --format markdown > docs/datadel.md'
    assert page.read_text(encoding='utf-8') == catalog_page.markdown(), written
