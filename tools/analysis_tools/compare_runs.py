"""Compare finished trainings: the metric, its spread, NormDEL over several alphas, and the time they took.

python tools/analysis_tools/compare_runs.py work_dirs/full work_dirs/subset --names 'all frames' '20 %'
"""

from mmdel.cli.command import start
from mmdel.cli.compare import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
