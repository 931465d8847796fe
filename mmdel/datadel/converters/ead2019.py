"""EAD2019: a TIFF of five channels, one for each artefact, becomes one PNG of class numbers.

Where artefacts overlap, the smaller and rarer one counts, drawn last: artefact, saturation, bubbles, specularity,
instrument. Specular
spots lie on bubbles and on saturated regions, and would vanish in the other order; an instrument hides what is behind it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from mmdel.datadel.converters.class_masks import layered, read_pages
from mmdel.datadel.converters.converter import Claimed, Make
from mmdel.datadel.converters.pairs import Form, PairConverter
from mmdel.errors import UnreadableImage

CLASSES = ('background', 'instrument', 'specularity', 'artefact', 'bubbles', 'saturation')
"""The background, and then the channels in the order of the release."""

ORDER = ('artefact', 'saturation', 'bubbles', 'specularity', 'instrument')
"""The order of drawing: the last counts."""


class EAD2019(PairConverter):
    """``NAME.jpg`` and ``NAME_mask.tif`` in any folders below a name with EAD2019.

    Frames without a mask are for detection only.
    """

    id = 'ead2019'
    classes = len(CLASSES)
    lone_images = 'frames without a mask'
    _root = r'(?P<root>(?:.*?/)?[^/]*EAD[-_ ]?2019[^/]*)/(?:[^/]+/)*'
    forms = (
        Form(
            'release',
            re.compile(rf'{_root}(?P<stem>[^/]+)\.(?:jpe?g|png)', re.I),
            re.compile(rf'{_root}(?P<stem>[^/]+?)(?:_mask)?\.tiff?', re.I),
        ),
    )
    rest = re.compile(r'.*\.(?:txt|json|csv|xml|md|pdf|py|yaml)', re.I)

    def mask(self, masks: Sequence[Claimed]) -> tuple[str, Make | None]:
        """One PNG of the five channels."""
        return '.png', _make


def _make(paths: Sequence[Path]) -> bytes:
    channels = read_pages(paths[0])
    if len(channels) != len(CLASSES) - 1:
        raise UnreadableImage(f'has {len(channels)} channels instead of {len(CLASSES) - 1}, one for each artefact')
    named = dict(zip(CLASSES[1:], channels, strict=True))
    return layered((CLASSES.index(name), named[name] > 0) for name in ORDER)
