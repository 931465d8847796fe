"""Draw the synthetic demo data: endoscopy with copies, rubbish and a truth table.

python tools/make_demo_data.py --out data/demo
"""

from mmdel.cli.command import start
from mmdel.cli.demo_data import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
