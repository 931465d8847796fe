import csv
import io
import re

from mmdel.study.report.tables import Table

TABLE = Table('t', 'A & B', ('set', 'a|b %'), (('x_1', '1 ± 2'), ('<b>', '~^\\')), ('50 % note',))


def test_markdown__pipes_do_not_break_it():
    assert TABLE.markdown().splitlines() == [
        '**A & B**', '', r'| set | a\|b % |', '| --- | ---: |', '| x_1 | 1 ± 2 |', '| <b> | ~^\\ |', '', '50 % note',
    ]  # fmt: skip


def test_latex__every_special_character_is_escaped():
    text = TABLE.latex()
    assert r'x\_1 & 1 $\pm$ 2 \\' in text
    assert r'$<$b$>$ & \textasciitilde{}\textasciicircum{}\textbackslash{} \\' in text
    assert r'\caption{A \& B. 50 \% note}' in text
    assert r'\begin{tabular}{lr}' in text
    assert len(re.findall(r'(?<!\\)&', text)) == 3


def test_csv__is_read_back():
    assert list(csv.reader(io.StringIO(TABLE.csv()))) == [list(TABLE.columns), *map(list, TABLE.rows)]


def test_html__nothing_in_a_cell_is_markup():
    text = TABLE.html()
    assert '<td>&lt;b&gt;</td>' in text and '<b>' not in text
    assert '<td class="number">1 ± 2</td>' in text


def test_write__three_files(tmp_path):
    TABLE.write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['t.csv', 't.md', 't.tex']
