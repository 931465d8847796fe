"""The demo as people see it: its steps, its progress, and a step that fails. The loop itself runs in `make demo`."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from mmdel.cli import demo as module
from mmdel.cli.command import parse, start
from mmdel.cli.main import load


@pytest.fixture
def demo(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module.LOGS.mkdir(parents=True)
    return module


def test_step__shows_the_command_and_keeps_its_output_in_a_log(demo, tmp_path):
    (tmp_path / 'train.py').write_text("print('a line of the log'); print('equal compute: 5 epochs')")
    console = Console(file=io.StringIO(), width=200)
    demo.step(console, 'Pre-train', 'train.py', 'configs/tiny.py', '--names', '20 %')
    shown = console.file.getvalue()
    assert "python train.py configs/tiny.py --names '20 %'" in shown
    assert 'equal compute: 5 epochs' in shown
    assert 'a line of the log' not in shown
    assert 'a line of the log' in (demo.LOGS / 'tiny.log').read_text()


@pytest.mark.parametrize('quiet', [True, False])
def test_step_that_fails__ends_the_demo_with_its_status(demo, tmp_path, quiet):
    (tmp_path / 'train.py').write_text("print('what went wrong'); raise SystemExit(3)")
    console = Console(file=io.StringIO(), width=200)
    with pytest.raises(SystemExit) as end:
        demo.step(console, 'Pre-train', 'train.py', 'tiny.py', quiet=quiet)
    assert end.value.code == 3
    assert not quiet or 'what went wrong' in console.file.getvalue()


def test_latest__is_the_checkpoint_that_mmengine_notes(demo):
    run = demo.WORK / 'mae'
    run.mkdir()
    (run / 'last_checkpoint').write_text('/elsewhere/mae/epoch_7.pth')
    assert demo.latest('mae') == str(run / 'epoch_7.pth')


@pytest.mark.parametrize('option', [(), ('--quick',)])
def test_demo__every_command_is_one_that_mmdel_takes(demo, monkeypatch, capsys, option):
    commands = []
    monkeypatch.setenv('LOCAL_RANK', '0')  # a training sets it
    monkeypatch.setattr(demo, 'step', lambda console, title, *command, **_: commands.append(command))
    monkeypatch.setattr(demo, 'latest', lambda run: f'{run}.pth')
    start(demo.COMMAND, option)
    assert len(commands) == (2 if option else 11)
    for command in commands:
        assert command[:2] == ('-m', 'mmdel')
        args = parse(load(command[2]), command[3:])
        assert Path(getattr(args, 'config', __file__)).is_file(), command
