import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mmdel.errors import ConfigError
from mmdel.training import AutoAmpOptimWrapper


def wrapped(precision: str, kind: type = AutoAmpOptimWrapper) -> tuple[nn.Module, OptimWrapper]:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    return model, kind(optimizer=optimizer, **({} if kind is OptimWrapper else {'precision': precision}))


def step(model: nn.Module, wrapper: OptimWrapper) -> torch.dtype:
    with wrapper.optim_context(model):
        output = model(torch.ones(3, 4))
        loss = output.float().square().sum()
    wrapper.update_params(loss)
    return output.dtype


@pytest.mark.parametrize(('precision', 'dtype'), [('float32', torch.float32), ('bfloat16', torch.bfloat16)])
def test_cpu__the_model_runs_in_the_precision_and_its_weights_stay_float32(precision, dtype):
    model, wrapper = wrapped(precision)
    before = model.weight.clone()
    assert step(model, wrapper) == dtype
    assert model.weight.dtype == torch.float32
    assert not torch.equal(model.weight, before)


def test_float32__is_exactly_the_plain_optimizer_wrapper():
    ours, plain = wrapped('float32'), wrapped('', OptimWrapper)
    for _ in range(3):
        step(*ours)
        step(*plain)
    assert torch.equal(ours[0].weight, plain[0].weight)


def test_auto__follows_the_device(monkeypatch):
    for native, precision in ((True, 'bfloat16'), (False, 'float32')):
        monkeypatch.setattr('mmdel.compute.devices._cpu_multiplies_bfloat16', lambda native=native: native)
        assert wrapped('auto')[1].precision == precision


def test_unknown_precision__is_refused():
    with pytest.raises(ConfigError, match="precision='half' is not known"):
        wrapped('half')


@pytest.mark.parametrize('scale', [{}, {'scale': 65536.0, 'growth_factor': 2.0}, None])
def test_state__resumes_from_a_run_of_another_precision(scale):
    model, wrapper = wrapped('bfloat16')
    step(model, wrapper)
    state = wrapper.state_dict()
    if scale is None:
        del state['loss_scaler']
    else:
        state['loss_scaler'] = scale
    _, other = wrapped('float32')
    other.load_state_dict(state)
    moments = [next(iter(each.optimizer.state.values()))['exp_avg'] for each in (wrapper, other)]
    assert torch.equal(*moments)


def test_registry__finds_it_from_any_project():
    model = nn.Linear(4, 2)
    config = dict(type='mmdel.AutoAmpOptimWrapper', optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    assert isinstance(OPTIM_WRAPPERS.build(config), AutoAmpOptimWrapper)
