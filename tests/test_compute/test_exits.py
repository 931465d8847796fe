"""Every command ends in one of three ways."""

import pytest

from mmdel.compute.exits import end_with
from mmdel.errors import ConfigError


def end(run):
    with pytest.raises(SystemExit) as ended:
        end_with(run, ['argument'])
    return ended.value.code


def test_status__is_that_of_the_command(capsys):
    end_with(lambda args: None, None)
    end_with(lambda args: 0, None)
    assert end(len) == 1
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('error', [ConfigError('no such key'), ModuleNotFoundError("No module named 'faiss'")])
def test_mistake__is_one_line(error, capsys):
    def run(args):
        raise error

    assert end(run) == 2
    assert capsys.readouterr() == ('', f'error: {error}\n')


def test_bug__keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        end_with(lambda args: 1 / 0, None)
