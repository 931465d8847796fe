"""Hold a subset of the synthetic demo data against the truth: which share of what was removed, and by which threshold.

python tools/demo_truth.py work_dirs/demo/subset.parquet data/demo/pool/truth.csv
"""

from mmdel.cli.command import start
from mmdel.cli.demo_truth import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
