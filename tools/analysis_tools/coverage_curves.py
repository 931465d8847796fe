"""How well the subsets of each method represent all images, at every ratio, judged by the encoder that selected and by others.

python tools/analysis_tools/coverage_curves.py configs/meddel_eta08.py --images my/frames --judges pixels phash

Nothing is trained: seconds, once the vectors are there.
"""

from mmdel.cli.command import start
from mmdel.cli.curves import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
