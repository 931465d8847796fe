"""Images to vectors."""

from mmdel.embedding.base_embedder import BaseEmbedder
from mmdel.embedding.embedder import Embedded, embed_images
from mmdel.embedding.hash_embedder import HashEmbedder
from mmdel.embedding.pixel_embedder import PixelEmbedder
from mmdel.embedding.store import EmbeddingStore
from mmdel.embedding.vectors import RowSource, Vectors
from mmdel.embedding.vit_embedder import ViTEmbedder

__all__ = [
    'BaseEmbedder',
    'Embedded',
    'EmbeddingStore',
    'HashEmbedder',
    'PixelEmbedder',
    'RowSource',
    'Vectors',
    'ViTEmbedder',
    'embed_images',
]
