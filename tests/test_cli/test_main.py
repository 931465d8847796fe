"""The command `mmdel`: what it takes, what it says, and how it ends."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmdel.cli import arguments
from mmdel.cli.command import Command, Outcome, start
from mmdel.cli.main import ENTRIES, load, main

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs' / 'commands.md').read_text(encoding='utf-8')
HEAVY = ('torch', 'numpy', 'mmengine', 'rich', 'pyarrow', 'cv2')


@pytest.fixture
def mmdel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """``mmdel('select', ...)`` in an empty folder; returns (exit status, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('COLUMNS', '200')

    def call(*words: object) -> tuple:
        status = 0
        try:
            main([str(word) for word in words])
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *capsys.readouterr()

    return call


def test_help__names_every_command_with_what_it_does(mmdel: Callable[..., tuple]) -> None:
    for words in ((), ('--help',)):
        status, said, _ = mmdel(*words)
        assert status == 0
        for name, entry in ENTRIES.items():
            assert re.search(rf'^  {name} +{re.escape(entry.summary)}$', said, re.MULTILINE), name


def test_help__imports_nothing_that_takes_time() -> None:
    program = (
        'import sys\nfrom mmdel.cli.main import ENTRIES, load, main\n'
        'try:\n    main(["--help"])\nexcept SystemExit:\n    pass\n'
        f'heavy = set({HEAVY}) & set(sys.modules)\nassert not heavy, heavy\n'
        'commands = [name for name in sys.modules if name.startswith("mmdel.cli.")]\n'
        'assert set(commands) == {"mmdel.cli.main", "mmdel.cli.arguments", "mmdel.cli.command"}, commands\n'
        f'for name in ENTRIES:\n    load(name)\nheavy = set({HEAVY}) & set(sys.modules)\nassert not heavy, heavy\n'
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize('name', ENTRIES)
def test_help_of_a_command__says_what_it_does_and_how_it_is_called(mmdel: Callable[..., tuple], name: str) -> None:
    status, said, _ = mmdel(name, '--help')
    assert status == 0 and said.startswith(f'usage: mmdel {name} ')
    assert ' '.join(load(name).description.split())[:60] in ' '.join(said.split())


@pytest.mark.parametrize(
    ('words', 'expected'),
    [
        (['selct'], "there is no command 'selct'; did you mean select?"),
        (['select', 'x', '--rato', '0.5'], "there is no option '--rato'; did you mean --ratio?"),
        (['select', 'x'], 'say how much to keep: --ratio 0.05'),
        (['select', '--ratio', '0.05'], 'name the folder of your images'),
        (['select', 'x', '--images', 'y', '--ratio', '0.05'], 'given twice'),
        (['select', 'nowhere', '--ratio', '0.05'], 'nowhere is not there'),
        (['select', '--config', 'medel_eta08', '--ratio', '0.05'], 'Did you mean meddel_eta08?'),
        (['configs', 'show'], 'show and copy take the name of a config'),
        (['configs', 'list', 'meddel_eta08'], 'list takes none'),
    ],
)
def test_mistake__is_one_line_that_helps(mmdel: Callable[..., tuple], words: list[str], expected: str) -> None:
    status, out, said = mmdel(*words)
    assert status == arguments.MISTAKE and expected in out + said
    assert [line.startswith('error: ') for line in said.splitlines() if 'method: ' not in line] == [True]


def test_page__has_every_command_and_every_key() -> None:
    for name, entry in ENTRIES.items():
        assert f'\n| `{name}` | {entry.summary} |' in PAGE, name
        keys = ''.join(f'| `{key}` | {text} |\n' for key, text in load(name).summary.items())
        assert not keys or f'| `mmdel {name} --json` | |\n|---|---|\n{keys}\n' in PAGE, name


def test_json__is_all_that_stands_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    def run(args: object) -> Outcome:
        print('a table')
        return Outcome({'kept': 1}, status=1)

    command = Command('Says a lot.', lambda parser: None, run, summary={'kept': 'images'})
    with pytest.raises(SystemExit, match='1'):
        start(command, ['--json'])
    assert capsys.readouterr() == ('{"kept": 1}\n', 'a table\n')
    with pytest.raises(SystemExit, match='1'):
        start(command, [])
    assert capsys.readouterr() == ('a table\n', '')


def test_json__of_a_command__has_the_keys_that_the_page_names(
    mmdel: Callable[..., tuple], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = mmdel('configs', '--json')
    assert status == 0 and json.loads(out).keys() == load('configs').summary.keys()


def test_every_tool__is_a_door_to_a_command() -> None:
    """A script in tools/ holds nothing that an installed package would lack."""
    for path in (ROOT / 'tools').rglob('*.py'):
        text = path.read_text(encoding='utf-8')
        assert len(text.splitlines()) <= 25 and re.search(r'^from mmdel\.cli\.\w+ import ', text, re.MULTILINE), path


def test_completion__knows_commands_options_and_names() -> None:
    pytest.importorskip('argcomplete')
    for typed, expected in (
        ('mmdel train mae_tiny_', 'mae_tiny_subset'),
        ('mmdel select x --enc', '--encoder'),
    ):
        environment = {
            **os.environ, 'PYTHONPATH': str(ROOT), '_ARGCOMPLETE': '1', 'COMP_LINE': typed, 'COMP_POINT': str(len(typed)),
            'COMP_TYPE': '9', '_ARGCOMPLETE_IFS': '\n',
        }  # fmt: skip
        program = 'import os\nos.dup2(1, 8)\nfrom mmdel.cli.main import main\nmain()\n'
        done = subprocess.run(
            [sys.executable, '-c', program], capture_output=True, text=True, env=environment, timeout=60
        )
        assert expected in done.stdout.split(), (typed, done)
