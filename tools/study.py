"""Compare selection methods: plan, run and collect a study, and draw its tables and figures.

python tools/study.py configs/study/demo.py --dry-run     # what would be run, and what it costs
python tools/study.py configs/study/demo.py --jobs 2      # run it; after a stop, the same again goes on
python tools/study.py configs/study/demo.py --plot        # tables and figures of what there is
"""

from pathlib import Path

from mmdel.cli.command import start
from mmdel.cli.study import command


def main() -> None:
    start(command(Path(__file__).resolve().parent))


if __name__ == '__main__':
    main()
