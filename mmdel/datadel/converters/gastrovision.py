"""GastroVision: a folder for each class, recognised by the 27 names of the official list."""

import re

from mmdel.datadel.converters.tree import Part, TreeConverter

CLASSES = (
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
"""The classes of GastroVision_metadata.csv."""


class GastroVision(TreeConverter):
    """``<class>/*.jpg``. Names repeat between classes, so the class folder stays in every path."""

    id = 'gastrovision'
    parts = (
        Part(
            'labelled images',
            re.compile(
                rf'(?P<root>(?:.*/)?)(?P<target>(?:{"|".join(map(re.escape, CLASSES))})/[^/]+\.(?:jpe?g|JPE?G|png|PNG))'
            ),
        ),
        Part('', re.compile(r'(?P<root>(?:.*/)?)(?P<target>Gastro[Vv]ision_metadata\.csv)')),
    )
