"""The whole loop on synthetic demo data: pre-train, choose, pre-train on the choice, fine-tune, compare.

python tools/demo.py

Prints every command that it runs, so that each can be repeated by hand and changed. Takes minutes on two CPU cores.
"""

from mmdel.cli.command import start
from mmdel.cli.demo import COMMAND


def main() -> None:
    start(COMMAND)


if __name__ == '__main__':
    main()
