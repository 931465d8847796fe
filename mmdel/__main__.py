"""``python -m mmdel doctor``: the versions installed, known conflicts, and the command that fixes each."""

import argparse


def main() -> None:
    """Run the command that is named."""
    parser = argparse.ArgumentParser(prog='python -m mmdel', description='mmdel, beside what you have installed.')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('doctor', help='versions found, what is known to clash, and the line that mends it')
    parser.parse_args()
    from mmdel.cli import doctor

    raise SystemExit(doctor.main())


if __name__ == '__main__':
    main()
