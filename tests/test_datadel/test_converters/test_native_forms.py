"""native -> canonical -> dataset -> one item, for each of the fourteen."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmdel.datadel.assembly import assemble, verify
from mmdel.datadel.catalog import CATALOG
from mmdel.datasets import DataDEL
from mmdel.registry import DATASETS

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'
PAIRS = [entry.id for entry in CATALOG.values() if entry.division == 'downstream']
TREES = [entry.id for entry in CATALOG.values() if entry.division == 'pretraining']
PIPELINE = [dict(type='mmdel.LoadFrame'), dict(type='mmdel.LoadMask')]
FOUND = {'hyper-kvasir': 3, 'kvasir-capsule': 4, 'polypgen': 9, 'ead2019': 3 + 4}


def as_folder(tools, raw, dataset, files):
    tools('lay_out')(raw / 'somewhere' / 'else', files)


def as_zip(tools, raw, dataset, files):
    tools('zipped')(raw / f'{dataset}.zip', files)


def as_tar(tools, raw, dataset, files):
    tools('tarred')(raw / f'{dataset}.tar.gz', files)


def load(out, dataset):
    entry = CATALOG[dataset]
    if entry.division == 'pretraining':
        return DataDEL(str(out), sources=(dataset,), pipeline=PIPELINE[:1])
    init_default_scope('mmdel')
    return DATASETS.build(
        dict(type=entry.dataset, data_root=str(out / dataset), ann_file='train.txt', pipeline=PIPELINE)
    )


@pytest.mark.parametrize('form', [as_folder, as_zip, as_tar])
@pytest.mark.parametrize('dataset', list(CATALOG))
def test_native__becomes_canonical_and_loads(form, dataset, trees, tools, tmp_path):
    raw, out = tmp_path / 'raw', tmp_path / 'out'
    form(tools, raw, dataset, trees[dataset])
    before = tools('snapshot')(raw)
    reports, strays = assemble([raw], out)
    assert tools('snapshot')(raw) == before
    assert strays == []
    assert [name for name, report in reports.items() if report.found] == [dataset]
    report = reports[dataset]
    assert report.rows == []
    assert report.status == 'partial'
    assert sum(report.found.values()) == FOUND.get(dataset, 3)
    items = load(out, dataset)
    item = items[0]
    assert item['img'].shape == (6, 8, 3)
    if CATALOG[dataset].division == 'downstream':
        assert item['gt_seg_map'].shape == (6, 8)
        assert item['gt_seg_map'].max() > 0
    again = tools('snapshot')(out)
    assert assemble([raw], out)[0][dataset].found == report.found
    assert tools('snapshot')(out) == again
    assert not [row for seen in verify(out).values() for row in seen.rows]


def test_all__together_in_one_folder_of_downloads(trees, tools, tmp_path):
    for dataset, files in trees.items():
        tools('lay_out')(tmp_path / 'raw' / f'download of {dataset}', files)
    reports, strays = assemble([tmp_path / 'raw'], tmp_path / 'out')
    assert strays == []
    for dataset, report in reports.items():
        assert (dataset, sum(report.found.values())) == (dataset, FOUND.get(dataset, 3))
        assert report.rows == []


def test_copy__holds_no_links(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['kvasir-seg'] | trees['gastrovision'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    assert all(path.is_symlink() for path in (tmp_path / 'out' / 'kvasir-seg').glob('*/*.jpg'))
    assemble([tmp_path / 'raw'], tmp_path / 'out', copy=True)
    files = list((tmp_path / 'out').rglob('*.jpg'))
    assert len(files) == 9
    assert not any(path.is_symlink() for path in files)


def test_only__nothing_else(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['kvasir-seg'] | trees['etis'])
    assert list(assemble([tmp_path / 'raw'], tmp_path / 'out', only=['etis'])[0]) == ['etis']
    assert not (tmp_path / 'out' / 'kvasir-seg').exists()


@pytest.mark.parametrize('ending', ['.tif', '_mask.tif', '_1.tif'])
def test_edd2020__the_more_severe_class_lies_on_top(ending, trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', {name.replace('.tif', ending): data for name, data in trees['edd2020'].items()})
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    mask = load(tmp_path / 'out', 'edd2020')[0]['gt_seg_map']
    assert [int(row[0]) for row in mask] == [3, 3, 1, 1, 0, 0]
    assert (mask == mask[:, :1]).all()


def test_ead2019__channels_in_the_stated_order(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['ead2019'])
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['ead2019']
    mask = load(tmp_path / 'out', 'ead2019')[0]['gt_seg_map']
    # instrument over specularity over bubbles over saturation over artefact
    assert [int(row[0]) for row in mask] == [1, 2, 2, 5, 4, 5]
    assert report.found == {'pairs': 3, 'frames': 4}
    assert '1 frames without a mask left out' in report.notes


@pytest.mark.parametrize('other', ['detection', 'z_detection'])
def test_ead2019__of_two_frames_with_one_name_the_one_near_the_mask_is_taken(other, trees, tools, tmp_path):
    tree = {name.replace('EAD2019/', 'EAD2019/segmentation/'): data for name, data in trees['ead2019'].items()}
    tree[f'EAD2019/{other}/1.jpg'] = tools('picture')(200)
    tools('lay_out')(tmp_path / 'raw', tree)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['ead2019']
    assert report.found == {'pairs': 3, 'frames': 4}
    (row,) = report.rows
    assert row.kind == 'extra' and row.path.endswith(f'{other}/1.jpg') and 'segmentation/frames/1.jpg' in row.reason
    taken = (tmp_path / 'out' / 'ead2019' / 'images' / '1.jpg').read_bytes()
    assert taken == trees['ead2019']['EAD2019/frames/1.jpg']


@pytest.mark.parametrize('planar', [1, 2])
def test_ead2019__five_samples_in_one_page(planar, trees, tools, tmp_path):
    from mmdel.datadel.converters.class_masks import read_pages

    values = np.random.default_rng(0).integers(0, 2, (5, 6, 8), dtype=np.uint8) * 255
    data = values.tobytes() if planar == 2 else np.moveaxis(values, 0, 2).tobytes()
    strips = [240] if planar == 1 else [48] * 5
    path = tmp_path / 'five.tif'
    path.write_bytes(_tiff(data, strips, planar))
    assert np.array_equal(np.stack(read_pages(path)), values)


def _tiff(data, strips, planar):
    """An uncompressed TIFF of 8 x 6 pixels with five samples, as little as the format allows."""
    extra = b''
    entries = []
    base = 8 + 2 + 12 * 10 + 4

    def entry(tag, kind, values):
        nonlocal extra
        size = {3: 2, 4: 4}[kind]
        packed = b''.join(int(value).to_bytes(size, 'little') for value in values)
        if len(packed) <= 4:
            stored = packed.ljust(4, b'\0')
        else:
            stored = (base + len(extra)).to_bytes(4, 'little')
            extra += packed
        entries.append(
            tag.to_bytes(2, 'little') + kind.to_bytes(2, 'little') + len(values).to_bytes(4, 'little') + stored
        )

    starts = []
    offset = base + 10 + 4 * len(strips) * 2 if len(strips) > 1 else base + 10
    for size in strips:
        starts.append(offset)
        offset += size
    for tag, kind, stored in (
        (256, 3, [8]), (257, 3, [6]), (258, 3, [8] * 5), (259, 3, [1]), (262, 3, [1]), (273, 4, starts), (277, 3, [5]),
        (278, 3, [6]), (279, 4, strips), (284, 3, [planar]),
    ):  # fmt: skip
        entry(tag, kind, stored)
    head = b'II*\0' + (8).to_bytes(4, 'little') + len(entries).to_bytes(2, 'little')
    return head + b''.join(entries) + bytes(4) + extra + data


def test_polypgen__centre_and_sequence_are_kept(trees, tools, tmp_path):
    tools('lay_out')(tmp_path / 'raw', trees['polypgen'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    rows = (tmp_path / 'out' / 'polypgen' / 'groups.csv').read_text().splitlines()
    assert rows[0] == 'stem,group,centre'
    assert set(rows[1:]) >= {'C1/1,C1,C1', 'C2/3,C2,C2', 'seq1_C3/2,seq1_C3,C3'}
    lists = [
        set((tmp_path / 'out' / 'polypgen' / f'{name}.txt').read_text().split()) for name in ('train', 'val', 'test')
    ]
    assert sorted(sorted({stem.split('/')[0] for stem in stems}) for stems in lists) == [['C1'], ['C2'], ['seq1_C3']]


def test_official_lists__are_taken_over(trees, tools, tmp_path):
    tools('zipped')(tmp_path / 'raw' / 'kvasir-instrument.zip', trees['kvasir-instrument'])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    folder = tmp_path / 'out' / 'kvasir-instrument'
    assert (folder / 'test.txt').read_text() == f'ck{3:0>23}\n'
    assert len((folder / 'official' / 'train.txt').read_text().split()) == 2


@pytest.mark.parametrize(
    ('dataset', 'files'),
    [
        ('cvc-clinicdb', ('CVC-ClinicDB/PNG/Original/{}.png', 'CVC-ClinicDB/PNG/Ground Truth/{}.png')),
        ('cvc-colondb', ('EndoScene/CVC-300/bbdd/{}.bmp', 'EndoScene/CVC-300/gtpolyp/{}.bmp')),
        ('cvc-colondb', ('CVC-ColonDB/{}.tiff', 'CVC-ColonDB/p{}.tiff')),
        ('cvc-colondb', ('CVC-ColonDB/{}.bmp', 'CVC-ColonDB/p{}.bmp', 'CVC-ColonDB/c{}.bmp', 'CVC-ColonDB/s{}.bmp')),
        ('etis', ('TestDataset/ETIS-LaribPolypDB/images/{}.png', 'TestDataset/ETIS-LaribPolypDB/masks/{}.png')),
        ('kvasir-seg', ('my polyps/images/cj{:0>23}.jpg', 'my polyps/masks/cj{:0>23}.jpg')),
    ],
)
def test_other_forms__of_the_same_datasets(dataset, files, tools, tmp_path):
    kinds = {'.png': 'PNG', '.bmp': 'BMP', 'tiff': 'TIFF', '.jpg': 'JPEG'}
    for number in range(1, 4):
        picture = tools('picture')(number * 40, kind=kinds[files[0][-4:]])
        for name in files:
            data = picture if name == files[0] else tools('mask')(kind=kinds[name[-4:]])
            tools('lay_out')(tmp_path / 'raw', {name.format(number * 50): data})
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0][dataset]
    assert report.found == {'pairs': 3} and report.rows == []
    assert load(tmp_path / 'out', dataset)[0]['gt_seg_map'].max() == 1


def test_kvasir_capsule__one_tar_for_each_class_inside_a_zip(tools, tmp_path):
    for name in ('Pylorus', 'Blood - fresh'):
        inside = {f'{name}/0123456789abcdef_{number}.jpg': tools('picture')(number) for number in range(3)}
        tools('tarred')(tmp_path / f'{name}.tar.gz', inside)
    archives = {f'labelled_images/{path.name}': path.read_bytes() for path in tmp_path.glob('*.tar.gz')}
    tools('zipped')(tmp_path / 'raw' / 'labelled_images.zip', archives)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['kvasir-capsule']
    assert report.found == {'labelled images': 6}
    items = load(tmp_path / 'out', 'kvasir-capsule')
    assert items.metainfo['classes'] == ('Blood - fresh', 'Pylorus')
    assert (items[0]['video'], items[0]['frame']) == ('0123456789abcdef', 0)


def test_kvasir_instrument__tar_files_inside_the_zip(trees, tools, tmp_path):
    files = trees['kvasir-instrument']
    outer = {name: data for name, data in files.items() if '/images/' not in name and '/masks/' not in name}
    for kind in ('images', 'masks'):
        inside = {name.split('/', 1)[1]: data for name, data in files.items() if f'/{kind}/' in name}
        outer[f'kvasir-instrument/{kind}.tar.gz'] = tools('tarred')(tmp_path / f'{kind}.tar.gz', inside).read_bytes()
    tools('zipped')(tmp_path / 'raw' / 'kvasir-instrument.zip', outer)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['kvasir-instrument']
    assert report.found == {'pairs': 3}
    assert report.rows == []


def test_hyper_kvasir__parts_from_several_archives(trees, tools, tmp_path):
    for part in ('labeled-images', 'unlabeled-images', 'labeled-videos'):
        files = {name: data for name, data in trees['hyper-kvasir'].items() if name.startswith(part)}
        tools('zipped')(tmp_path / 'raw' / f'hyper-kvasir-{part}.zip', files)
    report = assemble([tmp_path / 'raw'], tmp_path / 'out')[0]['hyper-kvasir']
    assert report.found == {'labelled images': 1, 'unlabelled images': 1, 'labelled videos': 1}
    assert not list((tmp_path / 'out' / 'hyper-kvasir').rglob('*mask*'))


@pytest.mark.parametrize('dataset', list(CATALOG))
def test_native__ends_in_a_training_batch_of_our_configs(dataset, trees, tools, tmp_path):
    as_zip(tools, tmp_path / 'raw', dataset, trees[dataset])
    assemble([tmp_path / 'raw'], tmp_path / 'out')
    if CATALOG[dataset].division == 'pretraining':
        cfg = Config.fromfile(CONFIGS / 'mae' / 'mae_vit-base-p16_1xb16-coslr-200e_datadel-eta10.py')
        cfg.train_dataloader.dataset.update(data_root=str(tmp_path / 'out'), sources=(dataset,))
    else:
        cfg = Config.fromfile(CONFIGS / 'segmentation' / f'vit-base-p16_mae-pre_mlp_1xb16-20k_{dataset}-512x512.py')
        cfg.train_dataloader.dataset.data_root = str(tmp_path / 'out' / dataset)
    init_default_scope(cfg.default_scope)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    batch = preprocessor(next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))), training=True)
    side = 224 if CATALOG[dataset].division == 'pretraining' else 512
    assert batch['inputs'].shape[-3:] == (3, side, side)
    if side == 512:
        assert all(sample.gt_sem_seg.data.shape == (1, side, side) for sample in batch['data_samples'])
