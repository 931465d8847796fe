"""Select the images that are worth training on.

python tools/dedup.py configs/meddel_eta08.py --images my/frames --ratio 0.05
"""

from mmdel.cli.command import start
from mmdel.cli.dedup import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
