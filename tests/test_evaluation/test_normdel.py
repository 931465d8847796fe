import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mmdel.errors import ConfigError, MmdelError
from mmdel.evaluation import alpha_sweep, as_fraction, del_score, normdel, swap_alpha
from mmdel.study.report.published import RETENTIONS, TABLE_3

metrics = st.floats(0, 1)
positive_metrics = st.floats(1e-3, 1)
retentions = st.floats(1e-3, 1)
alphas = st.floats(0, 10)


@pytest.mark.parametrize('dataset', TABLE_3)
def test_normdel__gives_table_3(dataset):
    miou, printed = np.array([TABLE_3[dataset][retention] for retention in RETENTIONS]).T
    assert np.abs(100 * normdel(miou / 100, RETENTIONS) - printed).max() < 0.0062


def test_normdel__with_0_30_would_miss_the_column_headed_30_percent():
    miou, printed = np.array([row[0.33] for row in TABLE_3.values()]).T
    assert (np.abs(100 * normdel(miou / 100, 0.30) - printed) > 0.1).all()


@given(metrics, retentions, alphas)
def test_normdel__is_the_formula_of_the_paper(metric, retention, alpha):
    expected = metric * math.exp(-alpha * retention)
    assert del_score(metric, retention, alpha) == pytest.approx(expected, abs=1e-15)
    assert normdel(metric, retention, alpha) == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-15)


@given(metrics, metrics, retentions, alphas)
def test_normdel__rises_with_the_metric(one, other, retention, alpha):
    low, high = sorted((one, other))
    assert del_score(low, retention, alpha) <= del_score(high, retention, alpha)
    assert normdel(low, retention, alpha) <= normdel(high, retention, alpha)
    if high - low > 1e-6:
        assert normdel(low, retention, alpha) < normdel(high, retention, alpha)


@given(positive_metrics, retentions, retentions, st.floats(0.01, 10))
def test_normdel__falls_with_the_retention(metric, one, other, alpha):
    low, high = sorted((one, other))
    assert normdel(metric, high, alpha) <= normdel(metric, low, alpha)
    if high - low > 1e-3:
        assert normdel(metric, high, alpha) < normdel(metric, low, alpha)


@given(metrics, retentions)
def test_normdel__lies_between_a_half_and_0_7311(metric, retention):
    assert 0.5 <= normdel(metric, retention) <= 1 / (1 + math.exp(-1))
    assert normdel(metric, retention, alpha=0) == pytest.approx(1 / (1 + math.exp(-metric)))


@given(st.lists(st.tuples(metrics, retentions), min_size=1, max_size=5))
def test_normdel__of_arrays_is_that_of_their_numbers(pairs):
    some_metrics, some_retentions = np.array(pairs).T
    grid = normdel(some_metrics[:, None], some_retentions, np.array([[0.5], [2.0]])[:, None])
    assert grid.shape == (2, len(pairs), len(pairs)) and grid.dtype == np.float64
    for index in np.ndindex(grid.shape):
        alpha = (0.5, 2.0)[index[0]]
        assert grid[index] == normdel(some_metrics[index[1]], some_retentions[index[2]], alpha)


@pytest.mark.parametrize('value', [0.7, np.float32(0.7), np.array(0.7)])
def test_normdel__of_a_number_is_a_float(value):
    assert type(normdel(value, 0.2)) is float and type(del_score(value, 0.2)) is float


@pytest.mark.parametrize('function', [del_score, normdel])
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((79.38, 0.2), 'metric is a fraction between 0 and 1, got 79.38. Divide percent by 100.'),
        ((-0.1, 0.2), 'between 0 and 1, got -0.1'),
        (([0.5, 120.0], 0.2), 'got 120.$'),
        ((math.nan, 0.2), 'metric is NaN'),
        (([0.5, math.nan], 0.2), 'metric is NaN'),
        ((None, 0.2), 'metric is NaN'),
        (('much', 0.2), "metric must be a number or an array of numbers, got 'much'"),
        ((0.5, 0), r'retention .* above 0 and at most 1 .* got 0\.'),
        ((0.5, 20), 'got 20'),
        ((0.5, math.nan), 'retention .* got nan'),
        ((0.5, [0.2, -0.2]), r'retention .* got -0\.2'),
        ((0.5, 0.2, -1), 'alpha is a finite number of at least 0, got -1'),
        ((0.5, 0.2, math.inf), 'alpha .* got inf'),
        ((0.5, 0.2, math.nan), 'alpha .* got nan'),
        (([0.5, 0.6], [0.1, 0.2, 0.3]), r'shapes that do not fit together: \(2,\), \(3,\), \(\)'),
    ],
)
def test_normdel__what_is_no_metric_or_retention_or_alpha(function, arguments, message):
    with pytest.raises(ConfigError, match=message):
        function(*arguments)


def leader(alpha, one, other):
    """1 if the first result leads, -1 if the other does, 0 in a tie; by logarithms, where no alpha is too large."""
    scores = [math.log(metric) - alpha * retention for metric, retention in (one, other)]
    return (scores[0] > scores[1]) - (scores[0] < scores[1])


def bisected_swap(one, other, high=1e4):
    """Reference: the alpha in (0, high] across which the leader changes, by halving; None if it does not."""
    low, at_zero = 0.0, leader(0, one, other)
    if not at_zero or leader(high, one, other) != -at_zero:
        return None
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if leader(middle, one, other) == at_zero else (low, middle)
    return high


@given(positive_metrics, retentions, positive_metrics, retentions)
def test_swap_alpha__agrees_with_bisection(metric, retention, other_metric, other_retention):
    assume(abs(metric - other_metric) > 1e-6 and abs(retention - other_retention) > 1e-2)
    one, other = (metric, retention), (other_metric, other_retention)
    found, expected = swap_alpha(*one, *other), bisected_swap(one, other)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, rel=1e-6)
        assert found == swap_alpha(*other, *one)


@given(positive_metrics, retentions, positive_metrics, retentions)
def test_swap_alpha__is_where_the_order_turns(metric, retention, other_metric, other_retention):
    alpha = swap_alpha(metric, retention, other_metric, other_retention)
    assume(alpha is None or abs(math.log(metric / other_metric)) > 1e-6)

    def lead(at):
        return del_score(metric, retention, at) - del_score(other_metric, other_retention, at)

    if alpha is None:  # whoever leads, leads everywhere
        assert lead(0.001) * lead(5) >= -1e-12
    elif alpha < 50:
        assert lead(0.9 * alpha) * lead(1.1 * alpha) < 0
        assert lead(alpha) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ((0.7, 0.2), (0.8, 0.2)),  # equal retention
        ((0.8, 0.2), (0.7, 0.5)),  # better, with less data: it would be at a negative alpha
        ((0.7, 0.2), (0.7, 0.5)),  # equal metrics tie at 0 and keep their order above it
        ((0.7, 0.2), (0.7, 0.2)),
        ((0.0, 0.2), (0.7, 0.5)),  # 0 stays behind
        ((0.0, 0.2), (0.0, 0.5)),
        ((1.0, 1e-310), (0.5, 5e-324)),  # beyond the largest float
    ],
)
def test_swap_alpha__none_where_the_order_never_turns(one, other):
    assert swap_alpha(*one, *other) is None
    assert swap_alpha(*other, *one) is None


def test_swap_alpha__where_the_quotient_of_the_metrics_is_no_float():
    assert swap_alpha(1.0, 1.0, 5e-324, 0.5) == pytest.approx(2 * 744.44, rel=1e-4)


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ((70, 0.2, 0.5, 0.5), 'metric is a fraction'),
        ((0.7, 0, 0.5, 0.5), 'retention is the share'),
        ((0.7, 0.2, math.nan, 0.5), 'metric is NaN'),
    ],
)
def test_swap_alpha__out_of_range(arguments, words):
    with pytest.raises(ConfigError, match=words):
        swap_alpha(*arguments)


def test_swap_alpha__size_alone_can_decide_at_alpha_1():
    assert normdel(0.40, 0.05) > normdel(0.80, 1.0)
    assert swap_alpha(0.40, 0.05, 0.80, 1.0) == pytest.approx(math.log(2) / 0.95)
    assert del_score(0.387, 0.05) == pytest.approx(del_score(1.0, 1.0), abs=4e-4)


@given(
    st.dictionaries(st.text(max_size=3), st.tuples(metrics, retentions), min_size=1, max_size=4),
    st.lists(st.floats(0, 5), min_size=1, max_size=4),
)
def test_alpha_sweep__agrees_with_the_single_calls(results, some_alphas):
    sweep = alpha_sweep(results, some_alphas)
    assert sweep.names == tuple(results) and sweep.alphas == tuple(some_alphas)
    for row, (metric, retention) in zip(sweep.normdel, results.values(), strict=True):
        assert row.tolist() == [normdel(metric, retention, alpha) for alpha in some_alphas]
    for column, order, winner in zip(sweep.normdel.T, sweep.orders, sweep.winners, strict=True):
        ordered = [column[sweep.names.index(name)] for name in order]
        assert sorted(order) == sorted(results) and winner == order[0]
        assert (np.diff(ordered) <= 1e-15).all()
    swaps = [swap.alpha for swap in sweep.swaps]
    pairs = [(a, b) for i, a in enumerate(results) for b in list(results)[i + 1 :]]
    expected = [swap_alpha(*results[a], *results[b]) for a, b in pairs]
    assert swaps == sorted(alpha for alpha in expected if alpha is not None)
    for swap in sweep.swaps:
        assert results[swap.below][0] > results[swap.above][0]
        assert results[swap.below][1] > results[swap.above][1]


def test_alpha_sweep__of_equal_scores_the_smaller_data_comes_first():
    sweep = alpha_sweep({'much': (0.5, 0.9), 'little': (0.5, 0.1), 'nothing': (0.0, 0.05)}, [0, 2000])
    assert sweep.orders == (('little', 'much', 'nothing'),) * 2


def test_alpha_sweep__printed():
    lines = str(alpha_sweep({'all': (0.80, 1.0), '5 %': (0.40, 0.05)}, [0, 1])).splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ['alpha', 'all', '(R', '=', '1)', '5', '%', '(R', '=', '0.05)', 'best'],
        ['0', '69.00', '59.87', 'all'],
        ['1', '57.30', '59.40', '5', '%'],
    ]
    assert lines[4] == "'all' leads '5 %' below alpha = 0.7296, and trails it above."
    assert 'No two results swap places' in str(alpha_sweep({'all': (0.8, 1.0)}))


@pytest.mark.parametrize(
    ('results', 'some_alphas', 'message'),
    [
        ({}, [1], '0 results'),
        ({'a': (0.5, 0.5)}, [], '0 alphas'),
        ({'a': (0.5, 0.5), 'b': (50, 0.5)}, [1], "'b': metric is a fraction"),
        ({'a': (0.5, 0.5)}, [-1], 'alpha is a finite number'),
    ],
)
def test_alpha_sweep__what_cannot_be_swept(results, some_alphas, message):
    with pytest.raises(ConfigError, match=message):
        alpha_sweep(results, some_alphas)


def test_as_fraction__on_the_stated_scale():
    assert as_fraction(79.0, 'percent') == 0.79
    assert as_fraction(0.79, 'fraction') == 0.79
    assert as_fraction(0.79, 'percent') == 0.0079  # stated, never guessed
    assert as_fraction(float(np.float32(1) + np.finfo(np.float32).eps), 'fraction') == 1
    assert as_fraction(-1e-9, 'percent') == 0


@pytest.mark.parametrize(
    ('value', 'scale', 'message'),
    [
        (79.0, 'fraction', "mIoU = 79 is outside 0 to 1, .* say scale='percent'"),
        (101.0, 'percent', "mIoU = 101 is outside 0 to 100, the range of scale='percent'.$"),
        (-0.1, 'fraction', 'outside'),
        (math.inf, 'percent', 'outside'),
        (math.nan, 'percent', 'mIoU is NaN.* absent'),
        (0.5, 'per cent', "percent or fraction; got 'per cent'"),
    ],
)
def test_as_fraction__outside_the_stated_scale(value, scale, message):
    with pytest.raises(MmdelError, match=message):
        as_fraction(value, scale, 'mIoU')


def test_docs__print_what_they_say(capsys):
    page = (Path(__file__).resolve().parents[2] / 'docs' / 'normdel.md').read_text(encoding='utf-8')
    code, printed = re.search(r'```python\n(from mmdel.*?)```\n\n```text\n(.*?)```', page, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == printed
