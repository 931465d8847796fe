"""SemDeDup, which MedDEL is based on: of two similar images in a cluster, the one nearer to the centroid is removed.

Abbas et al., SemDeDup: Data-efficient learning at web-scale through semantic deduplication, 2023 (arXiv 2303.09540). Their
epsilon is 1 - eta here; there is no filter for images far from everything.
"""

from mmdel.registry import SELECTORS
from mmdel.selection.methods.meddel import MedDEL


@SELECTORS.register_module()
class SemDeDup(MedDEL):
    """MedDEL with ``keep='far'`` and ``epsilon=None``: any removed image goes on removing, and the hard examples stay.

    Args:
        eta (float): Cosine above which an image is a duplicate, in [-1, 1]. Defaults to 0.8.
        clusterer (dict, optional): Config of the clusterer. Defaults to None (``dict(type='mmdel.FaissKMeans')``).
    """

    def __init__(self, eta: float = 0.8, clusterer: dict | None = None) -> None:
        super().__init__(epsilon=None, eta=eta, keep='far', clusterer=clusterer)
