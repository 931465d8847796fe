"""A dedup config put together from names: a config to begin with, an encoder, a method, images.

cfg = compose(DEFAULT_CONFIG, encoder='pixels', images=asked_images('my/frames'))
subset = DedupRunner.from_cfg(cfg, ratio=0.05).run()
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from mmdel.config.config_file import merge_options, read_config, read_part
from mmdel.config.shipped import ENCODERS, SELECTORS
from mmdel.engine.asked_images import Asked
from mmdel.errors import ConfigError


def compose(
    config: str,
    encoder: str | None = None,
    selector: str | None = None,
    images: Asked | None = None,
    dataset_from: str | None = None,
    embeddings: bool = False,
    listing: Mapping[str, Any] | None = None,
    eta: float | None = None,
    options: Sequence[str] | None = None,
) -> Config:
    """Read a config and replace what else is asked for.

    Args:
        config (str): A file, or a name that :func:`~mmdel.config.shipped.find_config` knows.
        encoder (str, optional): The name of an encoder, or a config file that has one. Defaults to None (the config's).
        selector (str, optional): The name of a method, or a config file that has one. Defaults to None (the config's).
        images (Asked, optional): Takes the place of the config's images. Defaults to None.
        dataset_from (str, optional): An OpenMMLab config, whose training images do so. Defaults to None.
        embeddings (bool): Whether vectors take the place of images. Defaults to False.
        listing (Mapping, optional): Keys of ``mmdel.DataDEL`` such as ``videos`` and ``exclude``. Defaults to None.
        eta (float, optional): The threshold. Defaults to None (the config's).
        options (Sequence[str], optional): See :func:`~mmdel.config.config_file.merge_options`. Defaults to None.

    Raises:
        ConfigError: A name is unknown, or ``listing`` is for images that are not listed here.
    """
    cfg = read_config(config)
    if encoder:
        cfg.embedder = read_part(encoder, ENCODERS, 'embedder')
    if selector:
        cfg.selector = read_part(selector, SELECTORS, 'selector')
    if images:
        cfg.dataset = images.dataset
    if dataset_from:
        other = read_config(dataset_from)
        try:
            cfg.dataset = other.train_dataloader.dataset
        except AttributeError as error:
            raise ConfigError(f'{dataset_from} has no train_dataloader.dataset.') from error
        cfg.default_scope = other.get('default_scope', 'mmengine')
    for name, value in (listing or {}).items():
        if embeddings or cfg.get('dataset', {}).get('type') != 'mmdel.DataDEL':
            raise ConfigError(
                f'--{name} is for mmdel.DataDEL, which lists folders: use it with --images DIR, or with a config that has it.'
                + (' Vectors have keys only.' if embeddings else ' Other datasets tell this themselves.')
            )
        cfg.dataset[name] = value
    if eta is not None:
        cfg.selector.eta = eta
    merge_options(cfg, options)
    return cfg
