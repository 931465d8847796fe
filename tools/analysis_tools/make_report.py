"""Write the report of a finished run again, without repeating the run.

python tools/analysis_tools/make_report.py work_dirs/meddel_eta08
"""

from mmdel.cli.command import start
from mmdel.cli.report import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
