"""Figures in words: medians with their spread, goals met or missed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def number(value: float, digits: int = 2) -> str:
    """``value`` with ``digits`` after the point, thousands set apart."""
    return f"{value:,.{digits}f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median and, of several, the least and the greatest."""
    if not values:
        return "–"
    middle = number(statistics.median(values), digits)
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values), digits)}–{number(max(values), digits)})"


def verdict(value: float, goal: float) -> str:
    """Whether ``value`` is at most ``goal``, and by how much."""
    off = 100 * abs(value - goal) / goal
    return f"met, {off:.0f} % below it" if value <= goal else f"missed by {off:.0f} %"


def percentiles(values: Sequence[float], digits: int = 1) -> list[str]:
    """Median, 90th percentile, greatest."""
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, round(0.9 * (len(ordered) - 1)))]
    return [number(each, digits) for each in (statistics.median(ordered), high, ordered[-1])]
