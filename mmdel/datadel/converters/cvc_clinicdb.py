"""CVC-ClinicDB: ``Original`` and ``Ground Truth`` with the numbers of the frames, as TIFF or as PNG."""

import re

from mmdel.datadel.converters.converter import IMAGE
from mmdel.datadel.converters.pairs import Form, PairConverter


class CVCClinicDB(PairConverter):
    """The two folders are enough to know it. Where TIFF and PNG are both there, TIFF is taken, the first release."""

    id = 'cvc-clinicdb'
    forms = tuple(
        Form(
            name,
            re.compile(rf'(?P<root>(?:.*/)?)Original/(?P<stem>\d+){suffix}', re.I),
            re.compile(rf'(?P<root>(?:.*/)?)Ground ?Truth/(?P<stem>\d+){suffix}', re.I),
        )
        for name, suffix in (('tif', r'\.tiff?'), ('other', IMAGE))
    )
    rest = re.compile(r'(?:.*/)?(?:readme.*|metadata\.csv)', re.I)
