"""Finding near-duplicates in the same image files, and the first picture of them: mmdel beside other tools.

    python -m venv peers && peers/bin/pip install imagededup cleanvision fiftyone fastdup
    python benchmarks/peers.py --images data/wce --peers peers/bin/python
    python benchmarks/peers.py --images data/wce --peers peers/bin/python --picture

Each tool runs as a command of its own, by turns, on the same files (links in a folder of their own) and with empty caches: wall
time from start to end, imports included, and peak memory of its largest process. mmdel compares 16x16 thumbnails, about as fast
and as coarse as the hashes of the others, and its whole run writes the subset, the lists and the report. FiftyOne needs a MongoDB
that it can start or that FIFTYONE_DATABASE_URI names; it is given thumbnails as vectors. A tool that is not installed is named
and left out.

With ``--picture``: the lines that a person types in Python until a page or picture shows which images repeat others, and how
long that takes. Each tool is asked as its own first example has it; FiftyOne shows its pictures in an app that has no end.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PEERS = {
    'imagededup, PHash': """
from imagededup.methods import PHash
found = PHash(verbose=False).find_duplicates(image_dir=sys.argv[1], max_distance_threshold=10, recursive=True)
print('FOUND', sum(map(bool, found.values())))
""",
    'imagededup, DHash': """
from imagededup.methods import DHash
found = DHash(verbose=False).find_duplicates(image_dir=sys.argv[1], max_distance_threshold=10, recursive=True)
print('FOUND', sum(map(bool, found.values())))
""",
    'cleanvision': """
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues({'exact_duplicates': {}, 'near_duplicates': {}}, verbose=False)
print('FOUND', int(lab.issues['is_near_duplicates_issue'].sum() + lab.issues['is_exact_duplicates_issue'].sum()))
""",
    'FiftyOne': """
import cv2, numpy, fiftyone, fiftyone.brain
fiftyone.config.show_progress_bars = False
data = fiftyone.Dataset.from_images_dir(sys.argv[1], recursive=True)
small = [cv2.resize(cv2.imread(path), (16, 16), interpolation=cv2.INTER_AREA).ravel() for path in data.values('filepath')]
found = fiftyone.brain.compute_near_duplicates(data, threshold=0.05, embeddings=numpy.array(small, float))
print('FOUND', len(found.duplicate_ids))
""",
}

PICTURES = {
    'mmdel': """
import mmdel
chosen = mmdel.select('images', ratio=0.05, encoder='pixels')
chosen.report('report.html')
""",
    'fastdup': """
import fastdup
found = fastdup.create(input_dir='images')
found.run()
found.vis.duplicates_gallery()
""",
    'imagededup': """
from imagededup.methods import PHash
from imagededup.utils import plot_duplicates
found = PHash().find_duplicates(image_dir='images')
first = next(name for name in found if found[name])
plot_duplicates('images', found, first, outfile='duplicates.png')
""",
    'cleanvision': """
from cleanvision import Imagelab
lab = Imagelab(data_path='images')
lab.find_issues()
lab.report()
""",
}
"""In a folder that holds ``images``. A figure that cleanvision shows in a notebook is saved here."""
SHOWN_ONLY = {
    'cleanvision': """
import matplotlib
matplotlib.use('agg')
import matplotlib.pyplot
matplotlib.pyplot.show = lambda: matplotlib.pyplot.savefig('report.png')
"""
}


def run(command: list[str], cwd: Path = ROOT) -> tuple[float, float, str]:
    """Seconds, peak memory of the largest process in GB, and what was printed.

    Raises:
        RuntimeError: The command failed; its last line says why.
    """
    with tempfile.TemporaryFile('w+') as printed:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, cwd=cwd)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        printed.seek(0)
        text = printed.read()
    if process.returncode:
        raise RuntimeError((text.strip() or 'no word').splitlines()[-1])
    return seconds, used.ru_maxrss * 1024 / 1e9, text


def links(source: Path, folder: Path, count: int) -> int:
    """Every n-th JPEG below a folder, linked into another; how many there are."""
    paths = sorted(path for path in source.rglob('*') if path.suffix.lower() in ('.jpg', '.jpeg'))
    paths = paths[:: max(1, len(paths) // count)][:count]
    for number, path in enumerate(paths):
        (folder / f'{number:06d}.jpg').symlink_to(path.resolve())
    return len(paths)


def pictures(folder: Path, images: Path, python: str) -> dict[str, list[str]]:
    """The command of each tool that ends with a picture, in a folder that holds links to the images."""
    (folder / 'images').mkdir(parents=True)
    for path in images.iterdir():
        (folder / 'images' / path.name).symlink_to(path.resolve())
    return {
        tool: [sys.executable if tool == 'mmdel' else python, '-c', SHOWN_ONLY.get(tool, '') + script]
        for tool, script in PICTURES.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=Path, required=True, help='a folder of JPEG files')
    parser.add_argument('--count', type=int, default=1000, help='how many of them, evenly spaced')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument(
        '--peers', default=sys.executable, metavar='PYTHON', help='an interpreter that has the other tools'
    )
    parser.add_argument('--picture', action='store_true', help='until a picture shows what repeats, from Python')
    args = parser.parse_args()
    print(f'{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}')
    measured: dict[str, list[tuple[float, float]]] = {}
    refused: dict[str, str] = {}
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, 'images')
        folder.mkdir()
        count = links(args.images, folder, args.count)
        for round_ in range(args.rounds):
            out = Path(name, f'round {round_}')
            mmdel = [
                sys.executable, 'tools/dedup.py', 'configs/meddel_eta08.py', '--encoder', 'pixels', '--images', str(folder),
                '--work-dir', str(out), '--cfg-options', f'cache_dir={out}-cache', 'selector.scope=global', 'center=True',
            ]  # fmt: skip
            lean = [part.replace(str(out), f'{out} lean') for part in mmdel]
            commands = {'mmdel, the whole run': mmdel, 'mmdel, without the report': [*lean, '--no-report']}
            for peer, script in PEERS.items():
                commands[peer] = [args.peers, '-c', 'import sys\n' + script, str(folder)]
            if args.picture:
                commands = pictures(out, folder, args.peers)
            for tool, command in commands.items():
                if tool in refused:
                    continue
                try:
                    seconds, memory, text = run(command, out if args.picture else ROOT)
                except RuntimeError as error:
                    refused[tool] = str(error)
                    continue
                measured.setdefault(tool, []).append((seconds, memory))
                found[tool] = next((line.split()[1] for line in text.splitlines() if line.startswith('FOUND')), '')
        for tool, rounds in measured.items():
            seconds = [each for each, _ in rounds]
            print(
                f'{tool}: {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f}), '
                f'{count / statistics.median(seconds):.0f} images/s, peak memory {max(memory for _, memory in rounds):.2f} GB'
                + (f', {found[tool]} images in groups' if found[tool] else '')
                + (f', {len(PICTURES[tool].strip().splitlines())} lines' if args.picture else '')
            )
        for tool, reason in refused.items():
            print(f'{tool}: not measured ({reason[:200]})')


if __name__ == '__main__':
    main()
