"""CVC-ColonDB and ETIS: the form of the test sets that polyp benchmarks share, and the original ones."""

import re

from mmdel.datadel.converters.converter import IMAGE
from mmdel.datadel.converters.pairs import Form, PairConverter
from mmdel.datadel.converters.plain_pairs import by_folder


def by_prefix(name: str) -> Form:
    """``N.tif`` and ``pN.tif`` below one folder, in one folder or in two.

    Args:
        name (str): A pattern for the dataset's folder.
    """
    root = rf'(?P<root>(?:.*?/)?{name})/(?:[^/]+/)*'
    return Form(
        'original', re.compile(rf'{root}(?P<stem>\d+){IMAGE}', re.I), re.compile(rf'{root}p(?P<stem>\d+){IMAGE}', re.I)
    )


class CVCColonDB(PairConverter):
    """``CVC-ColonDB/{images,masks}``; of EndoScene ``CVC-300/bbdd`` and ``gtpolyp``; or ``N.bmp`` and ``pN.bmp``.

    Contours ``cN`` and uninformative regions ``sN`` stay where they are.
    """

    id = 'cvc-colondb'
    forms = (
        by_folder('CVC-ColonDB'),
        Form(
            'endoscene',
            re.compile(rf'(?P<root>(?:.*/)?CVC-300)/bbdd/(?P<stem>\d+){IMAGE}', re.I),
            re.compile(rf'(?P<root>(?:.*/)?CVC-300)/gtpolyp/(?P<stem>\d+){IMAGE}', re.I),
        ),
        by_prefix('CVC-ColonDB'),
    )
    rest = re.compile(r'(?:gtlumen|gtspecular|void|border|contour).*|(?:.*/)?[cs]\d+\.\w+', re.I)


class ETIS(PairConverter):
    """``ETIS-LaribPolypDB/{images,masks}``; or ``N.tif`` with ``Ground Truth/pN.tif``."""

    id = 'etis'
    forms = (by_folder('ETIS[^/]*'), by_prefix('ETIS[^/]*'))
