"""The documents as a site: `make docs`. The pages are read on GitHub, too, where their links have to lead somewhere as well."""

import os
import re
from pathlib import Path

import mmdel

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent

project = 'mmdel'
author = 'the authors of mmdel'
release = version = mmdel.__version__
extensions = [
    'myst_nb',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'sphinx_copybutton',
]

html_theme = 'furo'
html_title = 'mmdel'
html_copy_source = False
html_show_copyright = False
copybutton_prompt_text = r'>>> |\.\.\. |\$ '
copybutton_prompt_is_regexp = True

nb_execution_mode = 'off'  # tests/test_notebooks.py runs them
myst_heading_anchors = 4  # links to headings are written as GitHub names them

autodoc_member_order = 'bysource'
autodoc_typehints = 'none'  # the docstrings name the types
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False

# --- pages that stand elsewhere

SHOWN = {
    page: (page.parent / match[1]).resolve()
    for page in DOCS.rglob('*.md')
    if (match := re.fullmatch(r'\[[^\]]*\]\((\S+\.md)\)\s*', page.read_text(encoding='utf-8')))
}
"""A page that is nothing but a link to a Markdown file of the repository shows that file on the site."""


def relinked(folder: Path, page: Path, text: str, link: str) -> str:
    """A link of a file in `folder` as `page` has to write it: to the page that shows its target, where one does."""
    path, mark, heading = link.partition('#')
    target = (folder / path).resolve()
    if not path or not target.exists():
        return f'[{text}]({link})'
    if target.is_dir():
        target /= 'README.md'
    target = next((shown for shown, file in SHOWN.items() if file == target), target)
    if not target.is_file():
        return text  # a folder: the site has none
    # other files than pages are downloaded as a whole
    heading = mark + heading if target.is_relative_to(DOCS) else ''
    return f'[{text}]({Path(os.path.relpath(target, page.parent)).as_posix()}{heading})'


def read(app, docname, source):
    page = Path(app.env.doc2path(docname)).resolve()
    if page.suffix != '.md':
        return
    file = SHOWN.get(page, page)
    app.env.note_dependency(str(file))
    text = file.read_text(encoding='utf-8') if file is not page else source[0]
    link = re.compile(r'\[([^\[\]]*)\]\(([^)\s:]+)\)')
    source[0] = link.sub(lambda match: relinked(file.parent, page, *match.groups()), text)


def setup(app):
    app.connect('source-read', read)
