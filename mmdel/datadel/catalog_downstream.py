"""The eleven downstream datasets of Table 1: what is known of each, its classes, and how a download of it is recognised."""

from mmdel.datadel import groupings
from mmdel.datadel.catalog_entry import BLACK, BLUE, CYAN, GREEN, MAGENTA, YELLOW, Colour, Entry, Link
from mmdel.datadel.converters.class_masks import ChannelLayers, FileLayers
from mmdel.datadel.converters.pairs import IMAGE, Form, PairConverter, by_folder, by_names, by_prefix

_TEST_SET = 'TestDataset.zip of github.com/DengPingFan/PraNet'
_RESEARCH = 'research and educational use only; commercial use is forbidden'
_UNCONFIRMED = 'not confirmed; treat it as research use only'
_PERMISSION = 'research and educational use only; commercial use needs written permission'

_POLYP: dict[str, Colour] = {'background': BLACK, 'polyp': GREEN}

_POLYPGEN_FOLDER = r'(?P<root>(?:.*/)?)(?:data_|sequenceData/positive/)(?P<group>C[1-6]|seq[^/]+)'
_EAD = r'(?P<root>(?:.*?/)?[^/]*EAD[-_ ]?2019[^/]*)/(?:[^/]+/)*'
_IMAGECLEF = r'(?P<root>(?:.*?/)?[^/]*ImageCLEF[^/]*(?:/[^/]+)*?)'

DOWNSTREAM = (
    Entry(
        id='kvasir-sessile',
        name='Kvasir-Sessile',
        task='Segmentation, detection, and localization',
        centres=4,
        frames=196,
        disease='polyp',
        citation='Jha et al., A Comprehensive Study on Colorectal Polyp Segmentation with ResUNet++, Conditional '
        'Random Field and Test-Time Augmentation, IEEE JBHI 25(6), 2021',
        licence=_PERMISSION,
        page='https://datasets.simula.no/kvasir-seg/',
        archives=('kvasir-sessile.zip',),
        layout=('sessile-main-Kvasir-SEG/{images,masks}/NAME.jpg',),
        expected={'pairs': 196},
        dataset='mmdel.KvasirSessileDataset',
        about="""Kvasir-Sessile: 196 small, flat or sessile polyps, all of them images of Kvasir-SEG too.

        No official split. An encoder or head that saw Kvasir-SEG's training images has seen these.
        """,
        classes=_POLYP,
        converter=PairConverter(by_folder('[^/]*sessile[^/]*'), rest=r'.*bbox.*\.json|.*\.csv'),
        links=(
            Link(
                'kvasir-sessile.zip',
                'https://datasets.simula.no/downloads/kvasir-sessile.zip',
                contents='all of it, about 13.7 MB',
            ),
        ),
        notes=(
            'All of them are images of Kvasir-SEG, with the same names.',
            'Layout: page, and public users of the folder sessile-main-Kvasir-SEG. No checksum was found.',
            'Citation (pp. 2029-2040): the record of the publication at simula.no, and reference lists for 25(6). '
            'The abstract has the 196 sessile or flat polyps below 10 mm as a part of Kvasir-SEG.',
            'Licence: the page offers the archive beside Kvasir-SEG, and its terms name Kvasir-SEG alone; that they '
            'hold for this part too is taken for granted.',
        ),
    ),
    Entry(
        id='kvasir-seg',
        name='Kvasir-SEG',
        task='Segmentation, detection, and localization',
        centres=4,
        frames=1_000,
        disease='polyp',
        citation='Jha et al., Kvasir-SEG: A Segmented Polyp Dataset, MMM 2020',
        licence=_PERMISSION,
        page='https://datasets.simula.no/kvasir-seg/',
        archives=('kvasir-seg.zip',),
        layout=('Kvasir-SEG/{images,masks}/NAME.jpg, kavsir_bboxes.json',),
        expected={'pairs': 1_000},
        dataset='mmdel.KvasirSEGDataset',
        about="""Kvasir-SEG: 1,000 colonoscopy stills with a polyp in each, Vestre Viken Health Trust, Norway; masks are JPEG.

        Official split: ``train.txt`` (880) and ``val.txt`` (120) of the MediaEval 2020 Medico task. Patients are not known.
        """,
        classes=_POLYP,
        # Hyper-Kvasir's segmented-images, Kvasir-Sessile and the test sets of other projects have the same names
        converter=PairConverter(
            by_folder('kvasir[-_ ]?seg'),
            by_names('cj[a-z0-9]{23}', without='segmented-images|[^/]*sessile[^/]*|TestDataset|TrainDataset'),
            rest=r'.*bbox.*\.json|.*\.csv',
        ),
        links=(
            Link(
                'kvasir-seg.zip',
                'https://datasets.simula.no/downloads/kvasir-seg.zip',
                size=46_227_172,
                sha256='03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7',
            ),
        ),
        notes=(
            'Official split of the MediaEval 2020 task: train.txt (880) and val.txt (120) of '
            'github.com/DebeshJha/2020-MediaEval-Medico-polyp-segmentation; put them beside images/ to have them '
            'taken over.',
            'Masks are JPEG: values are not only 0 and 255.',
            'Size and checksum: several independent public loaders. Layout: page.',
        ),
    ),
    Entry(
        id='kvasir-instrument',
        name='Kvasir-Instrument',
        task='Segmentation, detection, and localization',
        centres=1,
        frames=590,
        disease='polyp',
        citation='Jha et al., Kvasir-Instrument: Diagnostic and Therapeutic Tool Segmentation Dataset, MMM 2021',
        licence=_PERMISSION,
        page='https://datasets.simula.no/kvasir-instrument/',
        archives=('kvasir-instrument.zip',),
        layout=(
            'kvasir-instrument/{images,masks}.tar.gz with NAME.jpg and NAME.png, train.txt, test.txt, bboxes.json',
        ),
        expected={'pairs': 590},
        dataset='mmdel.KvasirInstrumentDataset',
        about="""Kvasir-Instrument: 590 frames with snares, forceps, balloons and other tools.

        Official split: ``train.txt`` (472) and ``test.txt`` (118); validation images are cut from the former.
        """,
        classes={'background': BLACK, 'instrument': CYAN},
        converter=PairConverter(
            by_folder('kvasir[-_ ]?instruments?'),
            by_names('ck[a-z0-9]{23}', without='segmented-images'),
            rest=r'.*bbox.*',
        ),
        links=(
            Link(
                'kvasir-instrument.zip',
                'https://datasets.simula.no/downloads/kvasir-instrument.zip',
                contents='all of it, about 170 MB',
            ),
        ),
        notes=(
            'Official split: train.txt 472, test.txt 118.',
            'Table 1 says "polyp"; the masks are of instruments.',
            'Layout: page, and public loaders that unpack both tar files. No checksum was found.',
        ),
    ),
    Entry(
        id='cvc-300',
        name='CVC-300',
        task='Segmentation',
        centres=None,
        frames=60,
        disease='polyp',
        citation='Vazquez et al., A Benchmark for Endoluminal Scene Segmentation of Colonoscopy Images, Journal of '
        'Healthcare Engineering 2017:4037190, 2017',
        licence='not confirmed, no terms of EndoScene were found; treat it as research use only',
        page='https://github.com/DengPingFan/PraNet',
        archives=(_TEST_SET,),
        layout=('TestDataset/CVC-300/{images,masks}/N.png',),
        expected={'pairs': 60},
        dataset='mmdel.CVC300Dataset',
        about="""CVC-300: 60 frames, the part of EndoScene that polyp benchmarks use as a test set.

        No official split and no published table of sequences: neighbouring frames may fall on both sides, unless a
        ``groups.csv`` says which belong together. With 60 images, scores are coarse.
        """,
        classes=_POLYP,
        converter=PairConverter(by_folder('CVC-300')),
        notes=(
            'The 60 images are the test part of EndoScene. The folder CVC-300 of EndoScene itself (bbdd, gtpolyp) '
            'has 300 frames, those of CVC-ColonDB, and is taken for that.',
            'Layout: README and published results of PraNet.',
            'Citation: the record of the publication at refbase.cvc.uab.es (2940), and copies of the article. That '
            'the 60 are the test part of EndoScene rests on several public users of the test set, not on the article.',
            'The page of EndoScene, adas.cvc.uab.es/endoscene as public users give it, could not be read: its terms '
            'are not confirmed. The page above hands out the 60.',
        ),
    ),
    Entry(
        id='cvc-colondb',
        name='CVC-ColonDB',
        task='Segmentation',
        centres=None,
        frames=380,
        disease='polyp',
        citation='Bernal et al., Towards automatic polyp detection with a polyp appearance model, Pattern '
        'Recognition 45, 2012',
        licence=_UNCONFIRMED,
        page='http://mv.cvc.uab.es/projects/colon-qa/cvccolondb',
        archives=(_TEST_SET, 'CVC-ColonDB.zip', 'CVC-EndoSceneStill.zip'),
        layout=(
            'TestDataset/CVC-ColonDB/{images,masks}/N.png',
            'CVC-300/bbdd/N.bmp and CVC-300/gtpolyp/N.bmp (EndoScene)',
            'CVC-ColonDB/N.{bmp,tiff} and CVC-ColonDB/pN.{bmp,tiff}',
        ),
        expected={'pairs': 380},
        dataset='mmdel.CVCColonDBDataset',
        about="""CVC-ColonDB: 380 frames of 15 colonoscopy sequences, one polyp in each.

        No official split, and which frame is of which sequence is not published with it: neighbouring frames may fall on both
        sides, unless a ``groups.csv`` says which belong together.
        """,
        classes=_POLYP,
        # contours cN and uninformative regions sN stay where they are
        converter=PairConverter(
            by_folder('CVC-ColonDB'),
            Form(
                'endoscene',
                rf'(?P<root>(?:.*/)?CVC-300)/bbdd/(?P<stem>\d+){IMAGE}',
                rf'(?P<root>(?:.*/)?CVC-300)/gtpolyp/(?P<stem>\d+){IMAGE}',
            ),
            by_prefix('CVC-ColonDB'),
            rest=r'(?:gtlumen|gtspecular|void|border|contour).*|(?:.*/)?[cs]\d+\.\w+',
        ),
        notes=(
            'The field tests on 380 frames; the first release and EndoScene have 300, which then count as partial.',
            'Layout: PraNet; bbdd and gtpolyp as public loaders of EndoScene read them. That the first release has '
            '300 frames and names masks pN is what its page says; of the suffixes it names only .bmp.',
            'Citation (45(9), pp. 3166-3182): its page. Public lists cite Tajbakhsh et al., Automated Polyp '
            'Detection in Colonoscopy Videos Using Shape and Context Information, IEEE TMI 35(2), 2016 for the set '
            'in its place; which of the two describes the 380 frames is not confirmed.',
            'Licence: not confirmed. What could be read of the page has no terms; the publication of PolypGen lists '
            'the 380 frames as available by request (its table at datasetninja.com/polypgen).',
        ),
    ),
    Entry(
        id='etis',
        name='ETIS',
        task='Segmentation',
        centres=None,
        frames=196,
        disease='polyp',
        citation='Silva et al., Toward embedded detection of polyps in WCE images for early diagnosis of colorectal '
        'cancer, IJCARS 9(2), 2014',
        licence=_UNCONFIRMED,
        page='https://polyp.grand-challenge.org/EtisLarib/',
        archives=('ETIS-LaribPolypDB.rar', _TEST_SET),
        layout=(
            'ETIS-LaribPolypDB/N.tif and Ground Truth/pN.tif',
            'TestDataset/ETIS-LaribPolypDB/{images,masks}/N.png',
        ),
        expected={'pairs': 196},
        dataset='mmdel.ETISDataset',
        about="""ETIS-Larib Polyp DB: 196 frames of 34 sequences with 44 polyps, Lariboisière Hospital, Paris.

        No official split, and which frame is of which sequence is not published with it: neighbouring frames may fall on both
        sides, unless a ``groups.csv`` says which belong together.
        """,
        classes=_POLYP,
        converter=PairConverter(by_folder('ETIS[^/]*'), by_prefix('ETIS[^/]*')),
        notes=(
            'A .rar has to be unpacked by hand: nothing here reads that format.',
            'Layout: public loaders of the release, and PraNet.',
            'Citation (pp. 283-293, doi 10.1007/s11548-013-0926-3): the reference lists of several publications. 196 '
            'frames: the publication of PolypGen (its table at datasetninja.com/polypgen).',
            'Licence: not confirmed, the page could not be read. github.com/AlbertoUAH/polyps-image-segmentation '
            'notes that the images belong to Lariboisiere Hospital (APHP) and the laboratory ETIS, the masks to ETIS.',
        ),
    ),
    Entry(
        id='polypgen',
        name='PolypGen2021',
        task='Polyp segmentation',
        centres=6,
        frames=3_762,
        disease='polyp',
        citation='Ali et al., A multi-centre polyp detection and segmentation dataset for generalisability '
        'assessment, Scientific Data 10:75, 2023',
        licence='CC BY 4.0',
        page='https://www.synapse.org/#!Synapse:syn26376615/wiki/613312',
        archives=('PolypGen2021_MultiCenterData_v3.zip',),
        layout=(
            'data_C1..data_C6/images_C1/NAME.jpg and masks_C1/NAME_mask.jpg',
            'sequenceData/positive/seqN/images_seqN/NAME.jpg and masks_seqN/NAME_mask.jpg',
            'sequenceData/negativeOnly/*/*.jpg, left out: no masks',
        ),
        expected={'pairs': 3_762},
        dataset='mmdel.PolypGenDataset',
        about="""PolypGen2021: 3,762 annotated frames of six centres, 1,537 single ones and 2,225 of 23 sequences.

        No official split. File and folder names tell sequences (``seq1_...``) and centres (``C1_...``); each of them stays whole.
        """,
        classes=_POLYP,
        # sequences without polyps have no masks, and the flat folder of all positive frames repeats the others
        converter=PairConverter(
            Form(
                'release',
                rf'{_POLYPGEN_FOLDER}/images[^/]*/(?P<stem>[^/]+)\.jpe?g',
                rf'{_POLYPGEN_FOLDER}/masks?[^/]*/(?P<stem>[^/]+?)(?:_mask)?\.(?:jpe?g|png)',
            ),
            rest=r'(?:.*/)?bbox[^/]*/.*|imagesAll_positive/.*|sequenceData/negativeOnly/.*|dataDetails[^/]*/.*'
            r'|[^/]*(?:\.(?:txt|csv|md|html))|folderStructure.*',
            groups=groupings.polypgen_folder,
        ),
        grouping=groupings.POLYPGEN,
        notes=(
            '1,537 single frames and 2,225 frames of 23 positive sequences; 4,275 negative frames have no masks and '
            'are no part of the 3,762.',
            'Names repeat between centres and sequences, so each keeps a folder: images/C1/NAME.jpg. groups.csv '
            'holds sequence and centre.',
            'Layout: README of github.com/DebeshJha/PolypGen and public scripts that inspect the release.',
            'Citation and counts of frames: that README. Licence: github.com/dataset-ninja/polypgen, which names the '
            'page as its source.',
        ),
    ),
    Entry(
        id='ead2019',
        name='EAD2019',
        task='Endoscopic artifacts',
        centres=6,
        frames=2_991,
        disease='cancers',
        citation='Ali et al., An objective comparison of detection and segmentation algorithms for artefacts in '
        'clinical endoscopy, Scientific Reports 10:2748, 2020; and Ali et al., Endoscopy artifact detection (EAD '
        '2019) challenge dataset, arXiv:1905.03209, 2019',
        licence='not confirmed; terms of the challenge, read them on the page',
        page='https://ead2019.grand-challenge.org/',
        archives=('as the challenge hands them out; keep "EAD2019" in a folder or archive name',),
        layout=('**/EAD2019*/**/NAME.jpg and NAME_mask.tif (5 channels), in any folders',),
        expected={'frames': 2_991},
        dataset='mmdel.EAD2019Dataset',
        about="""EAD2019: frames of six centres with imaging artefacts; the benchmark counts 2,991, of which a part has masks.

        Five of the challenge's seven artefacts have masks, in the order of the channels of the release's TIFF files: instrument,
        specularity, artefact, bubbles, saturation. Here they are one PNG of class numbers. No official split with public masks.
        """,
        classes={
            'background': BLACK,
            'instrument': CYAN,
            'specularity': MAGENTA,
            'artefact': BLUE,
            'bubbles': GREEN,
            'saturation': YELLOW,
        },
        # Specular spots lie on bubbles and on saturated regions, and would vanish in another order; an instrument hides
        # what is behind it.
        converter=PairConverter(
            Form('release', rf'{_EAD}(?P<stem>[^/]+)\.(?:jpe?g|png)', rf'{_EAD}(?P<stem>[^/]+?)(?:_mask)?\.tiff?'),
            rest=r'.*\.(?:txt|json|csv|xml|md|pdf|py|yaml)',
            layers=ChannelLayers('artefact', 'saturation', 'bubbles', 'specularity', 'instrument'),
            lone_images='frames without a mask',
        ),
        grouping=groupings.EAD2019,
        notes=(
            'Only a part of the 2,991 frames has masks; how many is not stated by Table 1. Frames without a mask are '
            'left out, and counted.',
            'EAD2019.md of github.com/openmedlab/Awesome-Medical-Dataset counts 2,147 + 195 + 52 frames for '
            'detection and 475 + 122 for segmentation, 2,991 together: at most 597 masks, of which the 122 are the '
            'test set. No source of the organisers was found for these numbers.',
            'A mask is a TIFF of five channels in the order instrument, specularity, artefact, bubbles, saturation: '
            'jsonViaAnnotation_maskImage.py of github.com/sharib-vision/EAD2019 writes NAME_mask.tif so.',
            'The names of the archives and folders could not be confirmed, so any folders below a name with EAD2019 '
            'are taken.',
            'The same list and public users of the release have '
            'trainingData_semanticSegmentation/0_original_images/NAME.jpg with '
            'trainingData_semanticSegmentation/NAME.tif: names without _mask are taken too, below a folder with '
            'EAD2019 in its name.',
            'Citation: the record of the article at eprints.mdx.ac.uk, and the preprint. Six centres: the Data page '
            'of the challenge.',
            'Licence: the Data page announces that all data will be open "without any restrictions" after the '
            'challenge; that it was, and under which licence, is not confirmed.',
        ),
    ),
    Entry(
        id='edd2020',
        name='EDD2020',
        task='Segmentation, detection, and localization',
        centres=4,
        frames=380,
        disease='polyp',
        citation='Ali et al., Endoscopy Disease Detection and Segmentation (EDD2020), IEEE DataPort, 2020',
        licence='CC BY 4.0',
        page='https://ieee-dataport.org/competitions/endoscopy-disease-detection-and-segmentation-edd2020',
        archives=('EndoCV2020-Endoscopy-Disease-Detection-Segmentation-subChallenge_data.zip',),
        layout=('originalImages/NAME.jpg, masks/NAME_CLASS.tif for each class in it, bbox/NAME.txt, class_list.txt',),
        expected={'pairs': 386},
        dataset='mmdel.EDD2020Dataset',
        about="""EDD2020: 380 frames (386 in the release) of four centres with the disease classes of the EndoCV 2020 challenge.

        Barrett's oesophagus (BE), suspicious, high-grade dysplasia (HGD), cancer and polyp, in the order of the release. The
        release has one TIFF for each class, here they are one PNG of class numbers. No official split with public masks.
        """,
        classes={
            'background': BLACK,
            'BE': CYAN,
            'suspicious': YELLOW,
            'HGD': MAGENTA,
            'cancer': BLUE,
            'polyp': GREEN,
        },
        # The more severe finding is drawn last: a region of high-grade dysplasia inside Barrett's oesophagus is the rule,
        # not the exception, and would vanish in another order.
        converter=PairConverter(
            Form(
                'release',
                r'(?P<root>(?:.*/)?)originalImages/(?P<stem>[^/]+)\.(?:jpe?g|png)',
                r'(?P<root>(?:.*/)?)masks/(?P<stem>[^/]+?)_(?P<label>BE|suspicious|HGD|cancer|polyp)(?:_\d+|_mask)?\.tiff?',
            ),
            rest=r'bbox[^/]*/.*|class_list\.txt|.*\.(?:md|pdf|txt)',
            layers=FileLayers('BE', 'polyp', 'suspicious', 'HGD', 'cancer'),
        ),
        notes=(
            'Table 1 and the publication count 380 frames; the release has 386.',
            'Classes BE, suspicious, HGD, cancer, polyp. Where they overlap, the more severe counts: cancer over HGD '
            'over suspicious over polyp over BE.',
            'Layout: README of github.com/sharib-vision/EDD2020 (NAME_CLASS_REGION.tif) and a public converter of '
            'the release (NAME_CLASS.tif). Another version of that README says NAME_CLASS_mask.tif, which is read, '
            'too.',
            'Citation: the references of later publications, which name the page. 386: '
            'github.com/dataset-ninja/edd2020 and the publication of PolypGen (its table at '
            'datasetninja.com/polypgen).',
            'Licence: as github.com/dataset-ninja/edd2020 states it; not confirmed on the page, which could not be '
            'read.',
        ),
    ),
    Entry(
        id='imageclefmed',
        name='ImageCLEFmed',
        task='Polyp segmentation',
        centres=1,
        frames=66_662,
        disease='polyp',
        citation='Ionescu et al., Overview of the ImageCLEF 2023, CLEF 2023, LNCS 14163; and Hicks et al., Overview '
        'of ImageCLEFmedical 2023 - Medical Visual Question Answering for Gastrointestinal Tract, CLEF 2023 Working '
        'Notes',
        licence='not confirmed; terms of the campaign, read them on the page',
        page='https://www.imageclef.org/',
        archives=('ImageCLEFmed-MEDVQA-GI-2023-Development-Dataset.zip', 'other years: keep "ImageCLEF" in the name'),
        layout=('**/ImageCLEF*/**/images/NAME.jpg and masks/NAME.*',),
        expected={'pairs': 66_662},
        dataset='mmdel.ImageCLEFmedDataset',
        about="""ImageCLEFmed: 66,662 images, as the benchmark counts them, with polyp masks.

        The benchmark does not say which of the campaign's releases it took, nor is there an official split of that many.
        """,
        classes=_POLYP,
        converter=PairConverter(
            Form(
                'folders',
                rf'{_IMAGECLEF}/images/(?P<stem>[^/]+){IMAGE}',
                rf'{_IMAGECLEF}/masks/(?P<stem>[^/]+?)(?:_mask)?{IMAGE}',
            ),
            rest=r'.*\.json',
        ),
        notes=(
            'Which release Table 1 counts with 66,662 frames is not said and could not be found; no public release '
            'of that size is known.',
            'Layout: public users of the MEDVQA-GI 2023 development set (images/, masks/, gt.json).',
            'The citations are those of the 2023 release (library records and reference lists); which year Table 1 '
            'means is not confirmed.',
            'README of github.com/simula/ImageCLEFmed-MEDVQA-GI-2023: 2,000 images, based on Hyper-Kvasir, the masks '
            'on its segmented part and Kvasir-Instrument. Check a pre-training for [leaks](leaks.md).',
        ),
    ),
    Entry(
        id='cvc-clinicdb',
        name='CVC-12k (CVC-ClinicDB)',
        task='Segmentation',
        centres=1,
        frames=612,
        disease='polyp',
        citation='Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy, CMIG 43, 2015',
        licence=_RESEARCH,
        page='https://polyp.grand-challenge.org/CVCClinicDB/',
        archives=('CVC-ClinicDB.rar', 'CVC-ClinicDB.zip'),
        layout=(
            'Original/N.tif and Ground Truth/N.tif',
            'PNG/Original/N.png and PNG/Ground Truth/N.png',
        ),
        expected={'pairs': 612},
        dataset='mmdel.CVCClinicDBDataset',
        about="""CVC-ClinicDB: 612 frames of 29 sequences with a polyp each, Hospital Clinic, Barcelona; TIFF and PNG.

        No official split. The release numbers the frames 1 to 612 and says which belong to which sequence, so sequences stay
        whole.
        """,
        classes=_POLYP,
        # the first release is TIFF
        converter=PairConverter(
            *(
                Form(
                    name,
                    rf'(?P<root>(?:.*/)?)Original/(?P<stem>\d+){suffix}',
                    rf'(?P<root>(?:.*/)?)Ground ?Truth/(?P<stem>\d+){suffix}',
                )
                for name, suffix in (('tif', r'\.tiff?'), ('other', IMAGE))
            ),
            rest=r'(?:.*/)?(?:readme.*|metadata\.csv)',
        ),
        grouping=groupings.CVC_CLINICDB,
        notes=(
            'Table 1 prints "CVC-12k (CVC-ClinicDB)" for the set of 612 frames; CVC-12k, a video set of about 12,000 '
            'frames, is another.',
            'A .rar has to be unpacked by hand: nothing here reads that format.',
            'The 62 images of TestDataset/CVC-ClinicDB are a part of it and are not taken for it.',
            'Layout: the terms on the page name the folders Original and Ground Truth.',
            'Citation (pp. 99-111) and licence: the terms of the page as LICENSE.md of '
            'github.com/dataset-ninja/cvc-612 quotes them.',
        ),
    ),
)
"""In the order in which they are asked: names that only one dataset has before names that many have."""
