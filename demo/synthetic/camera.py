"""What a lens with a lamp beside it sees inside a tube, and what an endoscope's processor makes of it.

    light, polyp = look(tube, Camera(forward=3.0, roll=0.2), size=256)
    picture, inside = develop(light, style.capsule, rng)

The picture of the light is float32 [size, size, 3], blue, green, red in about [0, 1].
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.tube import COLUMNS, LENGTH, ROWS, Array, Picture, Tube

PYRAMID = ((4, 32), (2, 6), (1, 4))
"""Rays are traced for every fourth pixel first, and what they found is sharpened: stride and steps."""
HALF_ANGLE = float(np.deg2rad(70))
"""Of the lens, from the centre to the middle of an edge."""
VISIBLE = 3.0
"""Way beyond which the lamp shows too little for anybody to outline a polyp."""


@dataclass(frozen=True)
class Camera:
    """Where the lens is and where it looks: lengths in radii of the tube, angles in radians."""

    forward: float
    right: float = 0.0
    down: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def rotation(self) -> Array:
        """float32 [3, 3]: turns a direction seen from the lens into the tube's axes."""
        (cy, cp, cr), (sy, sp, sr) = (
            np.cos([self.yaw, self.pitch, self.roll]),
            np.sin([self.yaw, self.pitch, self.roll]),
        )
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        return (yaw @ pitch @ roll).astype(np.float32)


def look(tube: Tube, camera: Camera, size: int) -> tuple[Array, NDArray[np.bool_]]:
    """What the lens sees.

    Args:
        tube (Tube): The wall.
        camera (Camera): Where the lens is; within 0.3 of the centre line it never stands in the wall.
        size (int): Width and height in pixels.

    Returns:
        tuple: float32 [size, size, 3] blue, green, red in about [0, 1], and bool [size, size] where a polyp is.
    """
    rays = np.tensordot(camera.rotation(), _lens(size), 1)
    x, y = tube.centre(np.array(camera.forward, np.float32))
    origin = np.array([camera.right + x, camera.down + y, camera.forward], np.float32)
    way: Array = np.full((1, 1), 0.3, np.float32)
    for stride, steps in PYRAMID:
        some = np.ascontiguousarray(rays[:, ::stride, ::stride])
        way = cv2.resize(way, some.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        way = _march(tube, origin, some, way, steps)

    row, column, _, angle = _meet(tube, origin, rays, way)
    relief, paint = _wrapped(tube.relief, row, column), _wrapped(tube.paint, row, column)
    facing = _facing(rays, angle, relief)
    light = facing / (0.12 + way * way)
    shine = np.exp(240 * (facing - 1)) * np.clip(1.6 / (0.6 + way * way), 0, 1.1)
    return _expose(light, shine, paint), (relief[..., 2] > 0.5) & (way < VISIBLE)


def develop(light: Array, capsule: bool, rng: np.random.Generator) -> tuple[Picture, NDArray[np.bool_]]:
    """Sharpening, vignette, sensor noise and the black frame of an endoscope's picture.

    Args:
        light (ndarray): float32 [size, size, 3], about [0, 1].
        capsule (bool): A capsule's round picture; else a scope's square with cut corners.
        rng (Generator): Draws the noise.

    Returns:
        tuple: uint8 [size, size, 3] blue, green, red, and bool [size, size] inside the black frame.
    """
    size = len(light)
    line = np.abs((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1)
    edge = np.hypot(line[:, None], line[None])
    sharp = light + 0.6 * (light - cv2.GaussianBlur(light, (0, 0), 1.3))
    noise = rng.standard_normal((size, size, 1), np.float32) + 0.5 * rng.standard_normal(light.shape, np.float32)
    lit = sharp * (1 - 0.22 * edge**3)[..., None] + 0.011 * noise + 0.01
    inside = (
        edge < 0.97
        if capsule
        else (line[:, None] + line[None] < 1.46) & (np.maximum(line[:, None], line[None]) < 0.985)
    )
    frame = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 0.7)[..., None]
    return (np.clip(lit * frame, 0, 1) * 255 + 0.5).astype(np.uint8), inside


@cache
def _lens(size: int) -> Array:
    """float32 [3, size, size]: the directions of an equidistant lens, x to the right, y down, z ahead."""
    line = ((np.arange(size) + 0.5) / size * 2 - 1) * HALF_ANGLE
    x, y = np.meshgrid(line, line)
    angle = np.hypot(x, y)
    return np.stack([np.sinc(angle / np.pi) * x, np.sinc(angle / np.pi) * y, np.cos(angle)]).astype(np.float32)


def _meet(tube: Tube, origin: Array, rays: Array, way: Array) -> tuple[Array, Array, Array, Array]:
    """Texel row and column, distance from the centre line and angle of the points ``origin + way * rays``."""
    forward = origin[2] + way * rays[2]
    x, y = tube.centre(forward)
    across, angle = cv2.cartToPolar(origin[0] + way * rays[0] - x, origin[1] + way * rays[1] - y)
    return np.mod(forward, LENGTH) * (ROWS / LENGTH), angle * (COLUMNS / (2 * np.pi)), across, angle


def _wrapped(texture: Array, row: Array, column: Array) -> Array:
    return cv2.remap(texture, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def _march(tube: Tube, origin: Array, rays: Array, way: Array, steps: int) -> Array:
    """Walk along each ray until the wall; a step too far is taken back by the next one."""
    for _ in range(steps):
        row, column, across, _ = _meet(tube, origin, rays, way)
        way = np.clip(way + 0.4 * (_wrapped(tube.radius, row, column) - across), 0.02, 14.0)
    return way


def _facing(rays: Array, angle: Array, relief: Array) -> Array:
    """Cosine between the wall's normal and the way back to lens and lamp, 0 where the wall looks away."""
    cosine, sine = np.cos(angle), np.sin(angle)
    around, along = relief[..., 0], relief[..., 1]
    outward = rays[0] * cosine + rays[1] * sine
    sideways = rays[1] * cosine - rays[0] * sine
    steep = np.sqrt(1 + around * around + along * along)
    return np.clip((outward - around * sideways - along * rays[2]) / steep, 0, 1)


def _expose(light: Array, shine: Array, paint: Array) -> Array:
    """Automatic gain and a film curve; tissue turns red where little light comes back, and glows where much does."""
    gain = 1.0 / max(float(np.quantile(light[::4, ::4], 0.87)), 1e-3)
    lit = cv2.GaussianBlur(light * gain, (0, 0), 0.7)
    film = np.stack([1 - np.exp(-1.9 * np.power(lit, power)) for power in (1.25, 1.2, 0.85)], -1)
    glow = np.clip(lit - 0.8, 0, 2)[..., None] * 0.2
    return np.power(film * paint * 1.12 + glow, 1 / 1.2) + np.clip(1.6 * shine - 0.45, 0, 1)[..., None]
