"""Why was this image removed, or kept?

python tools/analysis_tools/inspect_image.py work_dirs/meddel_eta08/subset.parquet img/0001.jpg
"""

from mmdel.cli.command import start
from mmdel.cli.inspect import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
