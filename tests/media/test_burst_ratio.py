"""Losses in bursts: counted from the numbering, also when packets come late after all."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.reception import Reception

FIRST = 65500  # the numbering wraps on the way


def receive(*orders: list[int]) -> Reception:
    """One stream per order of packet numbers, all in the same batches, beside one that lacks nothing."""
    reception = Reception(len(orders) + 1)
    for slot, order in enumerate(([0], *orders)):
        reception.open(slot)
        if order:
            reception.begin(slot, FIRST + order[0])
    for n in range(max(map(len, orders))):
        batch = [(0, n)] + [(slot, order[n]) for slot, order in enumerate(orders, 1) if n < len(order)]
        slots, numbers = np.array(batch).T
        stamps = (numbers * 160).astype(np.uint32)
        reception.note(slots, ((FIRST + numbers) % 65536).astype(np.uint16), stamps, n * 0.02)
    return reception


def expected_ratio(order: list[int]) -> float:
    """Over the numbers from the first that came to the highest."""
    came = set(order)
    flags = [number in came for number in range(order[0], max(came) + 1)]
    runs = [len(list(run)) for here, run in groupby(flags) if not here]
    if not runs:
        return 1.0
    return sum(runs) / len(runs) * (1 - sum(runs) / len(flags))


@given(
    st.lists(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=1, max_size=60), min_size=1, max_size=4)
)
def test_runs_are_those_of_the_numbers_that_never_came(courses: list[list[tuple[bool, int]]]) -> None:
    orders = []
    for course in courses:
        sent = [(n + delay, n) for n, (lost, delay) in enumerate(course) if not lost] or [(0, 0)]
        orders.append([n for _, n in sorted(sent)])
    reception = receive(*orders)
    for slot, order in enumerate(orders, 1):
        assert reception.burst_ratio(slot) == pytest.approx(expected_ratio(order))
    assert reception.burst_ratio(0) == 1


def test_independent_losses_have_the_ratio_one_and_bursts_a_higher_one() -> None:
    rng = np.random.default_rng(1)
    independent = np.flatnonzero(rng.random(60000) >= 0.05).tolist()
    in_fours = np.flatnonzero(np.repeat(rng.random(15000) >= 0.05, 4)).tolist()
    reception = receive(independent, in_fours)
    assert reception.burst_ratio(1) == pytest.approx(1, abs=0.03)
    assert reception.burst_ratio(2) == pytest.approx(4, abs=0.2)


def test_repetitions_and_strays_change_nothing() -> None:
    order = [0, 1, 2, 2, 5, 1, 30000, 6, 6, 4, 7]
    reception = receive(order)
    assert reception.burst_ratio(1) == pytest.approx(1 - 1 / 8)  # number 3 alone is missing
    reception.open(1)
    assert reception.burst_ratio(1) == 1
