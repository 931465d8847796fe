"""Pictures that real collections hold and training should not: spoilt frames, burnt-in patient data, report cards."""

import cv2
import numpy as np

from synthetic.tube import Array, Picture

FONT = cv2.FONT_HERSHEY_SIMPLEX


def spoil(light: Array, kind: str, rng: np.random.Generator) -> Array:
    """Make a frame black, washed out or blurred.

    Args:
        light (ndarray): float32 [size, size, 3] in about [0, 1], what the lens sees.
        kind (str): 'black', 'washed_out' or 'blurred'; any other leaves the light as it is.
        rng (Generator): Draws direction and length of the blur.

    Returns:
        ndarray: float32 [size, size, 3].
    """
    if kind == 'black':
        return 0.02 * light
    if kind == 'washed_out':
        return 0.78 + 0.25 * cv2.GaussianBlur(light, (0, 0), 8)
    if kind == 'blurred':
        length, angle = rng.integers(17, 35), rng.uniform(0, np.pi)
        smear = np.zeros((length, length), np.float32)
        reach = np.array([np.cos(angle), np.sin(angle)]) * (length // 2)
        ends = [tuple(int(v) for v in np.round(length // 2 + side * reach)) for side in (-1, 1)]
        cv2.line(smear, ends[0], ends[1], 1.0, 2)
        return cv2.GaussianBlur(cv2.filter2D(light, -1, smear / smear.sum()), (0, 0), 1.5)
    return light


def burn_in(picture: Picture, rng: np.random.Generator) -> None:
    """The kind of line that must not reach a training set, with names and numbers that nobody has."""
    name = rng.choice(['DOE, JANE', 'DOE, JOHN', 'ROE, MARY', 'MUSTERMANN, E'])
    day, clock = rng.integers((1, 1), (29, 13)), rng.integers((7, 0, 0), (18, 60, 60))
    lines = [str(name), f'ID {rng.integers(10**6, 10**7)}', f'{day[0]:02d}/{day[1]:02d}/2019']
    lines += [
        '{:02d}:{:02d}:{:02d}'.format(*clock),
        'Sex: -  Age: --',
        f'D.O.B. 00/00/19{rng.integers(30, 99)}',
        'Dr. N. N.',
    ]
    for place, line in enumerate(lines):
        cv2.putText(picture, line, (6, 70 + 18 * place), FONT, 0.42, (245, 245, 245), 1, cv2.LINE_AA)


def report_card(rng: np.random.Generator, dark: bool) -> Picture:
    """A page of a report, uint8 [256, 256, 3], on a dark or a white ground."""
    ground, ink = ((96, 40, 16), (240, 240, 240)) if dark else ((250, 250, 248), (40, 40, 40))
    page = np.full((256, 256, 3), ground, np.uint8)
    cv2.putText(page, 'ENDOSCOPY REPORT', (16, 32), FONT, 0.6, ink, 1, cv2.LINE_AA)
    cv2.line(page, (16, 42), (240, 42), ink, 1)
    for line in range(rng.integers(6, 10)):
        words = ' '.join(rng.choice(['FINDING', 'NONE', 'COLON', 'CECUM', 'POLYP', 'SIZE', 'MM', 'BIOPSY', 'NO'], 4))
        cv2.putText(page, words, (16, 64 + 20 * line), FONT, 0.38, ink, 1, cv2.LINE_AA)
    return page
