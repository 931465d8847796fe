"""``mmdel demo``: the whole loop on synthetic demo data. Pre-train, choose, pre-train on the choice, fine-tune, compare.

    mmdel demo            # minutes on two CPU cores
    mmdel demo --quick    # draw frames, choose among them, look at the report: less than a minute

Prints every command that it runs, so that each can be repeated by hand and changed.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mmdel.cli.arguments import ArgumentParser
from mmdel.cli.command import Command

if TYPE_CHECKING:
    from rich.console import Console

WORK = Path('work_dirs/demo')
LOGS = WORK / 'logs'
DATA, QUICK_DATA = 'data/demo', 'data/demo-quick'
RATIO, EPOCHS = '0.2', '20'
MMDEL = ('-m', 'mmdel')
PROGRESS = re.compile(r'(?:Epoch|Iter)\((?:train|val)\) .*?(?=  )')
SHOWN = ('equal compute: ',)
"""Lines of a training that are for people; the rest is in its log."""


def latest(run: str) -> str:
    """The last checkpoint of a run, as mmengine notes it."""
    return str(WORK / run / Path((WORK / run / 'last_checkpoint').read_text()).name)


def step(console: 'Console', title: str, *command: str, quiet: bool = True) -> None:
    """Run one command; of a training only its progress is shown."""
    from rich.markup import escape

    shown = ' '.join(f"'{part}'" if re.search(r'[ %]', part) else part for part in command)
    console.print(f'\n[bold]{title}[/bold]\n  python {escape(shown)}', soft_wrap=True)
    start = time.monotonic()
    if not quiet:
        result = subprocess.run([sys.executable, *command])
        if result.returncode:
            raise SystemExit(result.returncode)
        return
    words = [word for word in command if word not in MMDEL]
    log = LOGS / f'{Path(words[-1] if "--work-dir" in words else words[1]).stem}.log'
    with open(log, 'w') as file, console.status('starting') as status:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines: list[str] = []
        for line in process.stdout or ():
            file.write(line)
            lines = [*lines[-20:], line]
            if line.startswith(SHOWN):
                console.print(f'  {escape(line.rstrip())}', soft_wrap=True)
            if found := PROGRESS.search(line):
                status.update(escape(found[0]))
    if process.wait():
        console.print(escape(''.join(lines)))
        console.print(f'The command failed. Its whole output: {log}')
        raise SystemExit(process.returncode)
    console.print(f'  done in {time.monotonic() - start:.0f} s')


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument('--quick', action='store_true', help='only draw frames, choose among them, and report')


def _run(args: argparse.Namespace) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    LOGS.mkdir(parents=True, exist_ok=True)
    seconds = time.monotonic()
    (_quick if args.quick else _whole_loop)(console)
    console.print(f'\nAll of it took {(time.monotonic() - seconds) / 60:.1f} minutes.')


def _quick(console: 'Console') -> None:
    draw = (*MMDEL, 'demo-data', '--out', QUICK_DATA, '--frames', '120')
    step(console, 'Draw endoscopy-like clips', *draw, quiet=False)
    step(
        console,
        f'Keep {float(RATIO):.0%} of the frames, by thumbnails, which need no weights',
        *(*MMDEL, 'select', f'{QUICK_DATA}/pool', '--ratio', RATIO, '--encoder', 'pixels', '--overwrite'),
        quiet=False,
    )
    console.print(
        f'\nNow your own frames, with a real encoder (its weights are loaded once):\n  mmdel select FOLDER --ratio {RATIO}'
    )


def _whole_loop(console: 'Console') -> None:
    step(console, 'Draw endoscopy-like clips', *MMDEL, 'demo-data', '--out', DATA, quiet=False)
    subset = str(WORK / 'subset' / 'subset.parquet')
    truth = f'{DATA}/pool/truth.csv'
    train = (*MMDEL, 'train')
    step(console, 'Pre-train a tiny masked autoencoder on all frames', *train, 'mae_tiny.py')
    step(
        console,
        f'Keep {float(RATIO):.0%} of the frames, by the features of that autoencoder',
        *(*MMDEL, 'select', '--config', 'meddel_mae.py', '--ratio', RATIO, '--overwrite'),
        quiet=False,
    )
    step(
        console,
        'Hold the choice against the truth',
        *(*MMDEL, 'demo-truth', subset, truth),
        quiet=False,
    )
    coverage = str(WORK / 'coverage' / 'subset.parquet')
    step(
        console,
        'Keep as many by the method that `mmdel select` takes if none is named',
        *(*MMDEL, 'select', '--config', 'meddel_mae.py', '--selector', 'coverage', '--ratio', RATIO, '--overwrite'),
        *('--work-dir', str(WORK / 'coverage')),
        quiet=False,
    )
    step(console, 'Both against the truth', *MMDEL, 'demo-truth', subset, coverage, truth, quiet=False)
    step(
        console,
        'Pre-train on the subset for as long as it costs the same',
        *(*train, 'mae_tiny_subset.py', '--equal-compute', EPOCHS),
    )
    fine_tune = (*train, 'segmentation_tiny.py')
    step(console, 'Fine-tune the encoder of all frames for polyps', *fine_tune)
    step(
        console,
        'Fine-tune the encoder of the subset',
        *(*fine_tune, '--pretrained', latest('mae_subset'), '--retention', subset),
        *('--work-dir', str(WORK / 'segmentation_subset')),
    )
    step(console, 'Fine-tune a random encoder', *train, 'segmentation_tiny_random.py')
    step(
        console,
        'Compare',
        *(*MMDEL, 'compare', *(str(WORK / f'segmentation_{name}') for name in ('random', 'all', 'subset'))),
        *('--names', 'random', 'all frames', f'{float(RATIO):.0%}', '--alphas', '0', '0.1', '0.5', '1', '--last', '3'),
        *('--pretrain', f'all frames={WORK / "mae_all"}', f'{float(RATIO):.0%}={WORK / "mae_subset"}'),
        quiet=False,
    )
    console.print(f'\nLogs: {LOGS}')


COMMAND = Command(
    'Everything on synthetic demo data, command by command, into data and work_dirs of this folder.',
    _add_arguments,
    _run,
)
