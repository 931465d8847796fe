"""The inputs of a run as one digest: the same on every machine and in every folder with the same configs and data.

    Inputs().digest('pretrain', cfg, needs=['4f1d...'])     # 64 hexadecimal digits

Of a config those keys count that mmengine's runner (or :class:`mmdel.engine.DedupRunner`) reads. In their place of paths stands
what lies there: of a dataset's folder the names and sizes of its files, of a single file its sha256. Contents of images are not
read, as in the dataset digest of a subset. What an earlier run of the study makes counts by the digest of that run, so that
digests are known before anything has run.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdel.compute.files import file_digest

COUNTED = frozenset(
    {
        *('dataset', 'embedder', 'selector', 'center', 'default_scope', 'custom_imports', 'data_preprocessor', 'model'),
        *(f'{part}_{what}' for part in ('train', 'val', 'test') for what in ('dataloader', 'cfg', 'evaluator')),
        *(
            'optim_wrapper',
            'param_scheduler',
            'auto_scale_lr',
            'default_hooks',
            'custom_hooks',
            'env_cfg',
            'randomness',
        ),
        *('load_from', 'log_processor', 'find_unused_parameters', 'model_wrapper_cfg'),
    }
)
"""The other keys of a config are its own variables, or say where things go."""


class Inputs:
    """Digests of runs; every folder is listed once."""

    def __init__(self) -> None:
        self._folders: dict[tuple[str, tuple[str, ...]], str] = {}

    def digest(self, kind: str, cfg: Config, needs: Sequence[str] = (), extra: Mapping[str, Any] | None = None) -> str:
        """The digest of everything that decides what a run gives.

        Args:
            kind (str): The kind of run.
            cfg (Config): Its config, without what earlier runs of the study make.
            needs (Sequence[str]): The digests of those runs. Defaults to ().
            extra (Mapping, optional): What the command line adds. Defaults to None.
        """
        counted = {key: value for key, value in cfg.to_dict().items() if key in COUNTED}
        about = {'kind': kind, 'config': self._canonical(counted), 'needs': list(needs), 'extra': dict(extra or {})}
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()

    def _canonical(self, value: Any) -> Any:
        """A config as JSON takes it, with contents in place of paths."""
        if isinstance(value, Mapping):
            plain = {str(key): self._canonical(each) for key, each in value.items()}
            root = value.get('data_root')
            if isinstance(root, str) and root:
                plain['data_root'] = self._folder(root, _parts(value))
            return plain
        if isinstance(value, list | tuple):
            return [self._canonical(each) for each in value]
        if isinstance(value, str):
            return f'sha256:{file_digest(value)}' if value and os.path.isfile(value) else value
        return value if value is None or isinstance(value, bool | int | float) else str(value)

    def _folder(self, root: str, parts: tuple[str, ...]) -> str:
        """Of the lines "path<TAB>bytes"; a list is read, because what it says counts and not how long it is."""
        if (root, parts) not in self._folders:
            lines: set[str] = set()
            for part in parts:
                top = Path(root, part)
                if top.is_file():
                    lines.add(f'{part}\tsha256:{file_digest(top)}\n')
                for folder, _, names in os.walk(top):
                    for name in names:
                        path = Path(folder, name)
                        size = path.stat().st_size if path.exists() else -1
                        lines.add(f'{path.relative_to(root).as_posix()}\t{size}\n')
            text = ''.join(sorted(lines))
            self._folders[root, parts] = hashlib.sha256(text.encode()).hexdigest() if lines else 'absent'
        return self._folders[root, parts]


def _parts(dataset: Mapping[str, Any]) -> tuple[str, ...]:
    """What of its root a dataset looks at: ('',), all of it, unless it names folders."""
    if isinstance(dataset.get('sources'), list | tuple):
        parts = dataset['sources']
    elif isinstance(dataset.get('data_prefix'), Mapping):
        parts = [*dataset['data_prefix'].values(), *([dataset['ann_file']] if dataset.get('ann_file') else [])]
    else:
        parts = ['']
    return tuple(sorted(set(parts))) if all(isinstance(part, str) for part in parts) else ('',)
