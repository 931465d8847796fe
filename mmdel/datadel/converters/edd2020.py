"""EDD2020: a mask file for each class of an image becomes one PNG of class numbers.

Where classes overlap, the more severe finding counts, drawn last: BE, polyp, suspicious, HGD, cancer. A region of
high-grade dysplasia
inside Barrett's oesophagus is the rule, not the exception, and would vanish in the other order.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mmdel.datadel.converters.class_masks import foreground, layered
from mmdel.datadel.converters.converter import Claimed, Make
from mmdel.datadel.converters.pairs import Form, PairConverter

CLASSES = ('background', 'BE', 'suspicious', 'HGD', 'cancer', 'polyp')
"""In the order of the release: the class numbers of the result."""

ORDER = ('BE', 'polyp', 'suspicious', 'HGD', 'cancer')
"""The order of drawing: the last counts."""


class EDD2020(PairConverter):
    """``originalImages/NAME.jpg`` with ``masks/NAME_CLASS.tif``, ``NAME_CLASS_REGION.tif`` or ``NAME_CLASS_mask.tif``."""

    id = 'edd2020'
    classes = len(CLASSES)
    several = True
    forms = (
        Form(
            'release',
            re.compile(r'(?P<root>(?:.*/)?)originalImages/(?P<stem>[^/]+)\.(?:jpe?g|png)', re.I),
            re.compile(
                r'(?P<root>(?:.*/)?)masks/(?P<stem>[^/]+?)_(?P<label>BE|suspicious|HGD|cancer|polyp)(?:_\d+|_mask)?\.tiff?',
                re.I,
            ),
        ),
    )
    rest = re.compile(r'bbox[^/]*/.*|class_list\.txt|.*\.(?:md|pdf|txt)', re.I)

    def mask(self, masks: Sequence[Claimed]) -> tuple[str, Make | None]:
        """One PNG of all of them."""
        labels = [_SPELLING[item.claim.label.casefold()] for item in masks]

        def make(paths: Sequence[Path]) -> bytes:
            order = sorted(zip(labels, paths, strict=True), key=lambda item: (ORDER.index(item[0]), item[1]))
            return layered((CLASSES.index(label), foreground(path)) for label, path in order)

        return '.png', make


_SPELLING = {name.casefold(): name for name in CLASSES}
