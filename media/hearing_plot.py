"""What was heard, drawn over the sound: waveform, speech, keys and words on one time axis.

Needs matplotlib, which only the extra ``plot`` brings.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from media.frames import Floats, Samples
from media.hearing import Hearing, Word
from media.rates import RATE

LONGEST_ROW = 20.0
"""Seconds that one row of the picture shows; longer sound takes more of them."""

MOST_ROWS = 12
"""Rows beyond which they show more seconds instead."""

_COLUMNS = 1600
"""Columns of the waveform in a row: each is the least and greatest sample of its piece."""

_SOUND, _SPEECH, _KEY, _WORD, _REJECTED = "#5b6b7b", "#9ecae1", "#c2410c", "#15803d", "#9ca3af"
_KEY_AT, _WORD_AT = 0.9, -0.9
_NAME_WIDTH = 0.07
"""Part of a row that the name of a word takes."""


def missing_extra() -> str:
    """Why nothing can be drawn, or an empty text."""
    if importlib.util.find_spec("matplotlib") is not None:
        return ""
    return "drawing needs matplotlib: install ivrea[plot]"


def draw(path: Path, samples: Samples, heard: Hearing, title: str) -> None:
    """Write a PNG file. Raises :class:`OSError`, and :class:`ImportError` without matplotlib."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = max(heard.seconds, 0.1)
    rows = min(MOST_ROWS, max(1, int(np.ceil(seconds / LONGEST_ROW))))
    span = seconds / rows
    figure = Figure(figsize=(14, 1.2 + 2.3 * rows), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    peak = max(0.05, float(np.abs(samples.astype(np.int32)).max(initial=0)) / 32768)
    for row, each in enumerate(axes):
        _row(each, samples, heard, row * span, (row + 1) * span, peak)
    axes[0].set_title(title, loc="left", fontsize=11, parse_math=False)
    axes[-1].set_xlabel("seconds")
    figure.legend(handles=_legend(), loc="outside upper right", ncols=5, frameon=False, fontsize=9)
    figure.savefig(path, format="png")


def _row(axes: Any, samples: Samples, heard: Hearing, start: float, end: float, peak: float) -> None:
    times, low, high = _envelope(samples, start, end)
    scale = 0.6 / peak
    axes.fill_between(times, low * scale, high * scale, color=_SOUND, linewidth=0.4, edgecolor=_SOUND, zorder=2)
    for speech in heard.speech:
        axes.axvspan(speech.start, speech.end, color=_SPEECH, alpha=0.45, linewidth=0, zorder=1)
    for key in heard.keys:
        if start <= key.at < end:
            axes.axvline(key.at, color=_KEY, linewidth=1.2, zorder=3)
            box = {"boxstyle": "round,pad=0.25", "facecolor": _KEY, "edgecolor": "none"}
            axes.text(
                *(key.at, _KEY_AT, key.digit),
                ha="center", va="center", color="white", fontsize=9, fontweight="bold", bbox=box, zorder=5,
            )  # fmt: skip
    for utterance in heard.utterances:
        if utterance.rejected:
            _bar(axes, utterance.start, utterance.end, _REJECTED)
        else:
            axes.axvline(utterance.decided, color=_WORD, linewidth=1, linestyle=":", zorder=3)
    _name(axes, [word for word in heard.words if start <= (word.start + word.end) / 2 < end], end - start)
    axes.set_xlim(start, end)
    axes.set_ylim(-1.55, 1.15)
    axes.set_yticks([])
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)


def _name(axes: Any, words: list[Word], span: float) -> None:
    """Write the words under their bars; a word close behind another one goes a line lower."""
    line, before = 0, -np.inf
    for word in words:
        _bar(axes, word.start, word.end, _WORD)
        middle = (word.start + word.end) / 2
        line = 1 - line if middle - before < _NAME_WIDTH * span else 0
        before = middle
        text = f"{word.word} {100 * word.confidence:.0f} %"
        axes.text(
            *(middle, _WORD_AT - 0.1 - 0.24 * line, text),
            ha="center", va="top", color=_WORD, fontsize=9, zorder=5, parse_math=False,
        )  # fmt: skip


def _bar(axes: Any, start: float, end: float, colour: str) -> None:
    axes.plot([start, end], [_WORD_AT, _WORD_AT], color=colour, linewidth=5, solid_capstyle="butt", zorder=4)


def _envelope(samples: Samples, start: float, end: float) -> tuple[Floats, Floats, Floats]:
    """Times, least and greatest values, full scale at ±1, of the samples between two times."""
    piece = samples[int(start * RATE) : int(np.ceil(end * RATE))].astype(np.float64) / 32768
    if not piece.size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    edges = np.unique(np.linspace(0, piece.size, min(_COLUMNS, piece.size) + 1).astype(np.int64)[:-1])
    return start + edges / RATE, np.minimum.reduceat(piece, edges), np.maximum.reduceat(piece, edges)


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Patch(color=_SPEECH, alpha=0.45, label="speech (or loud enough to be)"),
        Patch(color=_KEY, label="key"),
        Patch(color=_WORD, label="word and confidence"),
        Line2D([], [], color=_WORD, linestyle=":", label="decided"),
        Patch(color=_REJECTED, label="rejected"),
    ]
