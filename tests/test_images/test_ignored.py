import subprocess

import pytest

from mmdel.errors import ConfigError
from mmdel.images.ignored import Exclusion, is_rubbish

RUBBISH = [
    '@eaDir', '.Trash', '.Trash-1000', '#recycle', '@Recycle', 'lost+found', '__MACOSX', 'Thumbs.db', 'THUMBS.DB', 'ehthumbs.db',
    'desktop.ini', '._a.jpg', '.DS_Store', '$RECYCLE.BIN', '.snapshot', '~snapshot', '#snapshot', '.thumbnails', 'found.000',
    'a.jpg~', '~$a.docx', 'a.jpg@SynoEAStream', '.git', 'System Volume Information', 'Network Trash Folder',
]  # fmt: skip


@pytest.mark.parametrize('name', RUBBISH)
def test_rubbish__of_systems(name):
    assert is_rubbish(name)


@pytest.mark.parametrize(
    'name', ['a.jpg', '_a.jpg', 'Thumbs', 'recycling', 'eaDir', 'snapshot', 'study~', '$1.png', '#1.png', '@1.jpg']
)
def test_rubbish__is_no_name_that_people_give(name):
    assert not is_rubbish(name)


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
