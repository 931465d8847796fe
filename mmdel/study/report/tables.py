"""A table of text, and how Markdown, LaTeX, CSV and HTML write it.

table = Table('table_2', 'Settings', ('eta', 'kept'), (('0.8', '16,789'),))
table.markdown()
"""

import html
from dataclasses import dataclass
from pathlib import Path

from mmdel.compute.files import csv_text, write_text

_LATEX = {
    **{character: f'\\{character}' for character in '&%$#_{}'},
    '\\': r'\textbackslash{}',
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '±': r'$\pm$',
    '<': r'$<$',
    '>': r'$>$',
}


@dataclass(frozen=True)
class Table:
    """Rows of text under headings.

    Args:
        name (str): Stem of its files.
        title (str): What it shows.
        columns (tuple[str, ...]): Headings.
        rows (tuple[tuple[str, ...], ...]): As long as the headings each.
        notes (tuple[str, ...]): What a reader must know, below the table. Defaults to ().
        text_columns (int): How many columns at the left hold words and not numbers. Defaults to 1.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    text_columns: int = 1

    def markdown(self) -> str:
        """A table of GitHub's Markdown."""
        aligned = ['---' if index < self.text_columns else '---:' for index in range(len(self.columns))]
        lines = [self.columns, tuple(aligned), *self.rows]
        body = '\n'.join('| ' + ' | '.join(cell.replace('|', r'\|') for cell in line) + ' |' for line in lines)
        return '\n\n'.join([f'**{self.title}**', body, *self.notes]) + '\n'

    def latex(self) -> str:
        """A floating table; needs the package booktabs."""
        head, *body = (' & '.join(map(_latex, line)) + r' \\' for line in (self.columns, *self.rows))
        form = 'l' * self.text_columns + 'r' * (len(self.columns) - self.text_columns)
        caption = ' '.join([f'{self.title}.', *self.notes])
        lines = [r'\begin{table}', r'\centering', rf'\caption{{{_latex(caption)}}}', rf'\label{{tab:{self.name}}}']
        lines += [rf'\begin{{tabular}}{{{form}}}', r'\toprule', head, r'\midrule', *body, r'\bottomrule']
        return '\n'.join([*lines, r'\end{tabular}', r'\end{table}']) + '\n'

    def csv(self) -> str:
        """Comma-separated, with the headings."""
        return csv_text([self.columns, *self.rows])

    def html(self) -> str:
        """A ``<table>`` with its title and notes."""
        head = ''.join(f'<th>{html.escape(cell)}</th>' for cell in self.columns)
        rows = [''.join(self._cell(index, cell) for index, cell in enumerate(row)) for row in self.rows]
        body = '\n'.join(f'<tr>{row}</tr>' for row in rows)
        notes = ''.join(f'<p class="note">{html.escape(note)}</p>\n' for note in self.notes)
        return (
            f'<h2 id="{self.name}">{html.escape(self.title)}</h2>\n<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
            f'<tbody>\n{body}\n</tbody></table></div>\n{notes}'
        )

    def write(self, folder: Path) -> None:
        """Write ``<name>.md``, ``<name>.tex`` and ``<name>.csv``, atomically."""
        for suffix, text in (('md', self.markdown()), ('tex', self.latex()), ('csv', self.csv())):
            write_text(folder / f'{self.name}.{suffix}', text)

    def _cell(self, index: int, text: str) -> str:
        kind = '' if index < self.text_columns else ' class="number"'
        return f'<td{kind}>{html.escape(text)}</td>'


def _latex(text: str) -> str:
    return ''.join(_LATEX.get(character, character) for character in text)
