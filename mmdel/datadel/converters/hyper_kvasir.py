"""Hyper-Kvasir: labelled and unlabelled images and videos; what has masks is left out, as copies of labelled polyps."""

import re

from mmdel.datadel.converters.tree import Part, TreeConverter

_OUTER = r'(?P<root>(?:.*/)?)'


class HyperKvasir(TreeConverter):
    """``labeled-images``, ``unlabeled-images`` and ``labeled-videos``, from one archive or several.

    Three of the official videos are ``.mpg``.
    """

    id = 'hyper-kvasir'
    parts = (
        Part(
            'labelled images',
            re.compile(
                _OUTER + r'(?P<target>labeled-images/(?:upper|lower)-gi-tract/[^/]+/[^/]+/[^/]+(?i:\.(?:jpe?g|png)))'
            ),
        ),
        Part(
            'unlabelled images', re.compile(_OUTER + r'(?P<target>unlabeled-images/images/[^/]+(?i:\.(?:jpe?g|png)))')
        ),
        Part(
            'labelled videos',
            re.compile(_OUTER + r'(?P<target>labeled-videos/(?:[^/]+/)*[^/]+(?i:\.(?:avi|mp4|mpe?g)))'),
            'video',
        ),
        Part('', re.compile(_OUTER + r'(?P<target>segmented-images/.+)')),
        Part(
            '',
            re.compile(
                _OUTER + r'(?P<target>(?:labeled-images|unlabeled-images|labeled-videos)/.+\.(?:csv|json|arff))'
            ),
        ),
    )
