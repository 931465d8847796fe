"""Look at what a dataset serves: the images of its subset, after its pipeline, with masks and labels.

python tools/analysis_tools/browse_dataset.py MAE_CONFIG --mode concat
python tools/analysis_tools/browse_dataset.py SEGMENTATION_CONFIG --phase val --output-dir work_dirs/look
"""

from mmdel.cli.browse import COMMAND
from mmdel.cli.command import start


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
