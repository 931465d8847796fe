"""PolypGen2021: six centres with single frames, and sequences; the folder of each stays part of every name."""

import re

from mmdel.datadel.converters.pairs import Form, PairConverter

_CENTRE = re.compile(r'(?<![A-Za-z0-9])C[1-6](?![A-Za-z0-9])')
_OUTER = r'(?P<root>(?:.*/)?)'


class PolypGen(PairConverter):
    """``data_C1/images_C1/x.jpg`` becomes ``images/C1/x.jpg``; ``positive/seq1/images_seq1/y.jpg`` becomes ``images/seq1/y.jpg``.

    Sequences without polyps have no masks, and the flat folder of all positive frames repeats the others: both are left out.
    """

    id = 'polypgen'
    forms = (
        Form(
            'release',
            re.compile(
                rf'{_OUTER}(?:data_|sequenceData/positive/)(?P<group>C[1-6]|seq[^/]+)/images[^/]*/(?P<stem>[^/]+)\.jpe?g',
                re.I,
            ),
            re.compile(
                rf'{_OUTER}(?:data_|sequenceData/positive/)(?P<group>C[1-6]|seq[^/]+)/masks?[^/]*/'
                r'(?P<stem>[^/]+?)(?:_mask)?\.(?:jpe?g|png)',
                re.I,
            ),
        ),
    )
    rest = re.compile(
        r'(?:.*/)?bbox[^/]*/.*|imagesAll_positive/.*|sequenceData/negativeOnly/.*|dataDetails[^/]*/.*|[^/]*(?:\.(?:txt|csv|md|html))'
        r'|folderStructure.*',
        re.I,
    )

    def groups(self, stem: str) -> tuple[str, str] | None:
        """The folder is the group; the centre stands in it or in the name."""
        centre = _CENTRE.search(stem.replace('_', ' '))
        return stem.split('/')[0], centre[0] if centre else ''
