"""``python -m mmdel doctor``: the versions installed, known conflicts, and the command that fixes each."""

import argparse
import platform


def main() -> None:
    """Run the command that is named."""
    parser = argparse.ArgumentParser(prog='python -m mmdel', description='mmdel, beside what you have installed.')
    commands = parser.add_subparsers(dest='command', required=True)
    commands.add_parser('doctor', help='versions found, what is known to clash, and the line that mends it')
    parser.parse_args()
    raise SystemExit(doctor())


def doctor() -> int:
    """Print the report; 1 where something does not work."""
    from mmdel.compute import installation

    print(f'Python {platform.python_version()}, {platform.system()} {platform.machine()}')
    report = installation.examine()
    for name, version in report.versions.items():
        print(f'  {name:<24} {version}')
    for finding in report.findings:
        print(f'- {finding}')
    if not report.findings:
        print('Nothing that is known to clash.')
    return 1 if report.findings else 0


if __name__ == '__main__':
    main()
