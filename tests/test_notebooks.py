"""The notebooks of the site run from top to bottom, and print what they are shown with.

`MMDEL_REFRESH_NOTEBOOKS=1 python -m pytest tests/test_notebooks.py` puts new outputs into them.
"""

import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / 'docs' / 'notebooks').glob('*.ipynb'))
KILOBYTES = 150
VARIES = 'varies'
"""Tag of a cell whose figures differ between versions of torch; only that it says something is checked."""

# the maintained mmengine says at every start that its publisher's library is not there
LOG = re.compile(r'^(\d\d/\d\d .* - mmengine - .*|Could not import OneDL)\n', re.MULTILINE)


def without_progress(notebook: Any) -> None:
    """Take bars and lines of a log out, which no reader needs and no two runs share."""
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            cell.outputs = [output for output in cell.outputs if output.output_type != 'display_data']
        for output in cell.get('outputs', ()):
            if 'text' in output:
                output.text = LOG.sub('', output.text)


def said(notebook: Any) -> list[str | bool]:
    """Of every cell what it prints or evaluates to, as text; pictures and pages are left out."""
    texts: list[str | bool] = []
    for cell in notebook.cells:
        outputs = cell.get('outputs', ())
        text = ''.join(output.get('text') or output.get('data', {}).get('text/plain', '') for output in outputs)
        texts.append(bool(text) if VARIES in cell.metadata.get('tags', ()) else text)
    return texts


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook__runs_and_says_what_it_is_shown_with(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv('PYTHONWARNINGS', 'ignore')
    shown = nbformat.read(path, 4)
    fresh = nbformat.read(path, 4)
    NotebookClient(fresh, timeout=120, resources={'metadata': {'path': str(tmp_path)}}, record_timing=False).execute()
    without_progress(fresh)
    if 'MMDEL_REFRESH_NOTEBOOKS' in os.environ:
        nbformat.write(fresh, path)
        return
    assert said(fresh) == said(shown)
    assert any(said(shown))


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook__is_small_and_names_no_machine(path):
    text = path.read_text(encoding='utf-8')
    assert len(text) < 1024 * KILOBYTES
    places = [Path.home(), Path(tempfile.gettempdir()), Path(__file__).resolve().parents[1]]
    assert not [place for place in places if f'{place}/' in text]


def test_notebooks__are_there():
    assert len(NOTEBOOKS) == 2
