"""Perceptual hashes as vectors, for every selector: the deduplication of the paper's related work."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from mmdel.embedding.embedders.base_embedder import BaseEmbedder, load_reduced
from mmdel.errors import ConfigError
from mmdel.registry import EMBEDDERS

HASHES = {'phash': 'phash', 'dhash': 'dhash', 'ahash': 'average_hash'}
"""Name to function of the ImageHash library."""


@EMBEDDERS.register_module()
class HashEmbedder(BaseEmbedder):
    """Embeds by the 64 bits of a perceptual hash as +1 and -1, so that cosine = 1 - Hamming distance / 32.

    Needs the ImageHash library: ``pip install 'mmdel[hash]'``. Compare the vectors as they are (``center=False``) where the
    Hamming distance is meant: eta = 0.75 is a distance of 8.

    Args:
        method (str): 'phash' (signs of low frequencies), 'dhash' (of differences between neighbours) or 'ahash' (of
            differences to the mean). Defaults to 'phash'.
        input_size (int): Side of the square that is hashed. Defaults to 128.
        batch_size (int): Images taken at once. Defaults to 256.
        shard_size (int, optional): Images written to the cache at once. Defaults to 2048.
        pipeline (Sequence[dict], optional): See :class:`BaseEmbedder`. Defaults to None: :func:`load_reduced`.

    Raises:
        ConfigError: ``method`` is not known.
        ImportError: ImageHash is not installed.
    """

    def __init__(
        self,
        method: str = 'phash',
        input_size: int = 128,
        batch_size: int = 256,
        shard_size: int = 2048,
        pipeline: Sequence[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            input_size=input_size,
            precision='float32',
            batch_size=batch_size,
            shard_size=shard_size,
            pipeline=load_reduced(input_size) if pipeline is None else pipeline,
        )
        if method not in HASHES:
            raise ConfigError(f'method must be one of {", ".join(HASHES)}, got {method!r}.')
        try:
            import imagehash
        except ImportError as error:
            raise ImportError("HashEmbedder needs ImageHash. Install it: pip install 'mmdel[hash]'.") from error
        self.method = method
        self._hash = getattr(imagehash, HASHES[method])

    def build_model(self) -> nn.Module:
        """A model without weights."""
        return nn.Identity()

    def embed(self, images: Tensor) -> NDArray[np.float32]:
        """Float32 [B, 64] of uint8 [B, S, S, 3], BGR."""
        rgb = images.flip(-1).cpu().numpy()
        bits = np.stack([self._hash(Image.fromarray(image)).hash.ravel() for image in rgb])
        return np.where(bits, 1, -1).astype(np.float32)
