"""Evaluate a checkpoint with any OpenMMLab config, and draw or keep its predictions.

python tools/test.py CONFIG CHECKPOINT --retention work_dirs/meddel_eta08/subset.parquet
python tools/test.py CONFIG CHECKPOINT --show-dir work_dirs/pictures
"""

from mmdel.cli.command import start
from mmdel.cli.test import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
