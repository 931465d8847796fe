"""The paper's tables from results that went through the collector."""

import csv
import io

import numpy as np
import pytest

from mmdel.study import collect, make_plan, read_study
from mmdel.study.outputs import DONE, FAILED, Record, write_record
from mmdel.study.plan import EVALUATE, FINETUNE, PRETRAIN, SELECT
from mmdel.study.report.paper_tables import normdel_table, paper_tables
from mmdel.study.report.published import EPOCHS_4, RETENTIONS, TABLE_2, TABLE_3, TABLE_4
from mmdel.study.results import finished_row
from mmdel.study.statistics import samples
from mmdel.subset import size_at


def finish(plan, cell, value, images=88_282):
    """Record the evaluation of a cell as if all of its runs had ended, with this figure."""
    records = {}
    for name in cell.runs:
        run = plan.runs[name]
        if run.kind == SELECT:
            kept = size_at(cell.ratio, images)
            results = {
                'subset': 'x',
                'images': images,
                'kept': kept,
                'ratio': kept / images,
                'eta': None,
                'embedder': None,
            }
        elif run.kind == PRETRAIN:
            epochs = round(200 / cell.ratio)
            tenths = {str(epochs * part // 10): f'epoch_{epochs * part // 10}.pth' for part in range(1, 11)}
            results = {'epochs': epochs, 'checkpoints': tenths, 'weights': dict.fromkeys(tenths.values(), 'w')}
        elif run.kind == FINETUNE:
            results = {'iterations': 1, 'weights': 'w', 'validations': [], 'checkpoint': 'iter_1.pth'}
        else:
            results = {'metrics': {'mIoU': value}}
        records[run.kind] = Record(DONE, run.digest, results=results)
    row = finished_row(plan, cell, records)
    records[EVALUATE].results['row'] = row
    write_record(plan.study.work_dir, plan.runs[cell.runs[-1]], records[EVALUATE])


@pytest.fixture(scope='module')
def results(paper):
    """The published mIoU of Tables 3 and 4, as if a study had measured them."""
    for cell in paper.cells:
        if cell.group not in ('MedDEL', 'all images'):
            continue
        value = TABLE_3[cell.downstream][cell.ratio][0]
        if cell.share < 1:
            value = TABLE_4[cell.downstream][cell.ratio][round(cell.share * max(EPOCHS_4[cell.ratio]))]
        finish(paper, cell, value)
    return collect(paper)


def read(table):
    """Rows of the CSV as dicts."""
    return list(csv.DictReader(io.StringIO(table.csv())))


def test_table_3__normdel_of_the_published_miou_is_the_published_normdel(results):
    found = samples(results.planned)
    checked = 0
    for key, sample in found.items():
        if key.share == 1 and sample.values:
            printed = TABLE_3[key.downstream][key.ratio][1]
            assert sample.normdel(1.0) == pytest.approx(printed, abs=0.0062), key
            checked += 1
    assert checked == 48


def test_table_3__rendered_beside_the_published_values(results):
    table = normdel_table(samples(results.planned), 1.0)
    rows = read(table)
    for name in TABLE_3:
        ours, paper = [next(row for row in rows if (row['set'], row['selector']) == (name, who))
                       for who in ('MedDEL', 'published')]  # fmt: skip
        for ratio in RETENTIONS:
            head = f'{100 * ratio:g} %'
            assert ours[f'{head} metric'] == paper[f'{head} metric'] == f'{TABLE_3[name][ratio][0]:.2f}'
            assert abs(float(ours[f'{head} NormDEL']) - float(paper[f'{head} NormDEL'])) < 0.0062 + 0.005
    line = next(line for line in table.markdown().splitlines() if line.startswith('| Kvasir-SEG | published'))
    assert line == (
        '| Kvasir-SEG | published | 75.45 | 67.21 | 75.74 | 66.49 | 76.37 | 65.14 | 76.03 | 63.33 | 76.77 | 61.43 | 76.02 '
        '| 56.95 |'
    )
    assert 'Kvasir-SEG & published & 75.45 & 67.21 &' in table.latex()
    assert '<td>published</td><td class="number">75.45</td>' in table.html()


def test_table_2__ours_beside_the_paper(results):
    (table,) = [table for table in paper_tables(results) if table.name == 'table_2']
    rows = {(row['selector'], row['asked']): row for row in read(table)}
    assert len(rows) == 6
    row = rows['MedDEL', '20 %']
    assert (row['kept'], row['epochs']) == ('17,656 of 88,282', '1,000')
    assert (row['eta (paper)'], row['kept (paper)'], row['epochs (paper)']) == ('0.8', '16,789', '1,000')
    assert rows['all images', '100 %']['epochs'] == '200'
    assert all(14e6 < setting.kept * setting.epochs < 19e6 for setting in TABLE_2.values())


def test_table_4__shorter_pretraining_beside_the_paper(results):
    (table,) = [table for table in paper_tables(results) if table.name == 'table_4']
    assert len(table.columns) == 2 + 8 + 6
    rows = read(table)
    assert len(rows) == 2 * 8
    for ours, paper in zip(rows[::2], rows[1::2], strict=True):
        assert list(ours.values())[2:] == list(paper.values())[2:]
    assert rows[0]['20 %: 50%'] == f'{TABLE_4["Kvasir-Instrument"][0.2][500]:.2f}'
    for name, by_ratio in TABLE_4.items():
        for ratio, by_epoch in by_ratio.items():
            assert by_epoch[max(by_epoch)] == TABLE_3[name][ratio][0]  # the paper agrees with itself


def test_sweep__of_the_published_miou_turns_where_the_metric_does(results):
    tables = {table.name: table for table in paper_tables(results)}
    row = next(row for row in read(tables['normdel']) if (row['set'], row['result']) == ('Kvasir-SEG', 'MedDEL 5 %'))
    assert row['1'] == '67.21 *'
    turns = [row for row in read(tables['normdel_turns']) if row['set'] == 'Kvasir-SEG']
    alphas = [float(row['alpha']) for row in turns]
    assert alphas == sorted(alphas)
    first = next(row for row in turns if (row['leads below'], row['leads above']) == ('MedDEL 50 %', 'MedDEL 20 %'))
    assert float(first['alpha']) == pytest.approx(np.log(0.7677 / 0.7637) / 0.3, abs=2e-4)
    assert first['new best'] == 'yes'


def test_cells_without_a_value__are_listed_and_no_mean_is_silent_about_them(little, tmp_path):
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, little.LARGER))))
    for number, cell in enumerate(plan.cells):
        if (cell.group, cell.seed) not in (('near', 1), ('drawn', 0), ('drawn', 1)):
            finish(plan, cell, 60.0 + number, images=4)
    failed = next(cell for cell in plan.cells if (cell.group, cell.seed) == ('near', 1))
    run = plan.runs[failed.runs[1]]
    write_record(plan.study.work_dir, run, Record(FAILED, run.digest, message='exit status 1: boom'))
    results = collect(plan)
    tables = {table.name: table for table in paper_tables(results, baselines=('drawn',))}
    rows = {row['selector']: row for row in read(tables['selectors'])}
    assert rows['near']['50 %'] == '60.00 (1 of 2 seeds)'
    assert rows['drawn']['50 %'] == 'missing'
    assert 'no seed in common' in tables['comparisons'].csv()
    assert rows['random encoder']['no pre-training on this pool'].count('±') == 1
    listed = {(row['selector'], row['seed']): row for row in read(tables['not_done'])}
    assert set(listed) == {('near', '1'), ('drawn', '0'), ('drawn', '1')}
    assert listed['near', '1']['status'] == 'failed' and 'boom' in listed['near', '1']['why']
    assert listed['near', '1']['log'] == f'records/{run.name}.log'
    assert listed['drawn', '0']['why'] == 'not run yet'
    assert '(1 of 2 seeds)' in tables['table_3'].csv() and '(1 of 2 seeds)' in tables['normdel'].csv()


@pytest.mark.parametrize(('random', 'passes'), [((50.0, 51.0), 'yes'), ((60.0, 66.0), 'no')])
def test_references__the_gate(little, tmp_path, random, passes):
    plan = make_plan(read_study(str(little.write_little_study(tmp_path, little.LARGER))))
    values = {'all images': (64.0, 66.0), 'random encoder': random}
    for cell in plan.cells:
        if cell.group in values:
            finish(plan, cell, values[cell.group][cell.seed], images=4)
    (table,) = [table for table in paper_tables(collect(plan)) if table.name == 'references']
    (row,) = read(table)
    variance = (np.var((64, 66), ddof=1) + np.var(random, ddof=1)) / 2
    assert row['in SD'] == f'{(65 - np.mean(random)) / np.sqrt(variance):+.1f}'
    assert row['above 2 SD'] == passes
