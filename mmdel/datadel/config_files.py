"""The config files of the downstream sets, as the catalogue gives them.

    python -m mmdel.datadel.config_files configs    # writes those that are not there

For a set ``x``: the base ``_base_/segmentation/x_512x512.py``, and a recipe for each of the encoders.
"""

import sys
from pathlib import Path

from mmdel.compute.files import write_text
from mmdel.datadel.catalog import CATALOG, Entry

ENCODERS = ('mae', 'in1k')


def config_files(entry: Entry) -> dict[str, str]:
    """The text of each config of a downstream set, by its path below ``configs``."""
    loaders = '\n'.join(f'{name}_dataloader = dict(dataset=dataset)' for name in ('train', 'val', 'test'))
    dataset = f"dataset = dict(type='{entry.dataset}', data_root='data/datadel/{entry.id}')"
    files = {
        f'_base_/segmentation/{entry.id}_512x512.py': f"_base_ = ['endoscopy_512x512.py']\n\n{dataset}\n{loaders}\n"
    }
    # the base of the encoders is for two classes
    head = '' if len(entry.classes) == 2 else f'\nmodel = dict(decode_head=dict(num_classes={len(entry.classes)}))\n'
    for encoder in ENCODERS:
        bases = [f'../_base_/segmentation/{name}.py' for name in (f'{encoder}-pre', f'{entry.id}_512x512')]
        name = f'segmentation/vit-base-p16_{encoder}-pre_mlp_1xb16-20k_{entry.id}-512x512.py'
        files[name] = f'_base_ = {bases}\n{head}'
    return files


def write_missing(configs: Path) -> list[Path]:
    """Write the configs of the catalogue that are not there yet; returns their paths."""
    texts = {
        configs / name: text
        for entry in CATALOG.values()
        if entry.classes
        for name, text in config_files(entry).items()
    }
    missing = [path for path in texts if not path.exists()]
    for path in missing:
        write_text(path, texts[path])
    return missing


if __name__ == '__main__':
    print('\n'.join(map(str, write_missing(Path(sys.argv[1])))))
