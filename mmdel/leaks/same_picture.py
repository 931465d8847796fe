"""Whether two pictures are the same photograph: how well they agree when laid over each other by matching keypoints.

    one, other = extract_features(read_frame('pool/1.jpg').image), extract_features(read_frame('test/2.jpg').image)
    compare(one, other).agreement      # 1 for the same photograph, 0.3 or less for most others

Cosines of embeddings miss copies that are mirrored or cropped, and two frames of one scene can be closer than an image and its
copy. Keypoints alone are no better: frames of a scope share its black corners, and often the writing beside the picture. So
keypoints only *propose* how the one picture lies on the other, and what counts is how well their details then correlate, cell by
cell. The median cell decides: neither a box of writing that two photographs share, nor one that only one copy has, outweighs
the rest. It does not matter that a copy was resized, squeezed, turned, cropped, brightened or compressed.

The same two pictures give the same number with any number of threads: OpenCV starts its random choices anew in each call, and
the correlations are float64 sums in fixed order, rounded to float32.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mmdel.images.frames import resize

VERSION = 1
"""Raised when two pictures could agree otherwise."""

SIDE = 256
"""Pictures are compared as squares of this side: small enough to be fast, large enough that details decide."""

KEYPOINTS = 400
CONTRAST = 0.015
"""Of SIFT; smooth mucosa has few strong corners, so weaker ones than usual count."""

DISTINCT = 0.8
"""A keypoint matches only if the second best is this much farther (Lowe's ratio)."""

REACH = 3.0
"""How many pixels a match may lie off the common transform."""

MATCHES = 8
"""So many keypoints at least must agree on a transform before pixels are looked at; three agree always."""

FINE, COARSE = 2.0, 8.0
"""Details between these sizes (standard deviations of a Gaussian, pixels) are compared. JPEG noise is finer, light coarser."""

QUIET = 4.0
"""Contrast in grey levels below which a region counts less, since what it shows is noise."""

CELL = 32
"""Side of the cells whose correlations are counted."""

FAINT = 0.02
"""Mean square of details at which a cell weighs half. All that stands out weighs 1: bright letters no more than mucosa."""

LEAST_DETAILS = 2.0
"""Cells of full weight without which there is nothing to compare, only rounding."""

EDGE = 12
"""Pixels left out along the edge of a moved picture, whose surroundings there are not known."""

LEAST_OVERLAP = 0.25
"""Of the second picture's area; what agrees on less proves little."""

SCALES = (0.4, 2.5)
STRETCH = 1.6
"""How much larger or smaller, and how much more in one direction than in the other, a copy may be."""


@dataclass(frozen=True)
class ImageFeatures:
    """What is compared of a picture: SIFT keypoints with their descriptors, and its details.

    Args:
        grey (NDArray[np.uint8]): [256, 256].
        points (NDArray[np.float32]): [n, 2], keypoints, x and y.
        descriptors (NDArray[np.float32]): [n, 128].
        details (NDArray[np.float32]): [256, 256], what is neither noise nor light.
    """

    grey: NDArray[np.uint8]
    points: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    details: NDArray[np.float32]


@dataclass(frozen=True)
class Comparison:
    """How well one picture agrees with another.

    Args:
        agreement (float): Correlation of the details in the median cell of where the pictures overlap, in [-1, 1], a float32.
        overlap (float): The part of the second picture that the first one covers.
        matches (int): Keypoints that agree on how the one lies on the other; 0 where they lie on each other as they are.
    """

    agreement: float
    overlap: float
    matches: int


NOTHING = Comparison(-1.0, 0.0, 0)


def extract_features(image: NDArray[np.uint8]) -> ImageFeatures:
    """Find the keypoints of a picture, describe them, and filter its details.

    Args:
        image (NDArray[np.uint8]): [H, W, 3], BGR.
    """
    grey: NDArray[Any] = cv2.cvtColor(resize(image, SIDE, SIDE), cv2.COLOR_BGR2GRAY)
    sift: Any = cv2.SIFT.create(nfeatures=KEYPOINTS, contrastThreshold=CONTRAST)
    found, descriptors = sift.detectAndCompute(grey, None)
    if descriptors is None:  # no keypoint
        descriptors = np.empty((0, 128), np.float32)
    points = np.array([point.pt for point in found], np.float32).reshape(-1, 2)
    return ImageFeatures(grey, points, descriptors, _details(grey))


def compare(one: ImageFeatures, other: ImageFeatures) -> Comparison:
    """Lay ``one`` on ``other`` as keypoints propose, and as it is, and take what agrees better.

    Args:
        one (ImageFeatures): The picture that is moved.
        other (ImageFeatures): The picture that stays.
    """
    asis = Comparison(_agreement(one.details, other.details), 1.0, 0)
    placed = _placement(one, other)
    if placed is None:
        return asis
    return max(asis, _moved(one, other, *placed), key=lambda comparison: comparison.agreement)


def _placement(one: ImageFeatures, other: ImageFeatures) -> tuple[NDArray[np.float64], int] | None:
    """The affine transform [2, 3] from the one picture to the other on which most keypoints agree, and how many do."""
    if min(len(one.points), len(other.points)) < MATCHES:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(one.descriptors, other.descriptors, k=2)
    matches = [best for best, second in pairs if best.distance < DISTINCT * second.distance]
    if len(matches) < MATCHES:
        return None
    start = one.points[[match.queryIdx for match in matches]]
    end = other.points[[match.trainIdx for match in matches]]
    fitted: Any = cv2.estimateAffine2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=REACH)
    transform, agreed = fitted
    if transform is None or agreed.sum() < MATCHES or not _is_plausible(transform):
        return None
    return transform, int(agreed.sum())


def _is_plausible(transform: NDArray[np.float64]) -> bool:
    """Whether a copy may be so; a mirrored one is compared with the mirrored picture."""
    large, small = np.linalg.svd(transform[:, :2], compute_uv=False)
    least, most = SCALES
    return bool(np.linalg.det(transform[:, :2]) > 0 and least < small and large < most and large < STRETCH * small)


def _moved(one: ImageFeatures, other: ImageFeatures, transform: NDArray[np.float64], matches: int) -> Comparison:
    size = (SIDE, SIDE)
    # mirrored beyond its edges, a picture has no step there, which would be the strongest detail of all
    moved: NDArray[Any] = cv2.warpAffine(
        one.grey, transform, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )
    covered = cv2.warpAffine(np.full(size, 255, np.uint8), transform, size, flags=cv2.INTER_NEAREST) > 0
    overlap = float(covered.mean())
    if overlap < LEAST_OVERLAP:
        return NOTHING
    inside = cv2.erode(covered.astype(np.uint8), np.ones((2 * EDGE + 1,) * 2, np.uint8)) > 0
    return Comparison(_agreement(_details(moved), other.details, inside), overlap, matches)


def _details(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What is neither noise nor light, in every region at the same contrast, float32 [H, W]."""
    values: NDArray[Any] = grey.astype(np.float32)
    band = cv2.GaussianBlur(values, (0, 0), FINE) - cv2.GaussianBlur(values, (0, 0), COARSE)
    contrast = np.sqrt(cv2.GaussianBlur(band * band, (0, 0), COARSE))
    return band / (contrast + np.float32(QUIET))


def _agreement(one: NDArray[np.float32], other: NDArray[np.float32], inside: NDArray[np.bool_] | None = None) -> float:
    """The weighted median of the cells' correlations, a float32; 0 where there are no details at all.

    A cell without details in either picture weighs nothing, and soon 1 with more of them.
    """
    x, y = one.astype(np.float64), other.astype(np.float64)
    if inside is not None:
        x, y = x * inside, y * inside
    xx, yy, xy = (_cells(product).sum(axis=1) for product in (x * x, y * y, x * y))
    energy = (xx + yy) / (2 * CELL * CELL)
    weight = energy / (energy + FAINT)
    if weight.sum() < LEAST_DETAILS:
        return 0.0
    size = np.sqrt(xx * yy)
    correlation = np.divide(xy, size, out=np.zeros_like(xy), where=size > 0)
    order = np.argsort(-correlation, kind='stable')
    half = np.searchsorted(weight[order].cumsum(), 0.5 * weight.sum())
    return float(np.float32(correlation[order[half]]))


def _cells(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values of each cell, [cells, values]."""
    count = SIDE // CELL
    return values.reshape(count, CELL, count, CELL).swapaxes(1, 2).reshape(count * count, CELL * CELL)
