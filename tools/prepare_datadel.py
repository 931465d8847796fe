"""Assemble DataDEL from what has been downloaded.

python tools/prepare_datadel.py --raw downloads --out data/datadel
"""

from mmdel.cli.command import start
from mmdel.cli.prepare import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
