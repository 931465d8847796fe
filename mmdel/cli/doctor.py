"""``python -m mmdel doctor``."""

import platform

from mmdel.compute import installation


def main() -> int:
    """Print the report; 1 where something does not work."""
    print(f'Python {platform.python_version()}, {platform.system()} {platform.machine()}')
    report = installation.examine()
    for name, version in report.versions.items():
        print(f'  {name:<24} {version}')
    for finding in report.findings:
        print(f'- {finding}')
    if not report.findings:
        print('Nothing that is known to clash.')
    return 1 if report.findings else 0
