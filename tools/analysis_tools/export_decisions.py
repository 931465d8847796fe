"""Export the decisions of a subset to other programs: every image, kept or not, and why.

python tools/analysis_tools/export_decisions.py work_dirs/RUN --format csv --out decisions.csv
"""

from mmdel.cli.command import start
from mmdel.cli.decisions import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
