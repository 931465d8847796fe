"""The same photograph agrees with itself whatever became of it, and with no other one."""

import itertools

import cv2
import numpy as np
import pytest

from mmdel.leaks.same_picture import ImageFeatures, compare, extract_features

THRESHOLD = 0.97


@pytest.fixture(scope='module')
def photographs(real_data):
    """Eight colonoscopy stills and four capsule frames, uint8 [H, W, 3]."""
    stills = sorted((real_data / 'kvasir_seg' / 'val' / 'images').glob('*.jpg'))[:40:5]
    frames = sorted((real_data / 'wce' / 'bleeding').glob('*.jpg'))[:400:100]
    return [cv2.imread(str(path)) for path in (*stills, *frames)]


def quality(image, value):
    return cv2.imdecode(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, value])[1], cv2.IMREAD_COLOR)


def small(image):
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def squeezed(image):
    return cv2.resize(image, (400, 300), interpolation=cv2.INTER_AREA)


def cropped(image):
    height, width = image.shape[:2]
    return image[: round(0.9 * height), round(0.1 * width) :]


CHANGES = {
    'exact': lambda image: image,
    'quality 40': lambda image: quality(image, 40),
    'half size': small,
    'squeezed': squeezed,
    'cropped': cropped,
}


@pytest.mark.real
@pytest.mark.parametrize('change', CHANGES.values(), ids=list(CHANGES))
def test_compare__a_copy_agrees(photographs, change):
    for image in photographs[:6]:
        assert compare(extract_features(change(image)), extract_features(image)).agreement >= THRESHOLD


@pytest.mark.real
def test_compare__a_mirror_image_agrees_with_the_mirrored_picture_only(photographs):
    for image in photographs[:4]:
        mirrored = np.ascontiguousarray(image[:, ::-1])
        copy = extract_features(quality(mirrored, 90))
        assert compare(copy, extract_features(mirrored)).agreement >= THRESHOLD
        assert compare(copy, extract_features(image)).agreement < 0.6


@pytest.mark.real
def test_compare__other_photographs_do_not(photographs):
    features = [extract_features(image) for image in photographs]
    assert max(compare(one, other).agreement for one, other in itertools.permutations(features, 2)) < 0.6


@pytest.mark.real
def test_compare__is_the_same_number_however_many_threads(photographs):
    before = cv2.getNumThreads()
    found = []
    try:
        for threads in (1, 4, 1):
            cv2.setNumThreads(threads)
            one, other = extract_features(cropped(photographs[0])), extract_features(photographs[0])
            found.append(compare(one, other))
    finally:
        cv2.setNumThreads(before)
    assert found[0] == found[1] == found[2] and found[0].matches >= 8 and 0.7 < found[0].overlap < 0.9


@pytest.mark.parametrize('value', [0, 255])
def test_compare__pictures_of_nothing_are_no_copies(value):
    blank = extract_features(np.full((60, 80, 3), value, np.uint8))
    noise = extract_features(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8))
    assert isinstance(blank, ImageFeatures) and not len(blank.points)
    assert compare(blank, blank).agreement == 0 and abs(compare(blank, noise).agreement) < 0.01
