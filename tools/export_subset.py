"""Export a subset: its images as plain files, or a filtered annotation file.

python tools/export_subset.py work_dirs/RUN/subset.parquet --root my/frames --out my/frames_5_percent
"""

from mmdel.cli.command import start
from mmdel.cli.export import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
