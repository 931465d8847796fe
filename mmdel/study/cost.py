"""Estimates the cost of a plan, and says what the estimate is based on.

A run's time is the mean of finished runs of the same kind and, where there are any, of the same downstream set: at equal
compute every pre-training costs the same. Before one has finished, the rates that the config assumes are taken, and where it
assumes none, no time is named.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean

from mmdel.study.outputs import DONE, read_record
from mmdel.study.plan import EVALUATE, FINETUNE, KINDS, PRETRAIN, SELECT, Plan, Run


@dataclass(frozen=True)
class Cost:
    """The runs of one kind.

    Args:
        kind (str): The kind.
        runs (int): How many there are in the plan.
        pending (int): How many are to be made.
        seconds (float, optional): What those will take on one machine, one after another; None where nothing tells.
        images (float): Images that go through their model.
        rate (str): What the seconds rest on, for people.
    """

    kind: str
    runs: int
    pending: int
    seconds: float | None
    images: float
    rate: str


def estimate(plan: Plan, pending: Sequence[Run]) -> list[Cost]:
    """One line a kind."""
    measured: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in plan.runs.values():
        record = read_record(plan.study.work_dir, run)
        if record is not None and record.status == DONE:
            for group in (_group(run), ''):
                measured[run.kind, group].append(record.seconds)
    costs = []
    for kind in KINDS:
        todo = [run for run in pending if run.kind == kind]
        times = [_seconds(plan, run, measured) for run in todo]
        known = [time for time in times if time is not None]
        costs.append(
            Cost(
                kind=kind,
                runs=sum(run.kind == kind for run in plan.runs.values()),
                pending=len(todo),
                seconds=sum(known) if len(known) == len(times) else None,
                images=sum(run.images for run in todo),
                rate=_rate(plan, kind, measured[kind, '']),
            )
        )
    return costs


def _group(run: Run) -> str:
    """Runs that cost the same: those of one downstream set, which is the first word of their name."""
    return run.name.split('/')[1].split('_')[0] if run.kind in (FINETUNE, EVALUATE) else '-'


def _seconds(plan: Plan, run: Run, measured: dict[tuple[str, str], list[float]]) -> float | None:
    times = measured.get((run.kind, _group(run))) or measured.get((run.kind, ''))
    if times:
        return mean(times)
    rate = plan.study.rates.get(run.kind)
    if rate is None:
        return None
    if run.kind in (SELECT, EVALUATE):
        return float(rate)
    return run.images / rate if run.images else None


def _rate(plan: Plan, kind: str, times: Sequence[float]) -> str:
    if times:
        return f'{mean(times):.0f} s a run, measured from {len(times)} finished'
    rate = plan.study.rates.get(kind)
    if rate is None:
        return 'none finished, none assumed'
    unit = 'images/s' if kind in (PRETRAIN, FINETUNE) else 's a run'
    return f'{rate:g} {unit}, assumed by the config'
