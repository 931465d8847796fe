"""What does pre-training on the subset lose: the error of a small masked autoencoder on images of other groups.

    evaluation = EVALUATIONS.build(dict(type='mmdel.PretextLoss', iterations=600))

A reconstruction error tells subsets apart that downstream scores cannot: it is a mean over thousands of patches of images that
are the same for every method, and the models of a pool begin with the same weights and see the same masks.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mmdel.errors import ConfigError, DatasetError
from mmdel.registry import EVALUATIONS, MODELS
from mmdel.study.pools.drawing import Pool, Rows
from mmdel.study.pools.evaluations import Archive, BaseEvaluation, Figures, Resample

SMALLEST_CROP = 0.5
"""Of the side: training sees crops from here to the whole image, as MAE does."""

MASKS = 4
"""Times that each test image is masked."""


@EVALUATIONS.register_module()
class PretextLoss(BaseEvaluation):
    """Trains a masked autoencoder on the kept images, for as many steps whatever their number, and tests it on other groups.

    Needs a ``judge`` that is a :class:`~mmdel.embedding.PixelEmbedder` of the model's size: the images are read back from its
    vectors. Figures, each over that of the same model trained on the whole pool, less 1 (0.02 is an error 2 % higher; below 0
    the subset is better): ``error against all images``, over images; ``group error against all images``, each group counting
    the same; both redrawn over groups.

    Args:
        model (dict, optional): Config of mmpretrain's MAE. Defaults to None: :func:`small_mae`.
        iterations (int): Steps of training. Defaults to 600.
        batch_size (int): Images in a step. Defaults to 64.
        learning_rate (float): The highest one, after a twentieth of the steps; it falls in a cosine. Defaults to 1.5e-3.
        group (str): What is redrawn. Defaults to 'video'.

    Raises:
        ConfigError: A number is below 1.
    """

    def __init__(
        self,
        model: Mapping[str, Any] | None = None,
        iterations: int = 600,
        batch_size: int = 64,
        learning_rate: float = 1.5e-3,
        group: str = 'video',
    ) -> None:
        if iterations < 1 or batch_size < 1:
            raise ConfigError(f'iterations and batch_size must be at least 1, got {iterations} and {batch_size}.')
        self.model = small_mae() if model is None else dict(model)
        self.iterations, self.batch_size, self.learning_rate, self.group = iterations, batch_size, learning_rate, group
        self._whole: tuple[Pool, NDArray[np.float64]] | None = None

    def judge(self, archive: Archive, pool: Pool, kept: Rows, resample: Resample) -> Figures:
        if not len(pool.test):
            raise DatasetError('PretextLoss needs images that judge; give the pool a test share above 0.')
        test = thumbnails(archive, pool.test)
        if self._whole is None or self._whole[0] is not pool:
            self._whole = pool, self._errors(thumbnails(archive, pool.rows), test, resample.seed)
        own, whole = self._errors(thumbnails(archive, pool.rows[kept]), test, resample.seed), self._whole[1]
        _, group, images = np.unique(archive.group(self.group, pool.test), return_inverse=True, return_counts=True)
        groups = resample.weights(np.zeros(len(images)))
        by_group, by_image = groups / images, groups[:, group]
        sums = [np.bincount(group, each) for each in (own, whole)]
        return {
            'error against all images': (by_image @ own) / (by_image @ whole) - 1,
            'group error against all images': (by_group @ sums[0]) / (by_group @ sums[1]) - 1,
        }

    def _errors(self, train: Tensor, test: Tensor, seed: tuple[int, ...]) -> NDArray[np.float64]:
        """The error of each test image, [m], after training; the same seed gives the same beginning and masks."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed[0])
            model = _built(self.model)
            pretrain(model, train, self.iterations, self.batch_size, self.learning_rate)
            torch.manual_seed(seed[0])
            return np.mean([reconstruction_errors(model, test) for _ in range(MASKS)], axis=0)


def small_mae(side: int = 64, patch: int = 8, width: int = 128, depth: int = 4) -> dict[str, Any]:
    """Config of a masked autoencoder of 0.9 million weights, for thumbnails."""
    return dict(
        type='mmpretrain.MAE',
        backbone=dict(
            type='mmpretrain.MAEViT',
            arch=dict(embed_dims=width, num_layers=depth, num_heads=4, feedforward_channels=4 * width),
            img_size=side,
            patch_size=patch,
        ),
        neck=dict(
            type='mmpretrain.MAEPretrainDecoder',
            num_patches=(side // patch) ** 2,
            patch_size=patch,
            embed_dim=width,
            decoder_embed_dim=width // 2,
            decoder_depth=1,
            decoder_num_heads=4,
        ),
        head=dict(
            type='mmpretrain.MAEPretrainHead',
            norm_pix=True,
            patch_size=patch,
            loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L2'),
        ),
    )


def thumbnails(archive: Archive, rows: Rows) -> Tensor:
    """Images of the archive, float32 [n, 3, S, S] with mean 0 and standard deviation 1, from the vectors of a PixelEmbedder.

    Raises:
        DatasetError: The vectors are none of it.
    """
    vectors = archive.raw[rows]
    side = round(((vectors.shape[1] - 1) / 3) ** 0.5)
    if 3 * side * side + 1 != vectors.shape[1] or not (vectors[:, -1] > 0).all():
        raise DatasetError('PretextLoss sees images, so its judge must be a mmdel.PixelEmbedder.')
    pixels = torch.from_numpy(vectors[:, :-1] / vectors[:, -1:]).reshape(-1, 3, side, side)
    known = torch.from_numpy(archive.raw[:, :-1] / archive.raw[:, -1:])
    return (pixels - known.mean()) / known.std()


def pretrain(model: nn.Module, images: Tensor, iterations: int, batch_size: int, learning_rate: float) -> None:
    """Train in place, with random crops and mirrored halves; in each epoch every image once."""
    optimizer = torch.optim.AdamW(model.parameters(), learning_rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm = iterations // 20 + 1
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warm, (1 + math.cos(math.pi * step / iterations)) / 2)
    )
    side, order = images.shape[-1], torch.empty(0, dtype=torch.int64)
    model.train()
    for _ in range(iterations):
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(len(images))])
        chosen, order = order[:batch_size], order[batch_size:]
        length = int(torch.randint(round(SMALLEST_CROP * side), side + 1, ()))
        top, left = (int(torch.randint(0, side - length + 1, ())) for _ in range(2))
        batch = images[chosen, :, top : top + length, left : left + length]
        batch = functional.interpolate(batch, size=side, mode='bilinear', align_corners=False)
        mirrored = torch.rand(len(batch)) < 0.5
        batch[mirrored] = batch[mirrored].flip(-1)
        optimizer.zero_grad()
        _patch_errors(model, batch).mean().backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def reconstruction_errors(model: nn.Module, images: Tensor, batch_size: int = 256) -> NDArray[np.float64]:
    """The mean squared error over the masked patches of each image, float64 [n]; patches are normalised as the head has it."""
    model.eval()
    return torch.cat([_patch_errors(model, batch) for batch in images.split(batch_size)]).double().numpy()


def _built(config: Mapping[str, Any]) -> nn.Module:
    """The model with its first weights, of which mmengine would log every one."""
    init_default_scope('mmpretrain')
    model = MODELS.build(dict(config))
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        model.init_weights()
    finally:
        logger.setLevel(level)
    return model


def _patch_errors(model: Any, images: Tensor) -> Tensor:
    latent, mask, restore = model.backbone(images, mask=True)
    error = (model.neck(latent, restore) - model.head.construct_target(images)).square().mean(dim=-1)
    return (error * mask).sum(dim=1) / mask.sum(dim=1)
