"""Images to vectors."""

from mmdel.embedding.embed import Embedded, embed_images
from mmdel.embedding.embedders.base_embedder import BaseEmbedder
from mmdel.embedding.embedders.hash_embedder import HashEmbedder
from mmdel.embedding.embedders.hf_embedder import HFEmbedder
from mmdel.embedding.embedders.onnx_embedder import OnnxEmbedder
from mmdel.embedding.embedders.pixel_embedder import PixelEmbedder
from mmdel.embedding.embedders.timm_embedder import TimmEmbedder
from mmdel.embedding.embedders.vit_embedder import ViTEmbedder
from mmdel.embedding.store import EmbeddingStore
from mmdel.embedding.vectors import RowSource, Vectors

__all__ = [
    'BaseEmbedder',
    'Embedded',
    'EmbeddingStore',
    'HFEmbedder',
    'HashEmbedder',
    'OnnxEmbedder',
    'PixelEmbedder',
    'RowSource',
    'TimmEmbedder',
    'Vectors',
    'ViTEmbedder',
    'embed_images',
]
