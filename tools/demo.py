"""The whole loop on synthetic demo data: pre-train, choose, pre-train on the choice, fine-tune, compare.

python tools/demo.py

Prints every command that it runs, so that each can be repeated by hand and changed. Takes minutes on two CPU cores.
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from mmdel.cli.arguments import ArgumentParser

WORK = Path('work_dirs/demo')
LOGS = WORK / 'logs'
RATIO, EPOCHS = '0.2', '20'
PROGRESS = re.compile(r'(?:Epoch|Iter)\((?:train|val)\) .*?(?=  )')
SHOWN = ('equal compute: ',)
"""Lines of a training that are for people; the rest is in its log."""


def parse_args() -> argparse.Namespace:
    parser = ArgumentParser(description='Everything on synthetic demo data, command by command.')
    return parser.parse_args()


def main() -> None:
    parse_args()
    from rich.console import Console

    console = Console(highlight=False)
    LOGS.mkdir(parents=True, exist_ok=True)
    seconds = time.monotonic()
    step(console, 'Draw endoscopy-like clips', 'tools/make_demo_data.py', quiet=False)
    step(console, 'Pre-train a tiny masked autoencoder on all frames', 'tools/train.py', 'configs/demo/mae_tiny.py')
    step(
        console,
        f'Keep {float(RATIO):.0%} of the frames, by the features of that autoencoder',
        *('tools/dedup.py', 'configs/demo/meddel_mae.py', '--ratio', RATIO, '--overwrite'),
        quiet=False,
    )
    truth = ('tools/demo_truth.py', str(WORK / 'subset' / 'subset.parquet'), 'data/demo/pool/truth.csv')
    step(console, 'Hold the choice against the truth', *truth, quiet=False)
    step(
        console,
        'Pre-train on the subset for as long as it costs the same',
        *('tools/train.py', 'configs/demo/mae_tiny_subset.py', '--equal-compute', EPOCHS),
    )
    fine_tune = ('tools/train.py', 'configs/demo/segmentation_tiny.py')
    step(console, 'Fine-tune the encoder of all frames for polyps', *fine_tune)
    step(
        console,
        'Fine-tune the encoder of the subset',
        *(*fine_tune, '--pretrained', latest('mae_subset'), '--retention', str(WORK / 'subset' / 'subset.parquet')),
        *('--work-dir', str(WORK / 'segmentation_subset')),
    )
    step(console, 'Fine-tune a random encoder', 'tools/train.py', 'configs/demo/segmentation_tiny_random.py')
    step(
        console,
        'Compare',
        *(
            'tools/analysis_tools/compare_runs.py',
            *(str(WORK / f'segmentation_{name}') for name in ('random', 'all', 'subset')),
        ),
        *('--names', 'random', 'all frames', f'{float(RATIO):.0%}', '--alphas', '0', '0.1', '0.5', '1', '--last', '3'),
        *('--pretrain', f'all frames={WORK / "mae_all"}', f'{float(RATIO):.0%}={WORK / "mae_subset"}'),
        quiet=False,
    )
    console.print(f'\nAll of it took {(time.monotonic() - seconds) / 60:.1f} minutes. Logs: {LOGS}')


def latest(run: str) -> str:
    """The last checkpoint of a run, as mmengine notes it."""
    return str(WORK / run / Path((WORK / run / 'last_checkpoint').read_text()).name)


def step(console, title: str, *command: str, quiet: bool = True) -> None:
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
    log = LOGS / f'{Path(command[-1] if "--work-dir" in command else command[1]).stem}.log'
    with open(log, 'w') as file, console.status('starting') as status:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        lines: list[str] = []
        for line in process.stdout:
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


if __name__ == '__main__':
    main()
