"""Datasets that need no more than the right folder: Kvasir-SEG, -Sessile, -Instrument, CVC-300, ImageCLEFmed."""

import re

from mmdel.datadel.converters.converter import IMAGE
from mmdel.datadel.converters.pairs import Form, PairConverter


def by_folder(name: str, image_folder: str = 'images?', mask_folder: str = 'masks?') -> Form:
    """``NAME/images/x`` and ``NAME/masks/x``; archives of the two folders may hold them once more.

    Args:
        name (str): A pattern for the dataset's folder.
        image_folder (str): A pattern. Defaults to 'images?'.
        mask_folder (str): A pattern. Defaults to 'masks?'.
    """
    root = rf'(?P<root>(?:.*/)?{name})'
    return Form(
        'folders',
        re.compile(rf'{root}/{image_folder}/(?:{image_folder}/)?(?P<stem>[^/]+){IMAGE}', re.I),
        re.compile(rf'{root}/{mask_folder}/(?:{mask_folder}/)?(?P<stem>[^/]+){IMAGE}', re.I),
    )


def by_names(stem: str, without: str) -> Form:
    """Folders of any name that hold ``images`` and ``masks`` with file names that only one dataset has.

    Args:
        stem (str): A pattern for the names.
        without (str): A pattern for folders that hold the same names for another reason.
    """
    root = rf'(?P<root>(?!(?:.*/)?(?:{without})/).+)'
    return Form(
        'folders',
        re.compile(rf'{root}/images/(?:images/)?(?P<stem>{stem})\.jpe?g', re.I),
        re.compile(rf'{root}/masks/(?:masks/)?(?P<stem>{stem})\.(?:jpe?g|png)', re.I),
    )


class KvasirSEG(PairConverter):
    """``Kvasir-SEG/{images,masks}``, or any folder with its names, 25 letters and digits that begin with ``cj``.

    Hyper-Kvasir's ``segmented-images``, Kvasir-Sessile and the test sets of other projects have the same names and are not it.
    """

    id = 'kvasir-seg'
    forms = (
        by_folder('kvasir[-_ ]?seg'),
        by_names('cj[a-z0-9]{23}', 'segmented-images|[^/]*sessile[^/]*|TestDataset|TrainDataset'),
    )
    rest = re.compile(r'.*bbox.*\.json|.*\.csv', re.I)


class KvasirSessile(PairConverter):
    """``sessile-main-Kvasir-SEG/{images,masks}``."""

    id = 'kvasir-sessile'
    forms = (by_folder('[^/]*sessile[^/]*'),)
    rest = re.compile(r'.*bbox.*\.json|.*\.csv', re.I)


class KvasirInstrument(PairConverter):
    """``kvasir-instrument/{images,masks}``, each a tar file in the archive, or any folder with names that begin with ``ck``."""

    id = 'kvasir-instrument'
    forms = (by_folder('kvasir[-_ ]?instruments?'), by_names('ck[a-z0-9]{23}', 'segmented-images'))
    rest = re.compile(r'.*bbox.*', re.I)


class CVC300(PairConverter):
    """``CVC-300/{images,masks}`` of the test set that polyp benchmarks share; the CVC-300 of EndoScene is another."""

    id = 'cvc-300'
    forms = (by_folder('CVC-300'),)


class ImageCLEFmed(PairConverter):
    """``images`` and ``masks`` below a folder or archive with ImageCLEF in its name; masks may end in ``_mask``."""

    id = 'imageclefmed'
    _root = r'(?P<root>(?:.*?/)?[^/]*ImageCLEF[^/]*(?:/[^/]+)*?)'
    forms = (
        Form(
            'folders',
            re.compile(rf'{_root}/images/(?P<stem>[^/]+){IMAGE}', re.I),
            re.compile(rf'{_root}/masks/(?P<stem>[^/]+?)(?:_mask)?{IMAGE}', re.I),
        ),
    )
    rest = re.compile(r'.*\.json', re.I)
