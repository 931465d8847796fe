"""The three pre-training datasets of Table 1."""

import re

from mmdel.datadel.catalog_entry import Entry, Link
from mmdel.datadel.converters.kvasir_capsule import KvasirCapsule
from mmdel.datadel.converters.trees import Part, TreeConverter

_SIMULA = 'https://datasets.simula.no/downloads/hyper-kvasir'

_GASTROVISION_CLASSES = (
    'Accessory tools',
    'Angiectasia',
    "Barrett's esophagus",
    'Blood in lumen',
    'Cecum',
    'Colon diverticula',
    'Colon polyps',
    'Colorectal cancer',
    'Duodenal bulb',
    'Dyed-lifted-polyps',
    'Dyed-resection-margins',
    'Erythema',
    'Esophageal varices',
    'Esophagitis',
    'Gastric polyps',
    'Gastroesophageal_junction_normal z-line',
    'Ileocecal valve',
    'Mucosal inflammation large bowel',
    'Normal esophagus',
    'Normal mucosa and vascular pattern in the large bowel',
    'Normal stomach',
    'Pylorus',
    'Resected polyps',
    'Resection margins',
    'Retroflex rectum',
    'Small bowel_terminal ileum',
    'Ulcer',
)
"""Of GastroVision_metadata.csv."""

PRETRAINING = (
    Entry(
        id='hyper-kvasir',
        name='Hyper-Kvasir',
        division='pretraining',
        task='Classification',
        centres=1,
        videos=374,
        frames=110_079,
        disease='GI',
        citation='Borgli et al., HyperKvasir, a comprehensive multi-class image and video dataset, Scientific Data '
        '7:283, 2020',
        licence='free for research and education; competitions and commercial use need written permission',
        page='https://datasets.simula.no/hyper-kvasir/',
        archives=(
            'hyper-kvasir.zip',
            'hyper-kvasir-labeled-images.zip',
            'hyper-kvasir-unlabeled-images.zip',
            'hyper-kvasir-videos.zip',
            'hyper-kvasir-segmented-images.zip',
        ),
        layout=(
            'labeled-images/{upper,lower}-gi-tract/<group>/<class>/*.jpg',
            'unlabeled-images/images/*.jpg',
            'labeled-videos/**/*.avi (three are .mpg)',
            'segmented-images/{images,masks}/*.jpg, left out: copies of labelled polyps and masks',
        ),
        tells=re.compile(
            r'labeled-(?:images/(?:upper|lower)-gi-tract/[^/]+|videos/.+)/(?P<label>[^/]+)/[^/]+'  # a video: what it shows
        ),
        expected={'labelled images': 10_662, 'unlabelled images': 99_417, 'labelled videos': 373},
        # what has masks is left out, as copies of labelled polyps
        converter=TreeConverter(
            Part(
                'labelled images',
                r'(?P<target>labeled-images/(?:upper|lower)-gi-tract/[^/]+/[^/]+/[^/]+(?i:\.(?:jpe?g|png)))',
            ),
            Part('unlabelled images', r'(?P<target>unlabeled-images/images/[^/]+(?i:\.(?:jpe?g|png)))'),
            Part(
                'labelled videos',
                r'(?P<target>labeled-videos/(?:[^/]+/)*[^/]+(?i:\.(?:avi|mp4|mpe?g)))',
                'video',
            ),
            Part('', r'(?P<target>segmented-images/.+)'),
            Part('', r'(?P<target>(?:labeled-images|unlabeled-images|labeled-videos)/.+\.(?:csv|json|arff))'),
        ),
        links=(
            Link(
                'hyper-kvasir-labeled-images.zip',
                f'{_SIMULA}/hyper-kvasir-labeled-images.zip',
                contents='10,662 labelled images, about 3.9 GB',
            ),
            Link(
                'hyper-kvasir-unlabeled-images.zip',
                f'{_SIMULA}/hyper-kvasir-unlabeled-images.zip',
                contents='99,417 unlabelled images, about 29.4 GB',
            ),
            Link(
                'hyper-kvasir-videos.zip',
                f'{_SIMULA}/hyper-kvasir-videos.zip',
                contents='373 videos, about 25.2 GB',
            ),
        ),
        notes=(
            'Table 1 and the abstract of the paper count 374 videos; the official list and the page have 373 '
            '(1,059,519 frames).',
            'The images of Kvasir-SEG stand among the labelled polyps, as the page says: check a pre-training for '
            '[leaks](leaks.md).',
            'Layout: page and lists of github.com/simula/hyper-kvasir. Sizes and checksums of the archives are not '
            'published. The publication is CC BY 4.0, the data as above.',
        ),
    ),
    Entry(
        id='kvasir-capsule',
        name='Kvasir-Capsule',
        division='pretraining',
        task='Classification',
        centres=1,
        videos=117,
        frames=47_238,
        disease='GI',
        citation='Smedsrud et al., Kvasir-Capsule, a video capsule endoscopy dataset, Scientific Data 8:142, 2021',
        licence='free for research and education; competitions and commercial use need written permission',
        page='https://osf.io/dv2ag/',
        archives=(
            'labelled_images.zip',
            '<class>.tar.gz, one for each class',
            'labelled_videos.zip',
            'unlabelled_videos.zip',
        ),
        layout=(
            'labelled_images/<class>/VIDEO_FRAME.jpg, 14 classes',
            'labelled_images/<class>.tar.gz with <class>/VIDEO_FRAME.jpg',
            'labelled_videos/*.mp4',
            'unlabelled_videos/*.mp4',
        ),
        tells=re.compile(
            r'labelled_images/(?P<label>[^/]+)/(?:(?P<video>[^/_]+)_(?P<frame>\d+)\.\w+|[^/]+)'
            r'|(?:un)?labelled_videos/(?P<film>[^/]+)\.\w+'
        ),
        expected={'labelled images': 47_238, 'labelled videos': 43, 'unlabelled videos': 74},
        converter=KvasirCapsule(),
        notes=(
            'The official splits hold 11 of the 14 classes: 47,161 rows, 47,153 names; 8 names carry two labels.',
            'The store packs labelled_images.zip anew for every request, so it has no fixed size or checksum, and no '
            'direct link is offered here.',
            'Layout: README of github.com/simula/kvasir-capsule and public loaders that unpack the tar files. The '
            'README speaks of PNG, its splits of .jpg: both are taken.',
        ),
    ),
    Entry(
        id='gastrovision',
        name='Gastrovision',
        division='pretraining',
        task='Detection and classification',
        centres=2,
        frames=8_000,
        disease='GI',
        citation='Jha et al., GastroVision: A Multi-class Endoscopy Image Dataset, ML4MHD 2023',
        licence='CC BY 4.0 as copies of it say; the page does not name a licence',
        page='https://osf.io/84e7f/',
        archives=('Gastrovision.zip',),
        layout=('<class>/*.jpg, 27 classes',),
        tells=re.compile(r'(?P<label>[^/]+)/[^/]+'),
        expected={'labelled images': 8_000},
        # names repeat between classes, so the class folder stays in every path
        converter=TreeConverter(
            Part(
                'labelled images',
                rf'(?P<target>(?:{"|".join(map(re.escape, _GASTROVISION_CLASSES))})/[^/]+\.(?:jpe?g|JPE?G|png|PNG))',
            ),
            Part('', r'(?P<target>Gastro[Vv]ision_metadata\.csv)'),
        ),
        notes=(
            'The 8,000 images have 7,933 names: some stand in two classes, so a key needs the class folder.',
            'The layout and the counts rest on GastroVision_metadata.csv of github.com/DebeshJha/GastroVision; the '
            'name of the archive is not written there, so it is recognised by its class folders.',
            'Four classes are named like classes of Kvasir-Capsule (Angiectasia, Erythema, Pylorus, Ulcer); the '
            'names of the files tell the two apart.',
        ),
    ),
)
"""In the order in which they are asked: Kvasir-Capsule knows its files by their names, GastroVision by the folders of classes."""
