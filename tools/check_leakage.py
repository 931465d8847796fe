"""Does the pool contain test images?

python tools/check_leakage.py work_dirs/meddel_eta08 --against configs/segmentation/CONFIG.py
"""

from mmdel.cli.command import start
from mmdel.cli.leaks import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
