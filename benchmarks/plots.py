"""Pictures of the report. matplotlib is loaded with the first of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SIZE = (7.5, 4.2)


def _axes(title: str, across: str, up: str) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot as plt

    figure.savefig(path, dpi=110)
    plt.close(figure)


def curves(
    path: Path,
    title: str,
    across: str,
    up: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    marks: Mapping[str, float] | None = None,
) -> None:
    """Lines through points; ``marks`` are levels to compare with."""
    figure, axes = _axes(title, across, up)
    for name, points in lines.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    for name, level in (marks or {}).items():
        axes.axhline(level, linestyle="--", color="grey", linewidth=1)
        axes.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.legend()
    _save(figure, path)


def histogram(path: Path, title: str, across: str, width: float, series: Mapping[str, Sequence[int]]) -> None:
    """Counts in bins of ``width``, on a logarithmic axis so that single late packets show."""
    figure, axes = _axes(title, across, "packets")
    last = max(max((index for index, count in enumerate(counts) if count), default=0) for counts in series.values())
    for name, counts in series.items():
        edges = [index * width for index in range(last + 2)]
        axes.stairs(counts[: last + 1], edges, label=name)
    axes.set_yscale("log")
    axes.legend()
    _save(figure, path)


def bars(path: Path, title: str, up: str, values: Mapping[str, float]) -> None:
    """One bar each, with its value on top."""
    figure, axes = _axes(title, "", up)
    drawn = axes.bar(list(values), list(values.values()))
    axes.bar_label(drawn, fmt="{:.2f}")
    axes.tick_params(axis="x", labelrotation=15)
    _save(figure, path)


def distribution(path: Path, title: str, across: str, series: Mapping[str, Sequence[float]]) -> None:
    """What share of the values is at most so much."""
    figure, axes = _axes(title, across, "share of calls")
    for name, values in series.items():
        ordered = sorted(values)
        axes.step(ordered, [(index + 1) / len(ordered) for index in range(len(ordered))], where="post", label=name)
    axes.set_ylim(0, 1.02)
    axes.legend()
    _save(figure, path)
