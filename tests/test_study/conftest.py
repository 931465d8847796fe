"""A study that runs in a second, see ``little_study.py``."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope='session')
def little() -> ModuleType:
    """The module that writes such a study and looks at what became of it."""
    spec = importlib.util.spec_from_file_location('little_study', Path(__file__).with_name('little_study.py'))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
