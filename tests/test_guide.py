"""The user guide does what it says: its Python and its commands run, in a folder that holds what the pages speak of.

What cannot run here is marked in its page, directly before the block: ``<!-- not run: needs a cluster -->``.
"""

import json
import re
import runpy
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmdel.cli import main as command
from mmdel.embedding import reader
from mmdel.engine import select as from_python
from mmdel.engine.dedup_config import check_dedup_config
from mmdel.registry import EMBEDDERS, SELECTORS

ROOT = Path(__file__).resolve().parents[1]
INDEX = (ROOT / 'docs' / 'index.md').read_text('utf-8')
GUIDE = re.findall(r'<(\w+)>', re.search(r':caption: User guide\n(.*?)```', INDEX, re.DOTALL)[1])
PAGES = {'start': ROOT / 'README.md', **{name: ROOT / 'docs' / f'{name}.md' for name in ('python', *GUIDE)}}

BLOCK = re.compile(
    r'^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>python|bash|shell|console)\n(?P<text>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)

CONFIG = 'configs/meddel_eta08.py'
"""The config that the guide chooses by; lines of a config stand behind it as their base."""

FILES = {
    'videos': ('my_config.py',),
    'leaks': ('my_config.py',),
    'encoders': ('my_config.py',),
    'training': ('configs/demo/mae_cached.py',),
    'custom_embedder': ('my_embedder.py', 'my_config.py'),
    'custom_selector': ('my_selectors.py', 'thinning.py', 'configs/study/thinning.py'),
}
"""Where the Python of a page is saved; on the other pages it is a program."""

PLACEHOLDERS = {'KEY': 'a/0000.png', 'CONFIG...': 'my/test'}
"""What a reader puts in; `work_dirs/RUN` and `work_dirs/OLD` are the last run."""

COUNT = 220


@dataclass(frozen=True)
class Block:
    """What stands between two fences, and why it is not run ('' if it is)."""

    language: str
    text: str
    reason: str

    @property
    def commands(self) -> list[list[str]]:
        lines = self.text.replace('\\\n', ' ').splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(page: str) -> list[Block]:
    found = BLOCK.finditer(PAGES[page].read_text('utf-8'))
    return [Block(match['language'], match['text'], match['reason'] or '') for match in found]


def draw(number: int) -> np.ndarray:
    """Scenes of three pictures that hardly differ, uint8 [40, 48, 3]."""
    small = np.random.default_rng(number // 3).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return cv2.add(
        cv2.resize(small, (48, 40), interpolation=cv2.INTER_CUBIC), np.full((40, 48, 3), number % 3 * 3, np.uint8)
    )


@pytest.fixture(scope='module')
def prepared(tmp_path_factory: pytest.TempPathFactory, render_video: Callable[..., Path]) -> Path:
    """A clone with frames of two classes, a table of them, a test image, an archive of videos and stills, and a finished run."""
    clone = tmp_path_factory.mktemp('guide') / 'clone'
    shutil.copytree(ROOT / 'configs', clone / 'configs')
    frames = [f'{"ab"[number % 2]}/{number:04d}.png' for number in range(COUNT)]
    stills = [f'still/{number}.png' for number in range(4)]
    for part, names in (('frames', frames), ('archive', stills)):
        for number, name in enumerate(names):
            path = clone / 'my' / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), draw(number))
    (clone / 'my' / 'test').mkdir()
    cv2.imwrite(str(clone / 'my' / 'test' / '0.png'), draw(3 * COUNT))
    seconds = [1000 * second for second in range(12)]
    for number in range(3):
        render_video(clone / 'my' / 'archive' / f'{number}.mp4', 12, times=seconds, start=40 * number)
    rows = (f'{key},patient {number % 2},video {number % 5}\n' for number, key in enumerate(frames))
    (clone / 'frames.csv').write_text('key,patient,video\n' + ''.join(rows))
    (clone / 'bad.txt').write_text(f'{frames[1]}\n')
    (clone / 'data').mkdir()
    images = [dict(id=number, file_name=name) for number, name in enumerate(stills)]
    (clone / 'data' / 'train.json').write_text(json.dumps(dict(images=images, annotations=[], categories=[])))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        patch.setattr(reader, 'MAX_WORKERS', 0)
        run(['mmdel', 'select', 'my/frames', '--ratio', '0.05'])
    return clone


@pytest.fixture
def clone(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, and where Python looks for modules."""
    shutil.copytree(prepared, tmp_path / 'clone')
    monkeypatch.chdir(tmp_path / 'clone')
    monkeypatch.syspath_prepend(tmp_path / 'clone')  # PYTHONPATH=.
    monkeypatch.setattr(reader, 'MAX_WORKERS', 0)
    for registry in (EMBEDDERS, SELECTORS):
        monkeypatch.setattr(registry, '_module_dict', dict(registry.module_dict))
    yield tmp_path / 'clone'
    for name in ('my_embedder', 'my_selectors'):
        sys.modules.pop(name, None)


def run(words: list[str]) -> None:
    """What a shell does with a line; PYTHONPATH is set already."""
    words = [word for word in words if word not in ('export', 'PYTHONPATH=.')]
    if not words:
        return
    runs = sorted(Path('work_dirs').glob('*/subset.parquet'), key=lambda path: path.stat().st_mtime_ns)
    words = [PLACEHOLDERS.get(word, word) for word in words]
    words = [runs[-1].parent.as_posix() if word in ('work_dirs/RUN', 'work_dirs/OLD') else word for word in words]
    program, *arguments = by_pixels(words)
    assert program in ('mmdel', 'python')
    status = None
    try:
        if program == 'mmdel':
            command.main(arguments)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, 'argv', arguments)
                runpy.run_path(str(ROOT / arguments[0]), run_name='__main__')
    except SystemExit as end:
        status = end.code
    assert not status, words


def by_pixels(words: list[str]) -> list[str]:
    """Commands that name no encoder would load the weights of a ViT: they get ``--encoder pixels``."""
    starts = [place for place, word in enumerate(words) if word in ('select', CONFIG)]
    if not starts or '--encoder' in words:
        return words
    return [*words[: starts[0] + 1], '--encoder', 'pixels', *words[starts[0] + 1 :]]


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in PAGES if any(not block.reason for block in blocks(page))])
def test_page__runs(page: str, clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = "_base_ = ['configs/select.py']\nembedder = dict(_delete_=True, type='mmdel.PixelEmbedder')\n"
    Path('by_pixels.py').write_text(pixels)
    # what mmdel.select takes where no encoder is named
    monkeypatch.setattr(from_python, 'DEFAULT_CONFIG', 'by_pixels.py')
    running = [block for block in blocks(page) if not block.reason]
    files, names = list(FILES.get(page, ())), {}
    for block in running:
        if block.language != 'python':
            for words in block.commands:
                run(words)
        elif page in FILES:
            save(files.pop(0), block.text)
        else:
            exec(compile(block.text, page, 'exec'), names)
    assert not files


def save(name: str, text: str) -> None:
    """A file of the page; what mmdel would read as a config is checked as it checks it."""
    is_config = name == 'my_config.py'
    Path(name).write_text(text if text.startswith('_base_') or not is_config else f"_base_ = ['{CONFIG}']\n{text}")
    if is_config:
        config = Config.fromfile(name)
        config.setdefault('work_dir', 'work_dirs/mine')  # which the command names where the file does not
        check_dedup_config(config)
    elif name.startswith('configs'):
        Config.fromfile(name)


@pytest.mark.parametrize('page', PAGES)
def test_page__names_files_and_options_that_are_there(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of blocks that are not run, too."""
    for block in blocks(page):
        for name in re.findall(r'(?:tools|configs|benchmarks)/[\w./-]+\.(?:py|sh)\b', block.text):
            assert (ROOT / name).is_file() or name in FILES.get(page, ()), name
        for tool, rest in re.findall(r'python (tools/\S+\.py)([^\n]*)', block.text.replace('\\\n', ' ')):
            run(['python', tool, '--help'])
            said = capsys.readouterr().out
            for option in re.findall(r'(?<!\S)--[\w-]+', rest.partition(' #')[0]):
                assert option in said, (tool, option)


@pytest.mark.parametrize('page', PAGES)
def test_page__says_why_a_block_is_not_run(page: str) -> None:
    text = PAGES[page].read_text('utf-8')
    reasons = [block.reason for block in blocks(page) if block.reason]
    assert all(len(reason.split()) > 1 for reason in reasons)
    assert text.count('<!-- not run') == len(reasons), 'a comment does not stand directly before a block'
    assert len(re.findall('```(?:python|bash|shell|console|sh)', text)) == len(blocks(page)), 'a block is not found'
