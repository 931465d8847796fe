"""A mask file becomes class numbers, however the dataset stores it.

    read_mask('masks/0001.jpg', 'binary')            # uint8 [H, W], 0 and 1; soft edges of JPEG are decided
    read_mask('masks/0002.png', 'index', labels=6)   # uint8 [H, W], 0 to 5 and 255 for "not labelled"

mmseg's ``LoadAnnotations`` takes the stored numbers as they are: 255 becomes "ignore" and every soft value of a JPEG a class
of its own. What cannot be read with certainty is an error here and never an empty mask.
"""

import io
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmdel.compute import storage
from mmdel.errors import ConfigError, DatasetError, StorageError
from mmdel.images.reasons import plain_words
from mmdel.registry import TRANSFORMS

KINDS = ('binary', 'index')
"""Foreground or not, in any grey levels; or the number of the class in every pixel."""

IGNORE = 255
"""The class number of pixels that count neither in the loss nor in the metric."""

_FORMATS = ('PNG', 'JPEG', 'BMP', 'DIB', 'TIFF', 'GIF', 'WEBP', 'PPM')
_LOSSY = ('JPEG', 'MPO', 'WEBP')
_ALPHA = {'LA': 1, 'PA': 1, 'La': 1, 'RGBA': 3, 'RGBa': 3}
_STEPS = {'L;2': 85, 'L;4': 17}
"""Grey values of 2 and 4 bits, which Pillow spreads over 0 to 255."""

_PHOTOMETRIC = 262  # a tag of TIFF: 0 says that white is stored as 0


def read_mask(path: str, kind: str, labels: int | None = None) -> NDArray[np.uint8]:
    """Read one mask file with Pillow: 1 to 16 bits, grey, palette or colour, with or without alpha.

    'binary': where no value is above 1, 1 is foreground; elsewhere the upper half of the range is (128 and more of 255).
    Of a mask in colour, and of a palette with other indices than 0 and 1, the largest channel counts. Where colour is constant
    and alpha is not, alpha is the mask; where both vary, what is transparent is background. 'index': the values (of a palette
    its indices) are class numbers.

    Args:
        path (str): The file.
        kind (str): 'binary' or 'index'.
        labels (int, optional): How many classes there are, so that other numbers are found. Defaults to None (any).

    Returns:
        NDArray[np.uint8]: [H, W], upright as the file's EXIF says.

    Raises:
        DatasetError: The file cannot be read, or does not hold a mask of this kind.
    """
    if kind not in KINDS:
        raise ConfigError(f'A mask is one of {", ".join(KINDS)}, not {kind!r}.')
    try:
        with Image.open(io.BytesIO(storage.read(path)), formats=_FORMATS) as image:
            pages, lossy, stored = getattr(image, 'n_frames', 1), image.format in _LOSSY, _stored(image)
            white_is_zero = image.format == 'TIFF' and image.tag_v2.get(_PHOTOMETRIC) == 0
            values, alpha = _values(ImageOps.exif_transpose(image), kind)
    except FileNotFoundError as error:
        raise DatasetError(f'The mask {path} is not there.') from error
    except StorageError:
        raise
    except Exception as error:  # decoders raise nearly every type there is
        raise DatasetError(f'The mask {path} cannot be read: {plain_words(error, path)}') from error
    if pages > 1:
        raise DatasetError(
            f'The mask {path} has {pages} pages, and a mask is one picture. Pages of one class each have to be joined first.'
        )
    # Pillow turns white into the highest value where it can; of class numbers it is not known which were meant
    if white_is_zero and (kind == 'index' or not stored.endswith('I')):
        raise DatasetError(
            f'The mask {path} is a TIFF that stores white as 0, so its numbers may be meant either way. Store it as PNG.'
        )
    if alpha is not None:
        values = _seen(values, alpha, kind, lossy, path)
    if kind == 'binary':
        return _binary(values, lossy, path)
    if lossy:
        raise DatasetError(
            f'The mask {path} is compressed with loss, which changes class numbers. Store masks of several classes as PNG.'
        )
    return _index(values // _STEPS[stored] if stored in _STEPS else values, labels, path)


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Loads the mask of an image; replaces mmseg's ``LoadAnnotations`` in a pipeline.

    Required keys: ``seg_map_path`` (None where a test has no masks: nothing is loaded then), ``seg_fields``; ``label_map`` and
    ``reduce_zero_label`` are honoured as in mmseg. Datasets of mmdel also say which kind of masks they have. Added keys:
    ``gt_seg_map`` (uint8 [H, W]).

    Args:
        kind (str): 'binary' or 'index' (see :func:`read_mask`), or 'auto': what the dataset says. Defaults to 'auto'.

    Raises:
        DatasetError: The mask cannot be read as such, or has another size than its image.

    Example:
        >>> train_pipeline = [dict(type='LoadImageFromFile'), dict(type='mmdel.LoadMask'), dict(type='PackSegInputs')]
    """

    def __init__(self, kind: str = 'auto') -> None:
        if kind not in ('auto', *KINDS):
            raise ConfigError(f'kind of LoadMask must be one of auto, {", ".join(KINDS)}, got {kind!r}.')
        self.kind = kind

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the mask to the results."""
        path = results['seg_map_path']
        if path is None:
            return results
        kind = results.get('mask_kind') if self.kind == 'auto' else self.kind
        if kind is None:
            raise ConfigError(
                "The dataset does not say which kind of masks it has. Say it: dict(type='mmdel.LoadMask', kind='binary') for "
                "foreground and background, kind='index' for class numbers."
            )
        mask = read_mask(path, kind, results.get('num_labels'))
        size = results.get('ori_shape', results.get('img_shape'))
        if size is not None and mask.shape != tuple(size[:2]):
            raise DatasetError(
                f'The mask {path} has {mask.shape[1]} x {mask.shape[0]} px, its image {results.get("img_path", "")} has '
                f'{size[1]} x {size[0]}. Where width and height are swapped, only the photo carries an EXIF orientation: '
                'turn the mask, or remove that tag from the photo.'
            )
        table = np.arange(256, dtype=np.uint8)
        if results.get('reduce_zero_label'):
            table = np.where((table == 0) | (table == IGNORE), IGNORE, table - 1).astype(np.uint8)
        if results.get('label_map'):
            mapped = np.arange(256, dtype=np.uint8)
            for old, new in results['label_map'].items():
                mapped[old] = new
            table = mapped[table]
        results['gt_seg_map'] = table[mask]
        results['seg_fields'].append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(kind={self.kind!r})'


# --- private


def _stored(image: Image.Image) -> str:
    """How the pixels lie in the file, in Pillow's words such as 'L;4', '' where it does not say."""
    tiles = getattr(image, 'tile', None)
    how = tiles[0][3] if tiles else ''
    how = how[0] if isinstance(how, tuple) and how else how
    return how if isinstance(how, str) else ''


def _values(image: Image.Image, kind: str) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """The stored numbers, [H, W] or [H, W, 3], and alpha, [H, W]; of a palette its indices where these can be meant."""
    see_through = image.mode == 'PA' or 'transparency' in image.info
    if image.mode in ('CMYK', 'YCbCr', 'LAB', 'HSV'):
        image = image.convert('RGB')
    elif kind == 'binary' and image.mode in ('P', 'PA') and (see_through or np.asarray(image).max() > 1):
        image = image.convert('RGBA' if see_through else 'RGB')
    values, alpha = np.asarray(image), None
    if image.mode in _ALPHA:
        channels = _ALPHA[image.mode]
        values, alpha = values[..., :channels], values[..., channels]
    return (values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values), alpha


def _seen(values: NDArray[Any], alpha: NDArray[np.uint8], kind: str, lossy: bool, path: str) -> NDArray[Any]:
    """The numbers that a mask with alpha means."""
    flat = bool((values == values[:1, :1]).all())
    if (alpha == alpha[0, 0]).all():
        contradictory = flat and alpha[0, 0] == 0 and values.max() > 0
    elif kind == 'index':
        contradictory = flat or bool(values[alpha < 255].any())
    else:
        foreground = None if flat else _binary(values, lossy, path)
        if foreground is None or foreground.all():
            return alpha
        contradictory = bool(foreground[alpha == 0].any())
        values = np.where(alpha[..., None] >= 128, values, 0) if values.ndim == 3 else np.where(alpha >= 128, values, 0)
    if contradictory:
        raise DatasetError(
            f'The colours and the transparency of the mask {path} say different things, so which of them is the mask cannot be '
            'known. Store it without alpha.'
        )
    return values


def _binary(values: NDArray[Any], lossy: bool, path: str) -> NDArray[np.uint8]:
    if values.ndim == 3:
        values = values.max(axis=2)
    highest = values.max()
    numbers = np.isfinite(values).all() if values.dtype.kind == 'f' else True
    faint = 0.5 if values.dtype.kind == 'f' else 0
    if (
        not numbers
        or values.min() < 0
        or 0 < highest <= faint
        or 1 < highest < 128
        or 255 < highest < 32768
        or (lossy and highest == 1)  # loss has left the least of it
    ):
        raise DatasetError(
            f'The mask {path} should be foreground and background, and its values are {_listed(values)}: neither 0 and 1 nor 0 '
            'and 255. Store the foreground as 255, as PNG.'
        )
    if highest <= 1:
        return (values > 0.5 if values.dtype.kind == 'f' else values == 1).astype(np.uint8)
    if highest == IGNORE and not lossy and (values == 1).any() and np.isin(values, (0, 1, IGNORE)).all():
        raise DatasetError(
            f'The mask {path} holds 1 and 255: class numbers, in which 255 is "not labelled". Read it as such '
            "(kind='index'), or store the foreground as 255 alone."
        )
    return (values >= (128 if highest <= 255 else 32768)).astype(np.uint8)


def _index(values: NDArray[Any], labels: int | None, path: str) -> NDArray[np.uint8]:
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise DatasetError(
                f'The mask {path} holds colours where class numbers are expected. Store the number of the class in every pixel, '
                'as grey levels or palette indices.'
            )
        values = values[..., 0]
    found = np.unique(values)
    allowed = found <= 255 if labels is None else found < labels
    wrong = found[(found < 0) | ~(allowed | (found == IGNORE)) | (found != np.floor(found))]
    if wrong.size:
        classes = '0 to 255' if labels is None else f'0 to {labels - 1}, and {IGNORE} for "not labelled"'
        raise DatasetError(f'The mask {path} holds the values {_listed(wrong)}, and the class numbers are {classes}.')
    return values.astype(np.uint8)


def _listed(values: NDArray[Any]) -> str:
    found = np.unique(values)
    return ', '.join(str(value) for value in found[:8].tolist()) + (', ...' if found.size > 8 else '')
