"""What a dataset serves, as pictures: its images after its pipeline, with masks and labels, alone and on one sheet."""

import colorsys
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mmdel.compute.progress import Stages

PHASES = ('train', 'val', 'test')
CELL, MARGIN, LINE = 240, 8, 16
"""Of the sheet, in pixels: the side of a picture, the space round it, and the height of a line of text."""
IGNORED = 255
"""The mask value that OpenMMLab leaves out of loss and metrics."""


@dataclass
class Loaded:
    """One item as its files hold it.

    Args:
        path (str): The file.
        image (NDArray): uint8 [H, W, 3], BGR.
        rgb (bool): Whether the pipeline after it swaps the channels.
        label (Any): ``gt_label``, None where there is none.
        mask (NDArray, optional): [H, W], a class a pixel. Defaults to None.
    """

    path: str
    image: NDArray
    rgb: bool
    label: Any
    mask: NDArray | None = None


class Recorder:
    """A transform that changes nothing and notes what the ``Load...`` transform before it has loaded.

    The image and the mask are noted apart: mmseg's test pipelines load the mask after the image was resized.
    """

    def __init__(self, loaded: list[Loaded], rgb: bool) -> None:
        self.loaded = loaded
        self.rgb = rgb

    def __call__(self, results: dict[str, Any] | None) -> dict[str, Any] | None:
        if results is None or results.get('img') is None:
            return results
        path = str(results.get('img_path', ''))
        if results.get('gt_seg_map') is None or not self.loaded or self.loaded[-1].path != path:
            self.loaded.append(Loaded(path, results['img'].copy(), self.rgb, results.get('gt_label')))
        if results.get('gt_seg_map') is not None:
            self.loaded[-1].mask = results['gt_seg_map'].copy()
        return results


def record(dataset: Any, loaded: list[Loaded]) -> None:
    """Put recorders behind the loading transforms of every dataset at the bottom of the nest."""
    from mmengine.dataset import Compose

    from mmdel.images import wrappers

    for leaf in wrappers.leaf_datasets(dataset):
        steps = leaf.pipeline.transforms
        rgb = False
        for step in steps:
            rgb = (rgb or getattr(step, 'to_rgb', False)) and not getattr(step, 'to_bgr', False)
        leaf.pipeline = Compose([])
        for step in steps:
            leaf.pipeline.transforms.append(step)
            if type(step).__name__.startswith('Load'):
                leaf.pipeline.transforms.append(Recorder(loaded, rgb))


def build_dataset(cfg: Any, phase: str) -> Any:
    """The dataset of a phase of a training config, with its files listed."""
    from mmengine.registry import init_default_scope

    from mmdel.errors import ConfigError
    from mmdel.registry import DATASETS

    loader = cfg.get(f'{phase}_dataloader') or {}
    if 'dataset' not in loader:
        there = [name for name in PHASES if 'dataset' in (cfg.get(f'{name}_dataloader') or {})]
        found = f'It has one for {" and ".join(there)}: --phase {there[0]}' if there else 'Give a training config.'
        raise ConfigError(f'{cfg.filename} has no {phase}_dataloader.dataset. {found}')
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    try:
        dataset = DATASETS.build(loader['dataset'])
        dataset.full_init()
    except FileNotFoundError as error:
        raise ConfigError(f'The {phase} dataset of {cfg.filename} lacks a file: {error}') from error
    return dataset


def check_output(folder: Path, dataset: Any) -> None:
    """Pictures inside the image folders would be taken for images the next time."""
    from mmdel.errors import ConfigError
    from mmdel.images import keys, wrappers

    for leaf in wrappers.leaf_datasets(dataset):
        paths = [keys.absolute_paths(wrappers.image_paths(leaf))]
        root = keys.data_root(leaf)
        if root and Path.cwd().resolve().is_relative_to(Path(root).resolve()):
            root = None  # the folder that one works in holds data and results alike
        for images in {keys.table_base([leaf], paths), root} - {None, ''}:
            if folder.resolve().is_relative_to(Path(str(images)).resolve()):
                raise ConfigError(
                    f'{folder} lies inside the image folder {images}, where its pictures would be taken for images the '
                    'next time. Choose another place: --output-dir DIR'
                )


# --- pixels


def views(item: dict[str, Any], rgb: bool) -> list[NDArray]:
    """What the model gets of an item, as uint8 [H, W, 3] in BGR: one picture, or several of a multi-view pipeline."""
    from mmdel.errors import DatasetError

    found = item.get('inputs', item.get('img'))
    if found is None:
        raise DatasetError(
            f'The pipeline ends with {sorted(item)} and no picture among them, neither inputs nor img. End it with PackInputs '
            '(mmpretrain) or PackSegInputs (mmseg), or look at the files: --mode original'
        )
    pictures = []
    for each in found if isinstance(found, list | tuple) or found.ndim == 4 else [found]:
        pixels = np.asarray(each)
        if 'inputs' in item and pixels.ndim == 3:
            pixels = pixels.transpose(1, 2, 0)
        pixels = to_uint8(pixels)
        if pixels.ndim == 2 or pixels.shape[2] == 1:
            pixels = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_GRAY2BGR)
        elif pixels.shape[2] != 3:
            raise DatasetError(
                f'Only inputs of 1 or 3 channels are pictures; the pipeline gives {np.asarray(each).shape}.'
            )
        elif rgb:
            pixels = pixels[..., ::-1]
        pictures.append(np.ascontiguousarray(pixels))
    return pictures


def to_uint8(pixels: NDArray) -> NDArray:
    """Grey levels and fractions as they are; what is neither (normalised inputs) from its darkest to its lightest value."""
    if pixels.dtype == np.uint8:
        return pixels
    pixels = pixels.astype(np.float64)
    low, high = pixels.min(), pixels.max()
    if low < 0 or high > 255:
        pixels = (pixels - low) / max(high - low, 1e-9) * 255
    elif high <= 1:
        pixels = pixels * 255
    return np.rint(pixels).astype(np.uint8)


def draw_mask(image: NDArray, mask: Any, meta: dict[str, Any]) -> NDArray:
    """Blend every class but the background into the image, with a contour; pixels outside stay as they are.

    Args:
        image (NDArray): uint8 [H, W, 3], BGR.
        mask (NDArray): [h, w], a class a pixel; resized to the image where that was resized alone.
        meta (dict): ``classes`` and ``palette`` (RGB) of the dataset, where it has them.
    """
    mask = np.asarray(mask).squeeze().astype(np.uint8)
    if mask.shape != image.shape[:2]:
        mask = cv2.resize(mask, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    drawn = image.copy()
    for value in shown_values(mask, meta):
        inside = (mask == value).astype(np.uint8)
        colour = np.array(colour_of(value, meta)[::-1])
        drawn[inside == 1] = np.rint(0.6 * image[inside == 1] + 0.4 * colour).astype(np.uint8)
        drawn[(inside == 1) & (cv2.erode(inside, np.ones((3, 3), np.uint8)) == 0)] = colour
    return drawn


def shown_values(mask: NDArray, meta: dict[str, Any]) -> list[int]:
    """The classes of a mask without the background, which is the class of that name, or 0 where classes have no names."""
    names = [str(name).strip('_').lower() for name in meta.get('classes') or ['background']]
    return [int(value) for value in np.unique(mask) if value >= len(names) or names[value] != 'background']


def colour_of(value: int, meta: dict[str, Any]) -> tuple[int, ...]:
    """RGB: the dataset's, white for ignored pixels, else one of a colour wheel."""
    palette = meta.get('palette') or []
    if value < len(palette):
        return tuple(palette[value])
    if value == IGNORED:
        return 255, 255, 255
    return tuple(round(255 * level) for level in colorsys.hsv_to_rgb(value * 0.381966 % 1, 0.9, 1.0))


def beside(pictures: list[NDArray]) -> NDArray:
    """Pictures in a row, the lower ones filled up with white below."""
    height = max(picture.shape[0] for picture in pictures)
    filled = [
        cv2.copyMakeBorder(each, 0, height - each.shape[0], 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        for each in pictures
    ]
    return cv2.hconcat(filled)[:, :-4]


def draw_sheet(pictures: list[NDArray], captions: list[list[str]], title: str) -> NDArray:
    """All pictures on one page, uint8 [H, W, 3] in BGR. Pillow writes the text, because OpenCV's letters are ASCII only."""
    width = round(CELL * min(3, max(0.5, *(each.shape[1] / each.shape[0] for each in pictures))))
    height = CELL + LINE * max(map(len, captions))
    columns = max(1, min(len(pictures), round(math.sqrt(len(pictures) * 1.6 * height / width))))
    rows = -(-len(pictures) // columns)
    size = columns * (width + MARGIN) + MARGIN, rows * (height + MARGIN) + LINE + 2 * MARGIN
    page = Image.new('RGB', size, 'white')
    draw = ImageDraw.Draw(page)
    try:
        font = ImageFont.load_default(12)
    except TypeError:  # Pillow before 10.1 has one size
        font = ImageFont.load_default()
    draw.text((MARGIN, MARGIN), title, 'black', font)
    for place, (picture, lines) in enumerate(zip(pictures, captions, strict=True)):
        left = MARGIN + place % columns * (width + MARGIN)
        top = LINE + 2 * MARGIN + place // columns * (height + MARGIN)
        small = Image.fromarray(np.ascontiguousarray(picture[..., ::-1]))
        scale = min(width / small.width, CELL / small.height)
        page.paste(small.resize((max(1, round(small.width * scale)), max(1, round(small.height * scale)))), (left, top))
        for number, line in enumerate(lines):
            while line and draw.textlength(line, font) > width:
                line = line.removesuffix('…')[:-1].rstrip() + '…' if len(line) > 1 else ''
            draw.text((left, top + CELL + LINE * number), line, 'black', font)
    return np.asarray(page)[..., ::-1]


def show_item(dataset: Any, index: int, mode: str, loaded: list[Loaded]) -> tuple[NDArray, list[str], str]:
    """One item: its picture, its caption, and what its inputs are."""
    from mmdel.errors import DatasetError, UnreadableImage
    from mmdel.images.frames import read_frame

    loaded.clear()
    path = dataset.get_data_info(index).get('img_path', '')
    try:
        item = dataset[index]
        sample = item.get('data_samples', {}) if isinstance(item, dict) else {}
        # a dataset may serve another image in place of one that its pipeline refused
        path = sample.get('img_path', path)
        first = [each for each in loaded if each.path == str(path)] or loaded[-1:]
        source = first[0] if first else Loaded(str(path), read_frame(path).image, False, None)
    except (UnreadableImage, OSError) as error:
        reason = getattr(error, 'reason', error)
        raise DatasetError(f'Item {index}, {path}: {reason}. Training would stop there too.') from error
    meta = dataset.metainfo
    pictures, inputs = [], ''
    if mode != 'transformed':
        pictures.append(to_uint8(source.image) if source.mask is None else draw_mask(source.image, source.mask, meta))
    if mode != 'original':
        seen = views(item, source.rgb)
        truth = sample.get('gt_sem_seg') if sample else item.get('gt_seg_map')
        mask = getattr(truth, 'data', truth)
        pictures += seen if mask is None else [draw_mask(seen[0], mask, meta), *seen[1:]]
        given = item.get('inputs', item.get('img'))
        given = given if isinstance(given, list | tuple) else [given]
        inputs = ', '.join(f'{str(each.dtype).removeprefix("torch.")} {list(each.shape)}' for each in given)
    names = meta.get('classes') or ()
    values = np.ravel(source.label).tolist() if source.label is not None else []
    values += shown_values(source.mask, meta) if source.mask is not None else []
    said = [
        str(names[value]) if value < len(names) else 'ignored' if value == IGNORED else str(value) for value in values
    ]
    caption = [f'{index}  {Path(str(path)).name}', ', '.join(said)]
    return beside(pictures), caption, inputs


def describe(dataset: Any) -> str:
    """The nest of datasets, from the outside in."""
    from mmdel.datasets.meddel_dataset import MedDELDataset
    from mmdel.images import wrappers

    outer = [
        repr(each) if isinstance(each, MedDELDataset) else f'{type(each).__name__} ({len(each)})'
        for each in reversed(wrappers.wrappers(dataset))
    ]
    inner = ', '.join(f'{type(leaf).__name__} ({len(leaf)})' for leaf in wrappers.leaf_datasets(dataset))
    return ' > '.join([*outer, inner])


def write_picture(path: Path, picture: NDArray) -> None:
    """Write one picture, whole or not at all."""
    from mmdel.compute.files import atomic

    with atomic(path) as temporary:
        temporary.write_bytes(cv2.imencode(path.suffix, picture)[1].tobytes())


def draw_items(
    dataset: Any, folder: Path, name: str, mode: str, number: int, seed: int, progress: Stages
) -> tuple[int, list[str]]:
    """Draw items of a dataset, evenly spaced, each into a file, and all of them on ``sheet.jpg``.

    Args:
        dataset (Any): What :func:`build_dataset` gave.
        folder (Path): Where the pictures go.
        name (str): What the sheet is called.
        mode (str): 'transformed', 'original' or 'concat'.
        number (int): How many at most.
        seed (int): Of the random parts of the pipeline.
        progress (Stages): Shows the drawing.

    Returns:
        tuple: How many were drawn, and the types and shapes of their inputs.
    """
    from mmengine.runner import set_random_seed

    loaded: list[Loaded] = []
    record(dataset, loaded)
    count = min(number, len(dataset))
    pictures, captions = [], []
    inputs: dict[str, None] = {}
    with progress.stage('draw', total=count) as tick:
        for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
            set_random_seed(seed + index)  # so that an item looks the same whatever else is shown
            picture, caption, what = show_item(dataset, index, mode, loaded)
            stem = Path(caption[0].partition('  ')[2]).stem[:80]
            write_picture(folder / f'{index:06d}_{stem}.png', picture)
            pictures.append(picture)
            captions.append(caption)
            inputs[what] = None
            tick(1)
    title = f'{name}, {mode}, {count} of {len(dataset)} images'
    write_picture(folder / 'sheet.jpg', draw_sheet(pictures, captions, title))
    return count, list(inputs)
