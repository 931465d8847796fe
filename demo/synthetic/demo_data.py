"""Synthetic demo data: endoscopy rendered from a seed, with everything that is wrong in real collections.

    write_demo_data('data/demo')
    # data/demo/pool/{gastrovision,hyper-kvasir,kvasir-capsule}/...   laid out and named as the pre-training sets
    # data/demo/pool/truth.csv                                        what each of those files is
    # data/demo/segmentation/kvasir-seg/{images,masks}, train.txt, val.txt

``truth.csv`` has the columns of :class:`Truth`. The kinds are ``frame``, ``copy`` (the same bytes under another name),
``black``, ``washed_out``, ``blurred``, ``text`` (burnt into a frame, or a report card, which belongs to no clip) and
``unreadable`` (an empty and a truncated file). Speeds differ from clip to clip, so slow ones hold natural
near-duplicates. A folder appears under its name only when it is complete; a complete one is not drawn again. The same
seed gives the same bytes, as long as the versions of NumPy and OpenCV stay the same.
"""

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from mmdel.compute.files import csv_text, write_text
from mmdel.compute.progress import SILENT, Stages, Tick
from mmdel.errors import DatasetError
from synthetic.camera import Camera, develop, look
from synthetic.rubbish import burn_in, report_card, spoil
from synthetic.tube import COLON, OESOPHAGUS, SMALL_BOWEL, STOMACH, Picture, Style, Tube

SIZE = 256
"""Width and height of every picture in pixels."""
VERSION = 1
"""Of the drawings: raised whenever the same seed gives other bytes."""
STAMP = '.synthetic.json'
JUNK = {'black': 50, 'washed_out': 50, 'blurred': 30, 'text': 120}
"""Within the clips, one of the kind on so many good frames."""
REPORT_CARDS, COPIES = 120, 15
"""Beside the clips, one on so many good frames."""


class Truth(NamedTuple):
    """One row of the truth table.

    Args:
        image (str): Key, relative to the pool.
        clip (str): The clip that the file is from, '' for none.
        frame (str): Place in the clip, counted from 0, '' for none.
        kind (str): What the file is.
        copy_of (str): Key of the file with the same bytes that was there first, '' for none.
    """

    image: str
    clip: str
    frame: str
    kind: str
    copy_of: str = ''


@dataclass(frozen=True)
class Clip:
    """A recording: where its frames are filed, and how fast the camera goes (radii a frame)."""

    folder: str
    style: Style
    speed: float
    polyps: int = 0


_GASTROVISION, _CAPSULE = 'gastrovision/', 'kvasir-capsule/labelled_images/'
_UPPER, _LOWER = 'hyper-kvasir/labeled-images/upper-gi-tract/', 'hyper-kvasir/labeled-images/lower-gi-tract/'
_UNLABELLED = 'hyper-kvasir/unlabeled-images/images'

CLIPS = (
    Clip(_GASTROVISION + 'Colon polyps', COLON, 0.03, polyps=9),
    Clip(_LOWER + 'pathological-findings/polyps', COLON, 0.015, polyps=9),
    Clip(_CAPSULE + 'Normal clean mucosa', SMALL_BOWEL, 0.05),
    Clip(_UNLABELLED, COLON, 0.12, polyps=3),
    Clip(_GASTROVISION + 'Normal mucosa and vascular pattern in the large bowel', COLON, 0.004),
    Clip(_UPPER + 'anatomical-landmarks/z-line', OESOPHAGUS, 0.02),
    Clip(_CAPSULE + 'Lymphangiectasia', SMALL_BOWEL, 0.008),
    Clip(_GASTROVISION + 'Normal stomach', STOMACH, 0.06),
    Clip(_LOWER + 'quality-of-mucosal-views/bbps-2-3', COLON, 0.08),
    Clip(_CAPSULE + 'Polyp', SMALL_BOWEL, 0.02, polyps=8),
    Clip(_GASTROVISION + 'Gastric polyps', STOMACH, 0.012, polyps=8),
    Clip(_UNLABELLED, STOMACH, 0.004),
    Clip(_LOWER + 'anatomical-landmarks/cecum', COLON, 0.01),
    Clip(_CAPSULE + 'Normal clean mucosa', SMALL_BOWEL, 0.002),
    Clip(_GASTROVISION + 'Normal esophagus', OESOPHAGUS, 0.1),
    Clip(_UPPER + 'anatomical-landmarks/retroflex-stomach', STOMACH, 0.025),
    Clip(_CAPSULE + 'Pylorus', SMALL_BOWEL, 0.1),
    Clip(_GASTROVISION + 'Normal mucosa and vascular pattern in the large bowel', COLON, 0.15),
    Clip(_UNLABELLED, OESOPHAGUS, 0.006),
    Clip(_GASTROVISION + 'Cecum', COLON, 0.002, polyps=4),
)
"""Taken in turn; the first three come from three sources."""


def write_demo_data(out: str | Path, seed: int = 0, progress: Stages = SILENT) -> Path:
    """Draw all synthetic demo data, about 700 files and 160 pairs.

    Args:
        out (str | Path): Folder that gets ``pool`` and ``segmentation/kvasir-seg``.
        seed (int): Defaults to 0.
        progress (Stages): Defaults to SILENT.

    Returns:
        Path: ``out``.
    """
    render_pool(Path(out, 'pool'), seed, progress=progress)
    render_segmentation(Path(out, 'segmentation', 'kvasir-seg'), seed, progress=progress)
    return Path(out)


def render_pool(out: str | Path, seed: int = 0, clips: int = 20, frames: int = 600, progress: Stages = SILENT) -> Path:
    """Draw a pool for pre-training and its truth table.

    Args:
        out (str | Path): The pool: keys are relative to it.
        seed (int): Defaults to 0.
        clips (int): Defaults to 20.
        frames (int): Good frames in all; rubbish and copies come on top. Defaults to 600.
        progress (Stages): Defaults to SILENT.

    Returns:
        Path: ``out``.

    Raises:
        DatasetError: If ``out`` holds something else, or there are fewer frames than clips.
    """
    if not 1 <= clips <= frames:
        raise DatasetError(f'A pool needs at least one clip and one frame a clip; got clips={clips}, frames={frames}.')
    recipe = dict(what='pool', seed=seed, clips=clips, frames=frames)

    def draw(folder: Path) -> None:
        rng = np.random.default_rng([seed, 0])
        kinds = _shot_lists(rng, clips, frames)
        with progress.stage('render pool', total=sum(map(len, kinds))) as tick, ThreadPoolExecutor(_workers()) as pool:
            shots = pool.map(lambda number: _film(folder, seed, number, kinds[number], tick), range(clips))
            rows = [row for clip in shots for row in clip]
        rows += _report_cards(folder, rng, max(1, frames // REPORT_CARDS))
        rows += _copies(folder, rng, rows, max(1, frames // COPIES))
        rows += _unreadable(folder, rng, rows)
        write_text(folder / 'truth.csv', csv_text([Truth._fields, *sorted(rows)]))

    return _draw_once(Path(out), recipe, draw)


def render_segmentation(out: str | Path, seed: int = 0, pairs: int = 160, progress: Stages = SILENT) -> Path:
    """Draw colonoscopy pictures with polyp masks, and lists that keep whole clips on one side.

    Args:
        out (str | Path): Gets ``images/*.jpg``, ``masks/*.png`` (0 and 255), and stems in ``train.txt``, ``val.txt``.
        seed (int): Defaults to 0.
        pairs (int): Pictures in all, ten a clip. Defaults to 160.
        progress (Stages): Defaults to SILENT.

    Returns:
        Path: ``out``.

    Raises:
        DatasetError: If ``out`` holds something else, or there are not enough pairs for both lists.
    """
    if pairs < 2:
        raise DatasetError(f'A training and a validation list need at least two pairs; got pairs={pairs}.')
    clips = max(2, pairs // 10)

    def film(folder: Path, number: int, tick: Tick) -> list[str]:
        rng = np.random.default_rng([seed, 2, number])
        tube = Tube.build(rng, COLON, polyps=9)
        stems = []
        for frame, camera in enumerate(_path(rng, 0.25, len(range(number, pairs, clips)))):
            light, polyp = look(tube, camera, SIZE)
            picture, inside = develop(light, False, rng)
            stems.append(f'clip{number:02d}_{frame:04d}')
            _write(folder / 'images' / f'{stems[-1]}.jpg', picture)
            _write(folder / 'masks' / f'{stems[-1]}.png', (polyp & inside).astype(np.uint8) * 255)
            tick(1)
        return stems

    def draw(folder: Path) -> None:
        with progress.stage('render segmentation', total=pairs) as tick, ThreadPoolExecutor(_workers()) as pool:
            stems = list(pool.map(lambda number: film(folder, number, tick), range(clips)))
        held_out = max(1, clips // 4)
        for name, side in (('train', stems[:-held_out]), ('val', stems[-held_out:])):
            (folder / f'{name}.txt').write_text(''.join(f'{stem}\n' for clip in side for stem in clip))

    return _draw_once(Path(out), dict(what='segmentation', seed=seed, pairs=pairs), draw)


def _workers() -> int:
    return min(4, os.cpu_count() or 1)


def _draw_once(out: Path, recipe: dict[str, Any], draw: Callable[[Path], None]) -> Path:
    """Draw into a hidden neighbour and rename it, unless ``out`` already holds this very recipe."""
    recipe = dict(recipe, version=VERSION)
    stamp = out / STAMP
    if out.exists() and any(out.iterdir()):
        found = json.loads(stamp.read_text()) if stamp.exists() else None
        if found == recipe:
            return out
        held = f'other synthetic demo data ({json.dumps(found)})' if found else 'files that are not synthetic demo data'
        raise DatasetError(f"'{out}' holds {held}, and nothing is overwritten. Remove it or choose another folder.")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{out.name}-', dir=out.parent) as hidden:
        folder = Path(hidden, out.name)
        folder.mkdir()
        draw(folder)
        Path(folder, STAMP).write_text(json.dumps(recipe) + '\n')
        os.replace(folder, out)
    return out


def _write(path: Path, picture: Picture) -> None:
    """OpenCV's own writer takes no non-ASCII path on every system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if path.suffix == '.jpg' else []
    path.write_bytes(cv2.imencode(path.suffix, picture, quality)[1].tobytes())


def _shot_lists(rng: np.random.Generator, clips: int, frames: int) -> list[list[str]]:
    """For each clip the kinds of its frames in order; lengths differ up to five times."""
    ends = np.cumsum(rng.uniform(0.4, 2.0, clips))
    lengths = 1 + np.diff(np.floor(ends / ends[-1] * (frames - clips) + 1e-6), prepend=0).astype(int)
    lists = [['frame'] * length for length in lengths]
    for kind, on_frames in JUNK.items():
        for _ in range(max(1, frames // on_frames)):
            shots = lists[rng.integers(clips)]
            shots.insert(rng.integers(len(shots) + 1), kind)
    return lists


def _path(rng: np.random.Generator, speed: float, frames: int) -> list[Camera]:
    """A hand that pushes on, sways, searches the wall and now and then turns the scope."""
    time = np.arange(frames) * (0.012 + 2.0 * speed)

    def sway(reach: float) -> NDArray[np.float64]:
        slow, fast, start, other = rng.uniform((0.5, 1.7, 0, 0), (1.1, 2.6, 6.28, 6.28))
        return reach * (0.7 * np.sin(slow * time + start) + 0.3 * np.sin(fast * time + other))

    forward = rng.uniform(0, 12) + speed * np.arange(frames) * rng.uniform(0.9, 1.1)
    roll = rng.uniform(0, 6.28) + sway(0.8)
    yaw, pitch = (rng.uniform(-0.5, 0.5) + sway(0.7) for _ in range(2))
    columns = (forward, sway(0.22), sway(0.22), yaw, pitch, roll)
    return [Camera(*map(float, row)) for row in zip(*columns, strict=True)]


def _film(folder: Path, seed: int, number: int, kinds: list[str], tick: Tick) -> list[Truth]:
    clip = CLIPS[number % len(CLIPS)]
    rng = np.random.default_rng([seed, 1, number])
    tube = Tube.build(rng, clip.style, clip.polyps)
    video = rng.bytes(8).hex()
    rows = []
    for frame, (kind, camera) in enumerate(zip(kinds, _path(rng, clip.speed, len(kinds)), strict=True)):
        light = spoil(look(tube, camera, SIZE)[0], kind, rng)
        picture, _ = develop(light, clip.style.capsule, rng)
        if kind == 'text':
            burn_in(picture, rng)
        key = f'{clip.folder}/{video}_{frame}.jpg' if clip.style.capsule else _new_key(clip.folder, rng)
        _write(folder / key, picture)
        rows.append(Truth(key, f'clip{number:02d}', str(frame), kind))
        tick(1)
    return rows


def _new_key(folder: str, rng: np.random.Generator) -> str:
    return f'{folder}/{uuid.UUID(bytes=rng.bytes(16), version=4)}.jpg'


def _report_cards(folder: Path, rng: np.random.Generator, count: int) -> list[Truth]:
    rows = []
    for place in range(count):
        rows.append(Truth(_new_key(_UNLABELLED, rng), '', '', 'text'))
        _write(folder / rows[-1].image, report_card(rng, dark=place % 2 == 0))
    return rows


def _copies(folder: Path, rng: np.random.Generator, rows: list[Truth], count: int) -> list[Truth]:
    """Exact copies in turn beside the original, in another class and in another source; a capsule's keep their name."""
    frames = [row for row in rows if row.kind == 'frame']
    copies = []
    for place, picked in enumerate(rng.choice(len(frames), min(count, len(frames)), replace=False)):
        first = frames[picked]
        home, name = first.image.rsplit('/', 1)
        capsule = first.image.startswith(_CAPSULE)
        classes = sorted({clip.folder for clip in CLIPS if clip.folder.startswith(_CAPSULE) == capsule} - {home})
        abroad = [other for other in classes if other.split('/')[0] != home.split('/')[0]]
        near = [other for other in classes if other not in abroad]
        target = str(rng.choice(near if capsule else ([home], near, abroad)[place % 3]))
        key = f'{target}/{name}' if capsule else _new_key(target, rng)
        (folder / target).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / first.image, folder / key)
        copies.append(Truth(key, first.clip, first.frame, 'copy', first.image))
    return copies


def _unreadable(folder: Path, rng: np.random.Generator, rows: list[Truth]) -> list[Truth]:
    """An empty file, and one whose copying was cut short."""
    whole = (folder / rows[0].image).read_bytes()
    keys = _new_key(CLIPS[0].folder, rng), _new_key(_UNLABELLED, rng)
    for key, content in zip(keys, (b'', whole[: len(whole) * 2 // 5]), strict=True):
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)
    return [Truth(key, '', '', 'unreadable') for key in keys]
