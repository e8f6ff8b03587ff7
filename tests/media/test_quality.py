"""The E-model: points of the Recommendations, and which way each argument goes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.quality import BEST, CODECS, Codec, delay_impairment, judge, loss_impairment, opinion, rating
from media.reports import StreamStats

SHARES = st.floats(0, 1)
BURSTS = st.floats(0.5, 30)
DELAYS = st.floats(0, 3000)


@pytest.mark.parametrize(
    ("r", "mos"),
    [(93.2, 4.41), (90, 4.34), (80, 4.03), (70, 3.60), (60, 3.10), (50, 2.58), (0, 1), (-5, 1), (100, 4.5)],
)
def test_opinions_of_annex_b(r: float, mos: float) -> None:
    assert opinion(r) == pytest.approx(mos, abs=0.007)


def test_nothing_lost_and_little_delay_is_the_best() -> None:
    assert rating(0.0) == BEST == 93.2
    assert rating(0.0, 3.0, 100.0) == BEST


@pytest.mark.parametrize(("delay", "r"), [(200, 90), (290, 80), (390, 70)])
def test_delays_at_which_g_114_changes_its_mind(delay: float, r: float) -> None:
    """Very satisfied up to 200 ms, satisfied up to 290 ms, some dissatisfied up to 390 ms."""
    assert rating(0.0, 1.0, delay) == pytest.approx(r, abs=0.6)


def test_loss_at_which_the_codec_has_lost_half_of_its_best() -> None:
    """Bpl is the loss, in per cent, at which half of 95 - Ie is gone."""
    for codec in (CODECS["PCMU"], Codec(11, 19)):
        assert loss_impairment(codec.bpl / 100, 1.0, codec) == pytest.approx(codec.ie + (95 - codec.ie) / 2)
    assert loss_impairment(0.01) == pytest.approx(95 / 26.1)
    assert loss_impairment(0.02, 2.0) == pytest.approx(190 / 26.1)


@given(SHARES, SHARES, BURSTS, DELAYS)
def test_more_loss_is_worse(one: float, other: float, burst: float, delay: float) -> None:
    less, more = sorted((one, other))
    assert 0 <= rating(more, burst, delay) <= rating(less, burst, delay) <= BEST


@given(SHARES, BURSTS, BURSTS, DELAYS)
def test_longer_bursts_are_worse(loss: float, one: float, other: float, delay: float) -> None:
    shorter, longer = sorted((one, other))
    assert rating(loss, longer, delay) <= rating(loss, shorter, delay)


@given(SHARES, BURSTS, DELAYS, DELAYS)
def test_more_delay_is_worse(loss: float, burst: float, one: float, other: float) -> None:
    sooner, later = sorted((one, other))
    assert rating(loss, burst, later) <= rating(loss, burst, sooner) + 1e-9


def test_a_better_rating_is_never_a_worse_opinion() -> None:
    assert all(worse <= better for worse, better in pairwise(opinion(r / 10) for r in range(-20, 1050)))


def test_delay_goes_up_without_a_step() -> None:
    impairments = [delay_impairment(ms) for ms in range(90, 1000)]
    assert all(0 <= later - earlier < 0.2 for earlier, later in pairwise(impairments))


def test_what_was_late_is_lost_too() -> None:
    quality = judge(StreamStats(received=990, lost=10, late=20))
    assert quality is not None
    assert quality.loss == pytest.approx(0.03)
    assert quality.r == pytest.approx(rating(0.03))
    assert quality.mos == pytest.approx(opinion(rating(0.03)))


def test_the_delay_is_half_the_round_trip_and_what_we_add() -> None:
    quality = judge(StreamStats(received=100, round_trip_ms=300.0, delay_ms=70.0), "G722", 30)
    assert quality is not None
    assert quality.r == pytest.approx(rating(0.0, 1.0, 250.0))
    unknown = judge(StreamStats(received=100))
    assert unknown is not None
    assert unknown.mos == pytest.approx(4.41, abs=0.005)


def test_a_call_without_a_packet_has_no_quality() -> None:
    assert judge(StreamStats(lost=5)) is None
    with pytest.raises(KeyError):
        judge(StreamStats(received=1), "GSM")
