import subprocess

import pytest

from mmdel.errors import ConfigError
from mmdel.images.left_out import Exclusion, find_masks, is_junk

JUNK = [
    '@eaDir', '.Trash', '.Trash-1000', '#recycle', '@Recycle', 'lost+found', '__MACOSX', 'Thumbs.db', 'THUMBS.DB', 'ehthumbs.db',
    'desktop.ini', '._a.jpg', '.DS_Store', '$RECYCLE.BIN', '.snapshot', '~snapshot', '#snapshot', '.thumbnails', 'found.000',
    'a.jpg~', '~$a.docx', 'a.jpg@SynoEAStream', '.git', 'System Volume Information', 'Network Trash Folder',
]  # fmt: skip


def tree(*patterns, numbers=range(1, 9)):
    """``'masks/{}.png'`` stands for eight files."""
    folders = {}
    for path in sorted({pattern.format(number) for pattern in patterns for number in numbers}):
        folder, slash, name = path.rpartition('/')
        folders.setdefault(folder + slash, []).append(name)
    return folders


LAYOUTS = {
    'polyp sets': (['kv/images/{}.jpg'], ['kv/masks/{}.jpg']),
    'CVC-ClinicDB': (['Original/{}.tif'], ['Ground Truth/{}.tif']),
    'mirrored folders': (['train/images/a/{}.jpg'], ['train/masks/a/{}.png']),
    'mmseg': (['img_dir/train/{}.jpg', 'img_dir/val/{}.jpg'], ['ann_dir/train/{}.png', 'ann_dir/val/{}.png']),
    'split below': (['images/train/{}.jpg'], ['labels/train/{}.png']),
    'nnU-Net': (['imagesTr/case_{:03}_0000.png'], ['labelsTr/case_{:03}.png']),
    'ISIC': (['X_Training_Input/ISIC_{:07}.jpg'], ['X_Training_GroundTruth/ISIC_{:07}_segmentation.png']),
    'BUSI': (['benign/benign ({}).png'], ['benign/benign ({})_mask.png', 'benign/benign (1)_mask_1.png']),
    'DRIVE': (['training/images/{}_training.tif'], ['training/mask/{}_training_mask.gif', 'training/1st_manual/{}_manual1.gif']),
    'Cityscapes': (
        ['leftImg8bit/train/aachen/aachen_{:06}_19_leftImg8bit.png'],
        ['gtFine/train/aachen/aachen_{:06}_19_gtFine_labelIds.png', 'gtFine/train/aachen/aachen_{:06}_19_gtFine_color.png'],
    ),
    'VOC': (['VOC/JPEGImages/2007_{:06}.jpg', 'VOC/JPEGImages/2008_{:06}.jpg'], ['VOC/SegmentationClass/2007_{:06}.png']),
    'name of the images and a word': (['train/{}.jpg'], ['train_masks/{}_mask.gif']),
    'images one level up': (['kv/{}.jpg'], ['kv/masks/{}.png']),
    'masks one level down': (['images/pet_{}.jpg'], ['annotations/trimaps/pet_{}.png']),
    'a folder for each class': (['images/{}.png'], ['masks/polyp/{}.png', 'masks/tool/{}.png']),
    'a file for each class': (['originalImages/B{:04}.jpg'], ['masks/B{:04}_polyp.tif', 'masks/B{:04}_cancer.tif']),
    'prefixes': (['image_{}.png'], ['mask_{}.png']),
    'one other folder': (['CXR_png/CHN_{:04}_0.png', 'readme/x.png'], ['mask/CHN_{:04}_0_mask.png']),
    'a task beside': (
        ['A. Segmentation/1. Original Images/R_{:02}.jpg', 'B. Grading/1. Original Images/R_{:03}.jpg'],
        ['A. Segmentation/2. All Groundtruths/1. Aneurysms/R_{:02}_MA.tif', 'A. Segmentation/2. Masks/R_{:02}.tif'],
    ),
}  # fmt: skip


@pytest.mark.parametrize('layout', LAYOUTS)
def test_masks__of_known_layouts_are_found_and_no_image_with_them(layout):
    images, masks = LAYOUTS[layout]
    if layout == 'a task beside':
        masks = masks[1:]
    found = find_masks(tree(*images, *masks))
    assert found.files == {folder + name for folder, names in tree(*masks).items() for name in names}
    assert found.doubtful == {}


KEPT = {
    'class called labels': (['labels/{}.jpg', 'cats/{}.jpg', 'dogs/{}.jpg'], {'labels/'}),
    'two classes, one called labels': (['labels/{}.jpg', 'cats/{}.jpg'], {'labels/'}),
    'people with masks': (['with_mask/with_mask_{}.jpg', 'without_mask/without_mask_{}.jpg'], {'with_mask/', 'without_mask/'}),
    'segmented blood cells': (['SEG/{}.jpg', 'BAND/{}.jpg', 'LYM/{}.jpg'], {'SEG/'}),
    'masks alone': (['masks/{}.jpg'], {'masks/'}),
    'stems of no image': (['t/images/a.png', 't/masks/m{}.png'], {'t/masks/'}),
    'files called like masks': (['seg_{:03}.jpg'], {''}),
    'sets for two tasks': (['segmentation/images/{}.jpg', 'classification/images/{}.jpg'], set()),
    'words within words': (['birds/gannet_{}.jpg', 'birds/begging_{}.jpg', 'flagged/{}.jpg', 'images/{}.jpg'], set()),
}  # fmt: skip


@pytest.mark.parametrize('case', KEPT)
def test_doubt__keeps_the_files_and_names_their_folder(case):
    patterns, doubtful = KEPT[case]
    found = find_masks(tree(*patterns))
    assert (found.files, found.folders, set(found.doubtful)) == (frozenset(), (), doubtful)


def test_given_folders__are_what_they_are_called_for():
    found = find_masks(tree('kv/images/{}.jpg', 'kv/masks/{}.png'), given=['kv/images/', 'kv/masks/'])
    assert (found.files, found.doubtful) == (frozenset(), {})


def test_share__decides():
    images = tree('images/{}.jpg')
    assert not find_masks({**images, 'masks/': [f'{number}.png' for number in range(5, 14)]}).files
    assert len(find_masks({**images, 'masks/': [f'{number}.png' for number in range(3, 13)]}).files) == 10


@pytest.mark.parametrize('name', JUNK)
def test_junk__of_systems(name):
    assert is_junk(name)


@pytest.mark.parametrize(
    'name', ['a.jpg', '_a.jpg', 'Thumbs', 'recycling', 'eaDir', 'snapshot', 'study~', '$1.png', '#1.png', '@1.jpg']
)
def test_junk__is_no_name_that_people_give(name):
    assert not is_junk(name)


PATHS = [
    'a.jpg',
    'old/a.jpg',
    'x/old/b.jpg',
    'x/a_overlay.png',
    'x/keep_overlay.png',
    'x/y/z.tmp.jpg',
    '#1.jpg',
    'ä b.jpg',
]


@pytest.mark.parametrize(
    'patterns',
    [
        ['old/'],
        ['/old'],
        ['*_overlay.png', '!keep_overlay.png'],
        ['x/**/*.jpg'],
        ['*'],
        ['*', '!*.jpg'],
        ['\\#*'],
        ['ä*'],
        ['[ab].jpg'],
    ],
)
def test_patterns__as_git_reads_them(patterns, tmp_path):
    """Walked as a listing does: a folder that is left out is not looked into."""
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    (tmp_path / '.gitignore').write_text('\n'.join(patterns) + '\n')
    command = ['git', '-C', tmp_path, 'check-ignore', '-z', '--stdin', '--no-index']
    git = subprocess.run(command, input='\0'.join(PATHS), capture_output=True, text=True, check=False)
    exclude = Exclusion(patterns)

    def is_out(path):
        parts = path.split('/')
        folders = ['/'.join(parts[:depth]) + '/' for depth in range(1, len(parts))]
        return any(exclude.pattern(each) for each in [*folders, path])

    assert [path for path in PATHS if is_out(path)] == git.stdout.split('\0')[:-1]


def test_patterns__that_match_nothing_are_known():
    exclude = Exclusion(['old/', '*.png', 'new/'])
    assert [exclude.pattern(path) for path in ('old/', 'a.jpg', 'b.png')] == ['old/', None, '*.png']
    assert exclude.unused == ('new/',)


@pytest.mark.parametrize('pattern', ['', ' ', '#recycle', '!', '/', '\\'])
def test_error__pattern_that_can_match_nothing(pattern):
    with pytest.raises(ConfigError, match=r'exclude: .*as in \.gitignore'):
        Exclusion(['a', pattern])
