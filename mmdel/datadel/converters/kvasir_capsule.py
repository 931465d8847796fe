"""Kvasir-Capsule: images in a folder or a tar file for each class, and videos."""

import re

from mmdel.datadel.converters.converter import Claim
from mmdel.datadel.converters.trees import Part, TreeConverter

CLASSES = (
    'Ampulla of vater',
    'Angiectasia',
    'Blood - fresh',
    'Blood - hematin',
    'Erosion',
    'Erythema',
    'Foreign body',
    'Ileocecal valve',
    'Lymphangiectasia',
    'Normal clean mucosa',
    'Polyp',
    'Pylorus',
    'Reduced mucosal view',
    'Ulcer',
)
"""The classes of the release, as its README lists them."""

_SPELLING = {name.casefold(): name for name in CLASSES}


class KvasirCapsule(TreeConverter):
    """``labelled_images/<class>/VIDEO_FRAME.jpg`` and videos; the names of images are the surest sign.

    Each class also comes as a tar file, in which the folder of the class may stand again or not.
    """

    def __init__(self) -> None:
        super().__init__(
            Part('labelled images', r'(?P<label>[^/]+)/(?P<name>[0-9a-f]{16}_\d+(?i:\.(?:jpe?g|png)))'),
            *(
                Part(what, rf'(?P<target>{what.replace(" ", "_")}/[^/]+(?i:\.(?:mp4|avi|mpe?g)))', 'video')
                for what in ('labelled videos', 'unlabelled videos')
            ),
        )

    def claim(self, key: str) -> Claim | None:
        """As the parts say; the folders of the release are no part of the root."""
        claim = super().claim(key)
        if claim is None or claim.part != 'labelled images':
            return claim
        label = claim.name.split('/')[1]
        known = label.casefold() in _SPELLING or 'labelled_images' in key.split('/')
        if not known:
            return None
        root = re.sub(r'(?:^|/)labelled_images(?:/[^/]+)?$', '', claim.root)
        return Claim('file', claim.name, root, claim.part, label='image')

    def target(self, match: re.Match[str]) -> str:
        """Classes are spelt as the README does."""
        named = match.groupdict()
        if 'label' not in named:
            return match['target']
        return f'labelled_images/{_SPELLING.get(match["label"].casefold(), match["label"])}/{match["name"]}'
