"""An entry of the catalogue is all that a downstream set needs: its class, its converter and its configs come from it."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from PIL import Image

from mmdel.datadel.assembly import assemble, assembly
from mmdel.datadel.catalog import ASKED, CATALOG
from mmdel.datadel.catalog_entry import BLACK, CYAN, YELLOW, Entry
from mmdel.datadel.config_files import config_files, write_missing
from mmdel.datadel.converters.pairs import PairConverter, by_folder
from mmdel.datasets.endoscopy_seg import EndoscopySegDataset, dataset_class
from mmdel.registry import DATASETS as OURS

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'

ENTRY = Entry(
    id='gut-ulcers',
    name='Gut-Ulcers',
    task='Segmentation',
    centres=1,
    frames=4,
    disease='ulcer',
    citation='Nobody et al.',
    licence='CC0',
    page='https://example.org/',
    archives=('gut-ulcers.zip',),
    layout=('gut-ulcers/{images,masks}/NAME.png',),
    expected={'pairs': 4},
    dataset='mmdel.GutUlcersDataset',
    about='Gut-Ulcers: four frames that nobody took.',
    classes={'background': BLACK, 'ulcer': CYAN, 'scar': YELLOW},
    converter=PairConverter(by_folder('gut-ulcers')),
)


@pytest.fixture
def entry(monkeypatch):
    """In the catalogue."""
    monkeypatch.setitem(CATALOG, ENTRY.id, ENTRY)
    monkeypatch.setattr(assembly, 'ASKED', (*ASKED, ENTRY))
    return ENTRY


@pytest.fixture(scope='module')
def made():
    """Registered for the time of these tests."""
    yield dataset_class(ENTRY)
    OURS.module_dict.pop('GutUlcersDataset')


def test_class__has_the_name_the_docstring_and_the_classes_of_the_entry(made):
    assert (made.__name__, made.__doc__) == ('GutUlcersDataset', ENTRY.about)
    assert issubclass(made, EndoscopySegDataset)
    assert (
        dict(classes=('background', 'ulcer', 'scar'), palette=[[0, 0, 0], [0, 255, 255], [255, 255, 0]])
        == made.METAINFO
    )


def test_download__is_recognised_assembled_split_and_read_by_the_config(entry, made, tmp_path, monkeypatch):
    for number in range(4):
        for kind, values in (('images', np.full((6, 8, 3), number)), ('masks', np.full((6, 8), number % 3))):
            path = tmp_path / 'downloads' / 'gut-ulcers' / kind / f'{number}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(path)
    reports, strays = assemble([tmp_path / 'downloads'], tmp_path / 'data' / 'datadel', [entry.id])
    assert (reports[entry.id].status, reports[entry.id].found, strays) == ('complete', {'pairs': 4}, [])

    shutil.copytree(CONFIGS, tmp_path / 'configs')
    written = write_missing(tmp_path / 'configs')
    assert written == [tmp_path / 'configs' / name for name in config_files(entry)]
    assert write_missing(tmp_path / 'configs') == []
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmseg')
    for path in written[1:]:
        cfg = Config.fromfile(path)
        assert cfg.model.decode_head.num_classes == 3
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        assert type(dataset) is made
        assert len(dataset) == 2
        assert dataset.get_data_info(0)['mask_kind'] == 'index'


@pytest.mark.parametrize('name', [entry.id for entry in CATALOG.values() if entry.division == 'downstream'])
def test_configs__are_what_the_catalogue_gives(name):
    for path, text in config_files(CATALOG[name]).items():
        assert (CONFIGS / path).read_text(encoding='utf-8') == text, 'python -m mmdel.datadel.config_files configs'


def test_readme_of_the_configs__lists_every_downstream_set():
    readme = (CONFIGS / 'segmentation' / 'README.md').read_text(encoding='utf-8')
    for entry in CATALOG.values():
        if entry.division == 'downstream':
            assert f'| `{entry.id}` | ' in readme and f' | {entry.frames:,} | ' in readme, entry.id


def test_catalogue__classes_are_given_for_downstream_sets_alone():
    for entry in CATALOG.values():
        assert bool(entry.classes) == (entry.division == 'downstream')
        assert bool(entry.about) == (entry.division == 'downstream')
