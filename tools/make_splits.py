"""Write the train, validation and test lists of segmentation folders.

python tools/make_splits.py data/datadel/kvasir-seg data/datadel/cvc-clinicdb
"""

from mmdel.cli.command import start
from mmdel.cli.splits import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
