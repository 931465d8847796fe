from dataclasses import replace

import pytest

from mmdel.study import make_plan, read_study
from mmdel.study.cost import estimate
from mmdel.study.outputs import DONE, Record, write_record


@pytest.fixture
def plan(little, tmp_path):
    return make_plan(read_study(str(little.write_little_study(tmp_path))))


def costs(plan, pending=None):
    return {cost.kind: cost for cost in estimate(plan, list(plan.runs.values()) if pending is None else pending)}


def test_estimate__nothing_is_named_that_nothing_tells(plan):
    for cost in costs(plan).values():
        assert cost.seconds is None and cost.rate == 'none finished, none assumed'


def test_estimate__from_the_rates_that_the_config_assumes(plan):
    study = replace(plan.study, rates=dict(select=30, pretrain=50, finetune=24, evaluate=7), images=100)
    runs = {name: replace(run, images=1000.0) if run.kind == 'pretrain' else run for name, run in plan.runs.items()}
    found = costs(replace(plan, study=study, runs=runs), list(runs.values()))
    assert found['select'].seconds == 30
    assert found['pretrain'].seconds == 2 * 1000 / 50
    assert found['finetune'].seconds == 4 * 30 * 4 / 24  # iterations x batch
    assert found['evaluate'].seconds == 4 * 7
    assert found['pretrain'].rate == '50 images/s, assumed by the config'


def test_estimate__from_finished_runs_where_there_are_some(plan):
    trained = [run for run in plan.runs.values() if run.kind == 'pretrain']
    write_record(plan.study.work_dir, trained[0], Record(DONE, trained[0].digest, seconds=80))
    found = costs(plan, [run for run in plan.runs.values() if run is not trained[0]])
    assert (found['pretrain'].runs, found['pretrain'].pending, found['pretrain'].seconds) == (2, 1, 80)
    assert found['pretrain'].rate == '80 s a run, measured from 1 finished'


def test_estimate__of_nothing_to_do_is_nothing(plan):
    assert all(cost.seconds == 0 for cost in costs(plan, []).values())
