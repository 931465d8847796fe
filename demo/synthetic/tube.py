"""The wall of a synthetic stretch of gut, as a height map and a coat of paint over (way, angle).

    tube = Tube.build(rng, COLON, polyps=2)

Folds, fine relief, polyps and bubbles are hills on the wall of a tube; vessels and residue are paint on it. Everything
random comes from the generator that is handed over, so the same seed grows the same wall (on the same versions of
NumPy and OpenCV). Lengths are in units of the tube's mean radius, colours are blue, green, red in [0, 1].
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""Of float32: OpenCV's functions say no more about their types than this."""
Picture: TypeAlias = NDArray[np.uint8]
"""[height, width, 3] blue, green, red."""

LENGTH = 12.0
"""The wall repeats after this way, which is farther than the lamp reaches."""
ROWS, COLUMNS = 1536, 768
"""Texels of the wall along the way and around it."""


@dataclass(frozen=True)
class Style:
    """What a stretch of gut looks like.

    Args:
        colour (tuple[float, float, float]): Colour of the mucosa as blue, green, red in [0, 1].
        fold_spacing (float): Way between two ring folds.
        fold_height (float): How far the ring folds stand into the lumen.
        fold_width (float): Half the thickness of a ring fold.
        rugae (float): Height of folds that run along the way, as in the stomach.
        relief (float): Strength of the fine relief that makes a wet wall glitter.
        vessels (int): How many vessel trees are painted on the wall.
        villi (float): Strength of the fine grain of the small bowel.
        residue (float): Share of the wall that residue covers.
        bubbles (int): How many bubbles stick to the wall.
        capsule (bool): Seen by a capsule, with its round picture, or by a scope.
    """

    colour: tuple[float, float, float]
    fold_spacing: float
    fold_height: float
    fold_width: float
    rugae: float = 0.0
    relief: float = 1.0
    vessels: int = 0
    villi: float = 0.0
    residue: float = 0.0
    bubbles: int = 0
    capsule: bool = False


COLON = Style((0.30, 0.41, 0.80), fold_spacing=1.15, fold_height=0.34, fold_width=0.13, vessels=130, residue=0.02)
STOMACH = Style((0.27, 0.37, 0.82), fold_spacing=3.1, fold_height=0.25, fold_width=0.3, rugae=0.16, relief=1.3)
OESOPHAGUS = Style((0.44, 0.52, 0.88), fold_spacing=2.6, fold_height=0.12, fold_width=0.3, rugae=0.06, vessels=200)
SMALL_BOWEL = Style(
    (0.25, 0.47, 0.72), 0.75, 0.30, 0.12, rugae=0.08, relief=0.7, villi=1.0, residue=0.06, bubbles=40, capsule=True
)


@dataclass(frozen=True)
class Tube:
    """The wall of one stretch of gut; its centre line swings from side to side.

    Args:
        radius (ndarray): float32 [ROWS, COLUMNS], distance of the wall from the centre line.
        relief (ndarray): float32 [ROWS, COLUMNS, 3], slope around, slope along, and 1 where a polyp is.
        paint (ndarray): float32 [ROWS, COLUMNS, 3], colour.
        bend (ndarray): float32 [4], how far the centre line swings to the right and down, and both phases.
    """

    radius: Array
    relief: Array
    paint: Array
    bend: Array

    @classmethod
    def build(cls, rng: np.random.Generator, style: Style, polyps: int = 0) -> 'Tube':
        """Grow a wall with its folds, vessels and polyps.

        Args:
            rng (Generator): Draws everything.
            style (Style): What kind of gut.
            polyps (int): How many, spread evenly along the way. Defaults to 0.
        """
        bend = rng.uniform((0.25, 0.25, 0, 0), (0.7, 0.7, 6.28, 6.28)).astype(np.float32)
        coarse, middle, fine = (_noise(rng, low, high) for low, high in ((1.5, 6), (8, 30), (40, 130)))
        grain = fine * (0.5 + style.villi)

        radius = 1 + 0.05 * coarse + 0.008 * middle - _ring_folds(rng, style)
        if style.rugae:
            radius -= style.rugae * _rugae(rng)
        paint = np.ones((ROWS, COLUMNS, 3), np.float32)
        paint *= style.colour * rng.normal(1, 0.06, 3)
        paint *= 1 + (0.09 * coarse + 0.05 * middle)[..., None] * _colour(1, 1, 0.4)
        if style.vessels:
            tree = _vessels(rng, style.vessels) * np.clip(0.75 + 0.5 * coarse, 0.1, 1.2)
            paint *= 1 - tree[..., None] * _colour(0.42, 0.50, 0.24)
        if style.residue:
            field = _noise(rng, 2, 14)
            film = _smooth_step((field - np.quantile(field[::8, ::8], 1 - style.residue)) * 2)[..., None]
            paint += film * (_colour(0.14, 0.52, 0.84) - paint) * 0.75
            radius -= 0.02 * film[..., 0]
        paint *= 1 + 0.04 * grain[..., None]

        polyp = np.zeros((ROWS, COLUMNS), np.float32)
        for place in range(polyps):
            _grow_polyp(rng, (place + rng.uniform(0.2, 0.8)) * LENGTH / polyps, radius, paint, polyp)
        for _ in range(style.bubbles):
            _blow_bubble(rng, radius, paint)
        radius = np.maximum(cv2.GaussianBlur(radius, (0, 0), 1.2, borderType=cv2.BORDER_REFLECT), 0.42)
        relief = _slopes(radius - style.relief * (0.009 * middle + 0.0016 * grain), polyp)
        return cls(radius, relief, np.clip(paint, 0, 1), bend)

    def centre(self, forward: Array) -> tuple[Array, Array]:
        """Where the centre line is, to the right and down, after the way ``forward`` (float32, any shape)."""
        right, down, phase, other = self.bend
        return right * np.sin(0.9 * forward + phase), down * np.sin(0.7 * forward + other)


def _colour(blue: float, green: float, red: float) -> Array:
    return np.array([blue, green, red], np.float32)


def _slopes(height: Array, polyp: Array) -> Array:
    around = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) * (COLUMNS / (4 * np.pi)) / height
    along = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) * (ROWS / (2 * LENGTH))
    return np.dstack([around, along, polyp])


def _noise(rng: np.random.Generator, low: float, high: float) -> Array:
    """float32 [ROWS, COLUMNS], about standard normal: waves between ``low`` and ``high`` per 2 pi, seamless."""
    along = np.fft.fftfreq(ROWS, 1 / ROWS)[:, None] * (2 * np.pi / LENGTH)
    around = np.fft.rfftfreq(COLUMNS, 1 / COLUMNS)[None]
    wave = np.hypot(along, around)
    band = np.exp(-((np.log(np.maximum(wave, 1e-3)) - np.log(np.sqrt(low * high))) ** 2) / np.log(high / low) ** 2 * 2)
    band = (band / np.maximum(wave, 1)).astype(np.float32)
    spectrum = np.fft.rfft2(rng.standard_normal((ROWS, COLUMNS), np.float32))
    field = np.fft.irfft2(spectrum * band, s=(ROWS, COLUMNS))
    return (field / field.std()).astype(np.float32)


def _smooth_step(field: Array) -> Array:
    step = np.clip(field, 0, 1)
    return step * step * (3 - 2 * step)


def _ring_folds(rng: np.random.Generator, style: Style) -> Array:
    """float32 [ROWS, COLUMNS]: half-moon folds, each standing on its own part of the ring."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    forward = np.linspace(0, LENGTH, ROWS, endpoint=False, dtype=np.float32)
    count = max(1, round(LENGTH / style.fold_spacing))
    folds = np.zeros((ROWS, COLUMNS), np.float32)
    for place in range(count):
        middle = (place + rng.uniform(-0.28, 0.28)) * LENGTH / count
        waves = np.sum(
            [rng.normal(0, 0.11 / k) * np.sin(k * angle + rng.uniform(0, 6.28)) for k in (1, 2, 3, 5)], axis=0
        )
        stands = 0.55 + 0.45 * np.sin(angle * rng.integers(1, 3) + rng.uniform(0, 6.28))
        height = (style.fold_height * rng.uniform(0.5, 1.15) * np.clip(stands, 0.04, 1)).astype(np.float32)
        width = style.fold_width * float(rng.uniform(0.75, 1.5))
        away = np.mod(forward[:, None] - (middle + waves + LENGTH / 2).astype(np.float32), LENGTH) - LENGTH / 2
        folds = np.maximum(folds, height * np.exp(-((away / width) ** 2)))
    return folds


def _rugae(rng: np.random.Generator) -> Array:
    """float32 [ROWS, COLUMNS] in about [0, 1]: winding ridges along the way."""
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    ridges = 0.5 + 0.5 * np.sin((rng.integers(7, 10) * angle).astype(np.float32) + 2.2 * _noise(rng, 0.8, 4))
    return ridges**1.5


def _vessels(rng: np.random.Generator, trees: int) -> Array:
    """float32 [ROWS, COLUMNS] in [0, 1]: branching lines that thin out."""
    margin = 128
    canvas = np.zeros((ROWS + 2 * margin, COLUMNS + 2 * margin), np.uint8)
    for _ in range(trees):
        start = rng.uniform((margin, margin), (COLUMNS + margin, ROWS + margin))
        branches = [(start, rng.uniform(0, 6.28), int(rng.integers(50, 110)), rng.uniform(120, 230), 0)]
        while branches:
            point, heading, steps, dark, order = branches.pop()
            turns = np.cumsum(rng.normal(0, 0.16, steps)) + heading
            walk = point + 3.0 * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], -1), 0)
            cv2.polylines(
                canvas, [(walk * 8).astype(np.int32)], False, float(dark), 2 if order == 0 else 1, cv2.LINE_AA, 3
            )
            if order < 2:
                for place in rng.integers(5, steps, rng.integers(2, 5)):
                    side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
                    branches.append((walk[place], turns[place] + side, max(steps // 2, 8), dark * 0.78, order + 1))
    inner = canvas[margin:-margin, margin:-margin].copy()
    inner[-margin:] = np.maximum(inner[-margin:], canvas[:margin, margin:-margin])
    inner[:margin] = np.maximum(inner[:margin], canvas[-margin:, margin:-margin])
    inner[:, -margin:] = np.maximum(inner[:, -margin:], canvas[margin:-margin, :margin])
    inner[:, :margin] = np.maximum(inner[:, :margin], canvas[margin:-margin, -margin:])
    return cv2.GaussianBlur(inner, (0, 0), 1.0).astype(np.float32) / 255


def _patch(forward: float, angle: float, reach: float) -> tuple[tuple[NDArray[Any], ...], Array, Array]:
    """Texels round a place on the wall (an index for ``array[...]``), and their offsets around and along in radii."""
    rows, columns = int(reach * ROWS / LENGTH) + 2, int(reach * COLUMNS / (2 * np.pi)) + 2
    row, column = int(forward * ROWS / LENGTH), int(angle * COLUMNS / (2 * np.pi))
    down, right = np.arange(-rows, rows + 1), np.arange(-columns, columns + 1)
    along = (down[:, None] * (LENGTH / ROWS)).astype(np.float32)
    around = (right[None] * (2 * np.pi / COLUMNS)).astype(np.float32)
    return np.ix_((row + down) % ROWS, (column + right) % COLUMNS), around, along


def _grow_polyp(rng: np.random.Generator, forward: float, radius: Array, paint: Array, polyp: Array) -> None:
    """Raise a shaded dome in ``radius``, redden ``paint`` and mark ``polyp``, all in place."""
    size, height = rng.uniform(0.26, 0.5), rng.uniform(0.5, 0.8)
    texels, around, along = _patch(forward, rng.uniform(0, 2 * np.pi), 1.5 * size)
    turn, stretch = rng.uniform(0, np.pi), rng.uniform(0.75, 1.2)
    u = (around * np.cos(turn) + along * np.sin(turn)) * stretch
    v = (along * np.cos(turn) - around * np.sin(turn)) / stretch
    bearing = np.arctan2(v, u)
    rim = 1 + sum(rng.normal(0, 0.08 / k) * np.sin(k * bearing + rng.uniform(0, 6.28)) for k in (2, 3, 5, 7))
    away = np.hypot(u, v) / (size * rim)
    dome = np.clip(1 - away**2, 0, 1) ** 0.7
    lobes = 1 + 0.07 * np.sin(9 * u / size + rng.uniform(0, 6)) * np.sin(8 * v / size + rng.uniform(0, 6))
    radius[texels] -= size * height * dome * lobes
    inside = _smooth_step((1 - away) * 5)[..., None]
    tint = rng.normal([0.72, 0.78, 1.0], [0.07, 0.08, 0.03]).astype(np.float32)
    paint[texels] *= 1 + inside * (tint - 1)
    paint[texels] *= 1 - 0.25 * np.exp(-(((away - 1.02) / 0.09) ** 2))[..., None]
    polyp[texels] = np.maximum(polyp[texels], away < 1)


def _blow_bubble(rng: np.random.Generator, radius: Array, paint: Array) -> None:
    size = rng.uniform(0.02, 0.075)
    texels, around, along = _patch(rng.uniform(0, LENGTH), rng.uniform(0, 2 * np.pi), 1.3 * size)
    away = np.hypot(around, along) / size
    radius[texels] -= 0.6 * size * np.sqrt(np.clip(1 - away**2, 0, 1))
    ring = np.exp(-(((away - 0.9) / 0.13) ** 2)) - 0.5 * np.exp(-(((away - 0.62) / 0.2) ** 2))
    paint[texels] *= 1 - 0.45 * ring[..., None]
