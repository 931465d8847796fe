"""Every key that a dedup config may have is known, documented, and found again when it is mistyped."""

import re
from pathlib import Path

import pytest

from mmdel.config.config_file import read_config
from mmdel.engine import config_page
from mmdel.engine.dedup_config import KEYS, build_part, check_dedup_config
from mmdel.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = sorted([*ROOT.glob('configs/meddel*.py'), *ROOT.glob('configs/demo/meddel*.py')])
PARTS = sorted([*ROOT.glob('configs/_base_/embedders/*.py'), *ROOT.glob('configs/_base_/selectors/*.py')])
MINIMAL = dict(
    work_dir='out', selector=dict(type='mmdel.MedDEL'), embedder=dict(type='mmdel.PixelEmbedder'),
    dataset=dict(type='mmdel.DataDEL', data_root='images'),
)  # fmt: skip


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs__pass(path):
    check_dedup_config({**read_config(str(path)), 'work_dir': 'out'})


@pytest.mark.parametrize('path', PARTS, ids=lambda path: path.stem)
def test_shipped_parts__pass(path):
    part = read_config(str(path))
    check_dedup_config({**MINIMAL, **part})
    # nothing of the default is left in the way
    assert set(part) < {'embedder', 'selector'}


def test_every_key__is_found_again_when_a_letter_is_missing():
    for name in KEYS:
        with pytest.raises(ConfigError, match=rf'Did you mean {name}\?'):
            check_dedup_config({**MINIMAL, name[:-1]: 1})


@pytest.mark.parametrize(
    ('part', 'kind'),
    [
        (section[1], section[2])
        for section in re.finditer(
            r"^## `(embedder|selector) = dict\(type='(mmdel\.\w+)'\)`", config_page.markdown(), re.M
        )
    ],
)
def test_every_key_of_a_part__is_found_again_when_letters_change_places(part, kind):
    text = config_page.markdown().partition(f"{part} = dict(type='{kind}')")[2].partition('\n## ')[0]
    names = re.findall(r'^\| `(\w+)` \|', text, re.MULTILINE)
    assert names
    for name in names:
        wrong = name[:-2] + name[-1] + name[-2]
        if wrong in names or wrong == name:
            continue
        with pytest.raises(ConfigError, match=rf'Did you mean {part}\.{name}\?'):
            check_dedup_config({**MINIMAL, part: {'type': kind, wrong: 1}})


def test_missing_keys__are_named():
    with pytest.raises(ConfigError, match="lacks the key 'selector'"):
        check_dedup_config({**MINIMAL, 'selector': None})
    with pytest.raises(ConfigError, match="dataset lacks 'data_root', without which there is no mmdel.DataDEL"):
        check_dedup_config({**MINIMAL, 'dataset': dict(type='mmdel.DataDEL')})
    with pytest.raises(ConfigError, match='embedder lacks its type, such as embedder.type=mmdel.ViTEmbedder'):
        check_dedup_config({**MINIMAL, 'embedder': dict(batch_size=3)})


def test_dataset_of_another_library__is_checked_by_names_only():
    dataset = dict(type='CustomDataset', data_root=5, with_label=False)
    check_dedup_config({**MINIMAL, 'dataset': dataset})
    with pytest.raises(ConfigError, match='with_lable'):
        build_part('dataset', dict(type='mmpretrain.CustomDataset', data_root='x', with_lable=False))


def test_parts_without_images__are_checked_where_no_library_is_needed():
    foreign = {**MINIMAL, 'dataset': dict(type='no_such_library.Dataset'), 'default_scope': 'mmpretrain'}
    check_dedup_config(foreign, uses_images=False)
    with pytest.raises(ConfigError, match='there is no such dataset'):
        check_dedup_config(foreign)


def test_page__is_what_the_code_says():
    written = 'python -m mmdel.engine.config_page > docs/config.md'
    assert (ROOT / 'docs' / 'config.md').read_text(encoding='utf-8') == config_page.markdown(), written
