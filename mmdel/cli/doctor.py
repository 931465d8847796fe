"""``mmdel doctor``: the versions installed, known conflicts, and the command that fixes each."""

import argparse
import platform

from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command, Outcome

SUMMARY = {
    'python': 'the version of Python',
    'platform': 'system and machine',
    'versions': 'package: its version',
    'findings': 'what does not work, and how to mend it',
}


def _add_arguments(parser: ArgumentParser) -> None:
    """It has no options."""


def _run(args: argparse.Namespace) -> Outcome:
    from mmdel.compute import installation

    machine = f'{platform.system()} {platform.machine()}'
    print(f'Python {platform.python_version()}, {machine}')
    report = installation.examine()
    for name, version in report.versions.items():
        print(f'  {name:<24} {version}')
    findings = [str(finding) for finding in report.findings]
    for finding in findings:
        print(f'- {finding}')
    if not findings:
        print('Nothing that is known to clash.')
    summary = {
        'python': platform.python_version(),
        'platform': machine,
        'versions': dict(report.versions),
        'findings': findings,
    }
    return Outcome(summary, 1 if findings else 0)


COMMAND = Command(
    'The versions that are installed, what is known to clash, and the line that mends it; exit status 1 where something does.',
    _add_arguments,
    _run,
    summary=SUMMARY,
)
