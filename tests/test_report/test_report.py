"""The page: its numbers equal the subset file, names are text, and a real browser shows all of it without asking for anything."""

import csv
import json
import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mmengine.config import Config

from mmdel.engine import DedupRunner
from mmdel.engine.finished_run import FinishedRun
from mmdel.report.page import Findings, write_report
from mmdel.selection.findings import CheckedSet, Leak, LeakReport, LeakRule, NearestKept, nearest_kept
from mmdel.subset import Subset

ROOT = Path(__file__).resolve().parents[2]
ETA = 0.9


@pytest.fixture(scope='module')
def run(demo_data, tmp_path_factory):
    """A run on the synthetic pool."""
    base = tmp_path_factory.mktemp('run')
    cfg = Config.fromfile(ROOT / 'configs' / 'demo' / 'meddel_pixels.py')
    cfg.dataset.data_root = str(demo_data / 'pool')
    cfg.selector.update(eta=ETA, epsilon=0.8)
    cfg.work_dir, cfg.cache_dir = str(base / 'out'), str(base / 'cache')
    DedupRunner.from_cfg(cfg).run()
    return base / 'out'


@pytest.fixture(scope='module')
def page(run):
    return run / 'report' / 'index.html'


class Reader(HTMLParser):
    """Text, tags and attributes of a page, as any HTML reader finds them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.text, self.inside = [], [], '', []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag in ('style', 'script'):
            self.inside.append(tag)

    def handle_endtag(self, tag):
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()

    def handle_data(self, data):
        if not self.inside:
            self.text += f' {data}'


def carried(page):
    """The numbers that the page carries."""
    return json.loads(re.search(r'id="numbers">(.*?)</script>', page.read_text(), re.DOTALL)[1])


# --- numbers


def test_numbers__equal_the_subset_file(run, page):
    """Counted again with plain loops over the rows of the file."""
    rows = pq.read_table(run / 'subset.parquet').to_pylist()
    numbers = carried(page)
    readable = [row for row in rows if row['reason'] not in ('unreadable', 'excluded', 'leak')]
    kept = [row for row in readable if row['keep']]
    assert (numbers['rows'], numbers['images'], numbers['kept']) == (len(rows), len(readable), len(kept))
    assert numbers['removed'] == len(readable) - len(kept)
    assert numbers['ratio'] == len(kept) / len(readable) and numbers['eta'] == ETA
    assert numbers['reasons'] == Counter(row['reason'] for row in rows)
    assert numbers['bytes'] == sum(row['bytes'] for row in readable)
    assert numbers['bytes_saved'] == sum(row['bytes'] for row in readable if not row['keep'])
    assert numbers['hours_saved'] == pytest.approx((len(readable) - len(kept)) * 200 / 325.6 / 3600)
    clusters = Counter(row['cluster'] for row in readable)
    assert sorted((c['images'] for c in numbers['clusters']), reverse=True) == sorted(clusters.values(), reverse=True)
    assert sum(cluster['kept'] for cluster in numbers['clusters']) == len(kept)
    for cut in numbers['cuts']['etas']:
        stays = [
            row for row in readable if row['distance'] <= np.float32(0.8)
            and not (row['redundancy'] is not None and row['redundancy'] > np.float32(cut['eta']))
        ]  # fmt: skip
        assert cut['kept'] == len(stays)
    for cut in numbers['cuts']['ratios']:
        assert cut['kept'] == math.floor(cut['ratio'] * len(readable) + 0.5)


def test_retention__equals_the_subset_file_rarest_first(run, page):
    rows = [row for row in pq.read_table(run / 'subset.parquet').to_pylist() if row['reason'] != 'unreadable']
    for column in ('label', 'source', 'video', 'centre'):
        images = Counter(row[column] for row in rows if row[column] is not None)
        kept = Counter(row[column] for row in rows if row[column] is not None and row['keep'])
        found = carried(page)['retention'][column]
        assert {g['name']: (g['images'], g['kept']) for g in found} == {n: (images[n], kept[n]) for n in images}
        assert [g['images'] for g in found] == sorted(images.values())
        for group in found:
            lost = group['images'] - group['kept']
            assert bool(group['warning']) is (lost > 0.95 * group['images'])
            assert (group['warning'] == 'nothing is left') is (group['kept'] == 0)


def test_page__shows_the_numbers_that_it_carries(page):
    numbers, reader = carried(page), Reader(page.read_text())
    for value in (numbers['images'], numbers['kept'], numbers['removed']):
        assert f'{value:,}' in reader.text
    assert f'{numbers["ratio"]:.2%}' in reader.text and '325.6 images/s' in reader.text
    for group in numbers['retention']['label']:
        assert group['name'] in reader.text


def test_tables_beside_the_page__hold_every_group_and_conflict(run):
    with open(run / 'report' / 'retention.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    table = Subset.read(run / 'subset.parquet').table
    for column in ('label', 'source', 'video', 'centre'):
        assert sum(int(row['kept']) for row in rows if row['grouping'] == column) == sum(
            keep for keep, value in zip(table['keep'].to_pylist(), table[column].to_pylist(), strict=True)
            if value is not None
        )  # fmt: skip
    assert (
        (run / 'report' / 'conflicts.csv')
        .read_text()
        .startswith('image,label,keep,other,other_label,other_keep,cosine\n')
    )


def test_page__is_the_same_for_the_same_run(run, page, tmp_path):
    finished = FinishedRun.open(run)
    vectors = finished.vectors()
    found = Findings(nearest_kept(finished.subset, vectors), finished.paths, unreadable=finished.unreadable)
    one, other = (write_report(tmp_path / name, finished.subset, found).read_bytes() for name in ('one', 'other'))
    assert one == other
    assert carried(page) == carried(tmp_path / 'one' / 'index.html')


# --- untrusted names


HOSTILE = (
    '<script>alert(1)</script>.jpg', '"><img src=x onerror=alert(2)>.jpg', "'; alert(3); '.jpg", '</script><b>.jpg',
    '{{ 7 * 7 }}.jpg', '/etc/passwd', '../../../etc/passwd', 'C:\\windows\\x.jpg', 'a\nb.jpg', 'nul\x00.jpg',
    '\u202egpj.exe', 'x' * 5000 + '.jpg', 'ok.jpg',
)  # fmt: skip


def hostile(keep=lambda i: i % 2 == 0):
    names = sorted(HOSTILE)
    label = [f'{name} class' for name in names]
    table = pa.table({'image': names, 'rank': list(range(len(names))), 'label': label, 'source': names, 'video': names})
    subset = Subset.from_ranking(table, {'mmdel': '<b>1</b>', 'selector': {'type': '</script>'}}, kept=len(names) // 2)
    row = np.where(subset.keep, -1, 0)
    cosine = np.where(subset.keep, np.nan, 0.5).astype(np.float32)
    return subset, NearestKept(cosine, row, True)


def test_names__are_text(tmp_path):
    subset, nearest = hostile()
    page = write_report(tmp_path, subset, Findings(nearest, unreadable=[(HOSTILE[0], HOSTILE[1])], config=HOSTILE[3]))
    reader = Reader(page.read_text())
    assert reader.tags.count('script') == 2 and 'b' in reader.tags
    assert not [
        attribute for attribute in reader.attributes if attribute[1].startswith('on') or attribute[1] == 'srcdoc'
    ]
    assert not [a for a in reader.attributes if a[1] in ('src', 'href') and not a[2].startswith(('data:', '#'))]
    for name in HOSTILE[:5]:
        assert name in reader.text
    assert '49.jpg' not in reader.text  # a template in a name is no template
    assert 'x' * 400 not in page.read_text().split('id="numbers"')[0]
    assert '\u202e' not in reader.text and '\x00' not in page.read_text()


def leaky(subset, leak):
    """Every image of a subset beside a test image of the same name, of sets of all names."""
    pairs = [
        Leak(name, name, name, f'/nowhere/{name}', 0.9, 0.99 if leak else 0.7, bool(i % 2), leak)
        for i, name in enumerate(subset.images)
    ]
    sets = tuple(CheckedSet(name, 'val_dataloader', 9, 1, '') for name in subset.images)
    return LeakReport(LeakRule(), len(pairs), sets, tuple(pairs))


@pytest.mark.parametrize('leak', [True, False])
def test_leaks__names_are_text_and_kept_copies_a_warning(tmp_path, leak):
    subset, nearest = hostile()
    page = write_report(tmp_path, subset, Findings(nearest, leaks=leaky(subset, leak)))
    text, reader = page.read_text(), Reader(page.read_text())
    section = Reader(text[text.index('<section id="leaks">') : text.index('<section id="conflicts">')])
    assert section.tags.count('article') == len(HOSTILE) and not {'script', 'img'} & set(section.tags)
    assert not [name for _, name, _ in reader.attributes if name.startswith('on')]
    assert not [a for a in reader.attributes if a[1] in ('src', 'href') and not a[2].startswith(('data:', '#'))]
    assert '49.jpg' not in reader.text and HOSTILE[1] in section.text
    assert (f'{len(subset.kept)} kept images are copies' in reader.text) is leak
    assert 'names no test images' in section.text and 'cannot be read' in section.text


def test_leaks__nobody_looked_for_have_no_section(tmp_path):
    subset, nearest = hostile()
    assert 'id="leaks"' not in write_report(tmp_path, subset, Findings(nearest)).read_text()
    none = LeakReport(LeakRule(), 7, (CheckedSet('mine', 'folder', 3, 0, ''),), ())
    text = write_report(tmp_path, subset, Findings(nearest, leaks=none)).read_text()
    assert 'None of them is a copy of a test image' in text and 'mine: 3' in text


def test_names__alert_in_no_browser(tmp_path, browser):
    subset, nearest = hostile()
    page = write_report(tmp_path, subset, Findings(nearest, unreadable=[(HOSTILE[1], HOSTILE[0])], config=HOSTILE[0]))
    browser.open(page)
    assert browser.js('document.querySelectorAll("main script, main b > img").length') == 0
    assert browser.messages() == [] and browser.requests() == [page.as_uri()]


# --- in a browser


def test_browser__no_message_no_request_every_picture_loads(page, browser):
    browser.open(page)
    assert browser.messages() == []
    assert browser.requests() == [page.as_uri()]
    assert browser.js('document.images.length') > 20
    assert browser.js('[...document.images].every(i => i.complete && i.naturalWidth > 0)')


@pytest.mark.parametrize('width', [1280, 390])
@pytest.mark.parametrize('dark', [False, True])
def test_browser__fits_the_width(page, browser, artefacts, width, dark):
    browser.open(page, width=width, dark=dark)
    browser.shot(artefacts / f'report-{width}-{"dark" if dark else "light"}.png')
    assert browser.js('document.documentElement.scrollWidth') <= width
    background = browser.js('getComputedStyle(document.body).backgroundColor')
    shade = sum(map(int, re.findall(r'\d+', background)[:3])) / 3
    assert (shade < 60) is dark
    ink = browser.js('getComputedStyle(document.querySelector("svg text")).fill')
    assert (sum(map(int, re.findall(r'\d+', ink)[:3])) / 3 > 180) is dark  # figures follow


def visible(browser, attribute):
    script = """[...document.querySelectorAll('#groups > article')]
        .filter(a => getComputedStyle(a).display != 'none').map(a => a.getAttribute(arguments[0]))"""
    return browser.js(script, attribute)


def test_browser__orders_and_filters(page, browser):
    browser.open(page)
    assert [int(v) for v in visible(browser, 'data-first')] == sorted(int(v) for v in visible(browser, 'data-first'))
    browser.choose('order', 'size')
    sizes = [-int(v) for v in visible(browser, 'data-size')]
    assert sizes == sorted(sizes, reverse=True)
    browser.choose('order', 'lowest')
    lowest = [float(v) for v in visible(browser, 'data-lowest')]
    assert lowest == sorted(lowest)
    everything = len(lowest)
    for name in ('source', 'label'):
        values = browser.js(f'[...document.getElementById("controls").elements.{name}.options].map(o => o.value)')
        counts = []
        for value in values[1:]:
            browser.choose(name, value)
            found = visible(browser, f'data-{name}')
            assert found and all(value in own.split(' ') for own in found)
            counts.append(len(found))
        browser.choose(name, '')
        assert len(visible(browser, 'data-first')) == everything and min(counts) < everything


def test_browser__a_click_enlarges_kept_and_removed_side_by_side(page, browser):
    browser.open(page)
    assert not browser.js('document.getElementById("large").open')
    browser.click('#groups .removed .look')
    assert browser.js('document.getElementById("large").open')
    assert browser.js('document.querySelectorAll("#stage img").length') == 2
    assert browser.js('document.querySelector("#stage img").getBoundingClientRect().width') > 250
    browser.click('#large button')
    assert not browser.js('document.getElementById("large").open')


def test_browser__prints_dark_on_white(page, browser, artefacts):
    browser.open(page, dark=True)
    browser.pdf(artefacts / 'report.pdf')
    assert (artefacts / 'report.pdf').read_bytes().startswith(b'%PDF')
    browser.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': 'print'})
    try:
        assert browser.js('getComputedStyle(document.body).backgroundColor') == 'rgb(255, 255, 255)'
        assert browser.js('getComputedStyle(document.querySelector("nav")).display') == 'none'
    finally:
        browser.driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'media': ''})


def test_browser__without_pictures_names_are_left(tmp_path, browser):
    subset, nearest = hostile()
    page = write_report(tmp_path, subset, Findings(nearest))
    browser.open(page, width=390)
    assert browser.js('document.images.length') == 0
    assert browser.js('document.documentElement.scrollWidth') <= 390
