"""What takes long is announced, by the rate of this machine."""

import pytest

from mmdel.selection import forecast


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(forecast, 'print_log', lambda line, logger: lines.append(line))
    monkeypatch.setattr(forecast, '_rate', lambda dim: 1e11)
    return lines


def test_announce__follows_the_number_of_products(said):
    forecast.announce(10**12, 768)
    assert said == [
        '1,000,000,000,000 pairs are compared now, which takes this machine alone at most about 6 h 24 min; '
        'where images repeat themselves, a fraction of it.'
    ]


def test_announce__what_is_over_soon_needs_no_word(said):
    forecast.announce(4 * 10**9, 768)  # the paper's images, all pairs
    forecast.announce(0, 768)
    forecast.announce(2 * 10**9, 768)
    assert len(said) == 1 and said[0].startswith('4,000,000,000 pairs') and '92 s' in said[0]


def test_rate__is_that_of_the_fastest_of_three_products(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 10.5, 20.0, 24.0])
    monkeypatch.setattr(forecast.time, 'perf_counter', lambda: next(clock))
    assert forecast._rate(64) == 2 * 1024 * 1024 * 64 / 0.5


@pytest.mark.parametrize(
    ('seconds', 'words'),
    [(75.4, '75 s'), (100, '2 min'), (5999, '1 h 40 min'), (3600 * 47, '47 h 0 min'), (3600 * 120, '5 days')],
)
def test_duration__is_said_in_two_words(seconds, words):
    assert forecast.duration(seconds) == words
