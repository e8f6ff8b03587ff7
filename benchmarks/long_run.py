"""What runs of hours have in common: what callers say, recordings that are opened, a report with what went wrong."""

from __future__ import annotations

import os
import platform
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kit import sound, trees


def caller() -> sound.Samples:
    """A tone, and the keys that lead down two levels."""
    return np.concatenate(
        [
            sound.tone(trees.CALLER_HZ, 0.8),
            sound.silence(0.8),
            sound.dtmf("1", 0.12),
            sound.silence(1.4),
            sound.dtmf("2", 0.12),
        ]
    )


def length(path: Path) -> float:
    """Seconds of a recording, all of which was read. Raises :class:`ValueError` for one that cannot be played."""
    try:
        with wave.open(str(path)) as file:
            frames = file.getnframes()
            whole = len(file.readframes(frames)) == frames * file.getsampwidth() * file.getnchannels()
            rate = file.getframerate()
    except (wave.Error, EOFError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    if not whole or not frames:
        raise ValueError(f"{path.name}: shorter than it says, or empty")
    return frames / rate


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def machine() -> str:
    return f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} processors"


def report(title: str, intro: str, lines: Sequence[str], problems: Sequence[str], path: Path | None) -> int:
    """Print it, write it to ``path``, too, and give the exit status."""
    wrong = [f"- {problem}" for problem in problems or ["none"]]
    text = "\n".join([f"# {title}", "", intro, "", *lines, "", "## Problems", "", *wrong]) + "\n"
    print(text, flush=True)
    if path:
        path.write_text(text)
    return 1 if problems else 0
