"""NormDEL of any metric, logged with each validation.

In a config:

    val_evaluator = dict(
        type='mmdel.NormDELEvaluator', retention='work_dirs/meddel_eta08/subset.parquet', key='mIoU', scale='percent',
        metrics=dict(type='IoUMetric', iou_metrics=['mIoU']))
"""

import difflib
import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.registry import METRICS

from mmdel.errors import ConfigError, SubsetError
from mmdel.evaluation.normdel import (
    SCALES,
    as_fraction,
    check_alpha,
    check_retention,
    check_scale,
    del_score,
    normdel,
)
from mmdel.registry import EVALUATOR
from mmdel.subset import Subset

ADDED = ('DEL', 'NormDEL', 'retention', 'alpha')
"""What the evaluator adds to the values of its metrics."""


@EVALUATOR.register_module()
class NormDELEvaluator(Evaluator):
    """Adds ``DEL`` and ``NormDEL``, and beside them ``retention`` and ``alpha``, to what the metrics return.

    The two scores have the scale of the metric, so percent gives the numbers that the paper prints. All four reach the
    log line, the JSON file, TensorBoard and every other backend. ``CheckpointHook(save_best='NormDEL', rule='greater')``
    works; mmengine cannot infer the rule from the name.

    Where the metrics return nothing at all (``format_only``, or only ``DumpResults``), nothing is added, and a warning
    says so.

    Args:
        metrics (dict or list): Config of one metric or of several, as in any ``val_evaluator``.
        retention (float, str or dict): The share of the images that the encoder was pre-trained on, in (0, 1]; or a
            subset file, whose exact ratio is taken; or ``dict(subset=<file>, eta=...)`` or
            ``dict(subset=<file>, ratio=...)`` for another cut of it, as in ``MedDELDataset``.
        key (str): The metric that is weighed, by its full name as the log shows it: 'mIoU', 'accuracy/top1'. Defaults to
            'mIoU'.
        scale (str): How that metric prints its values, 'percent' or 'fraction'. Defaults to 'percent'.
        alpha (float): How much data counts against the metric, 0 or more. Defaults to 1.0.
        output_dir (str, optional): Passed on to the metrics that have such an option; mmseg's ``tools/test.py --out``
            sets it. Defaults to None.
        keep_results (bool, optional): Likewise. Defaults to None.
        **inherited: Nothing else is accepted; what a base config left in the dict is named in the error.

    Raises:
        ConfigError: An option is out of range or unknown, or, when evaluating, the key is not among the values, or its
            value is NaN, no number, or outside the scale.
        SubsetError: The subset file is damaged, or cannot be cut like this.
    """

    def __init__(
        self,
        metrics: Any,
        retention: float | str | os.PathLike[str] | Mapping[str, Any],
        key: str = 'mIoU',
        scale: str = 'percent',
        alpha: float = 1.0,
        output_dir: str | None = None,
        keep_results: bool | None = None,
        **inherited: Any,
    ) -> None:
        if inherited:
            raise ConfigError(
                f'NormDELEvaluator has no option {", ".join(inherited)}. Options of a metric belong into metrics=dict(...); '
                'where they come from a base config, say _delete_=True in this dict.'
            )
        self.key = key
        self.scale = check_scale(scale)
        self.alpha = check_alpha(alpha)
        self.retention = read_retention(retention)
        options = {'output_dir': output_dir, 'keep_results': keep_results}
        super().__init__(_with_options(metrics, {name: value for name, value in options.items() if value is not None}))
        self._warned = False
        print_log(
            f'NormDEL of {key} ({scale}) with retention {self.retention:.6g} and alpha {self.alpha:g}', logger='current'
        )

    def evaluate(self, size: int) -> dict[str, Any]:
        """The values of all metrics, then :data:`ADDED`.

        Args:
            size (int): Length of the dataset.
        """
        metrics: dict[str, Any] = super().evaluate(size)
        if not metrics:
            print_log('The metrics returned no values, so there is no NormDEL.', 'current', logging.WARNING)
            return metrics
        taken = [name for name in ADDED if name in metrics]
        if taken:
            raise ConfigError(
                f"A metric already returns {', '.join(taken)}, which NormDELEvaluator adds. Give that metric a prefix='...'."
            )
        metric = as_fraction(self._value(metrics), self.scale, self.key)
        self._warn_if_small(metric)
        full = SCALES[self.scale]
        metrics['DEL'] = full * del_score(metric, self.retention, self.alpha)
        metrics['NormDEL'] = full * normdel(metric, self.retention, self.alpha)
        metrics['retention'] = self.retention
        metrics['alpha'] = self.alpha
        return metrics

    # --- private

    def _value(self, metrics: Mapping[str, Any]) -> float:
        if self.key not in metrics:
            hint = _suggestion(self.key, metrics)
            raise ConfigError(f'There is no metric {self.key!r}. {hint}There are: {", ".join(metrics)}.')
        value = metrics[self.key]
        try:
            return float(value.item() if hasattr(value, 'item') else value)
        except (RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(f'{self.key} is not one number but {value!r}; give the key of one that is.') from error

    def _warn_if_small(self, metric: float) -> None:
        if self.scale == 'percent' and 0 < metric <= 0.01 and not self._warned:
            self._warned = True
            print_log(
                f"{self.key} is {100 * metric:g} %. If the metric prints fractions, say scale='fraction'.",
                'current',
                logging.WARNING,
            )


def read_retention(retention: float | str | os.PathLike[str] | Mapping[str, Any]) -> float:
    """The retention as a number, which may have to be read from a subset file.

    Args:
        retention (float, str or dict): A number in (0, 1], a subset file, or ``dict(subset=<file>, eta=...)`` or
            ``dict(subset=<file>, ratio=...)``.

    Raises:
        ConfigError: It is none of these, or outside (0, 1].
        SubsetError: The subset file is damaged, keeps nothing, or cannot be cut like this.
    """
    if isinstance(retention, (str, os.PathLike)):
        retention = {'subset': retention}
    if isinstance(retention, (Real, bool)):
        return check_retention(retention)  # type: ignore[arg-type]
    if not isinstance(retention, Mapping) or 'subset' not in retention or set(retention) - {'subset', 'eta', 'ratio'}:
        raise ConfigError(
            'retention is a number in (0, 1], a subset file, or a dict with subset and either eta or ratio; '
            f'got {retention!r}.'
        )
    subset = Subset.read(retention['subset'])
    eta, ratio = retention.get('eta'), retention.get('ratio')
    if eta is not None or ratio is not None:
        subset = subset.at(eta, ratio)
    if not subset.ratio > 0:
        raise SubsetError(f'{retention["subset"]} keeps no image at this cut, so nothing can have been trained on it.')
    return subset.ratio


def _with_options(metrics: Any, options: Mapping[str, Any]) -> Any:
    """The metric configs, with the options that each one's class has; built metrics stay as they are."""
    if not options:
        return metrics
    several = isinstance(metrics, Sequence)
    forwarded = []
    known: set[str] = set()
    for metric in metrics if several else [metrics]:
        if isinstance(metric, dict):
            accepted = {name for name in options if _has_option(_metric_class(metric), name)}
            known |= accepted
            metric = metric.copy()
            metric.update({name: options[name] for name in accepted})
        forwarded.append(metric)
    if 'output_dir' in options and 'output_dir' not in known:
        print_log(
            f'No metric writes predictions, so nothing goes to {options["output_dir"]}.', 'current', logging.WARNING
        )
    return forwarded


def _metric_class(metric: Mapping[str, Any]) -> Any:
    """The class that METRICS would build; None where it would fail, so that its own error is shown."""
    kind = metric.get('type')
    if not isinstance(kind, str):
        return kind
    with METRICS.switch_scope_and_registry(metric.get('_scope_')) as registry:
        return registry.get(kind)


def _has_option(kind: Any, name: str) -> bool:
    """Whether a constructor names the option itself or hands unknown options to a base class that does.

    A bare ``**kwargs`` is not enough: most metrics pass it to ``BaseMetric``, which takes neither of them.
    """
    for base in getattr(kind, '__mro__', ()):
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if name in parameters:
            return True
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            return False
    return False


def _suggestion(key: str, metrics: Mapping[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for name in metrics:
        names.setdefault(name.split('/')[-1].lower(), []).append(name)
    fits = difflib.get_close_matches(key.split('/')[-1].lower(), names, n=1)
    close = [name for fit in fits for name in names[fit]]
    if close:
        return f'Did you mean {" or ".join(map(repr, close))}? '
    if key.startswith('IoU.'):
        return 'mmdel.ClassIoUMetric gives one a class, save for a class that neither labels nor predictions contain. '
    return ''
