"""Voices adapted to what was heard."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media.speech import adaptation, model
from media.speech.adaptation import Adaptation, Counts

COUNTED = 200.0


@pytest.fixture(scope="module")
def plain() -> model.AcousticModel:
    return model.load()


def heard(of: model.AcousticModel, spread: float) -> Counts:
    """Every Gaussian heard often, around its mean, with ``spread`` times its variance."""
    frames = np.full(of.means.shape[:3], COUNTED)
    means = of.means.astype(np.float64)
    return Counts(frames, COUNTED * means, COUNTED * (means**2 + spread * of.variances))


def test_a_transform_is_found_again(plain: model.AcousticModel) -> None:
    rng = np.random.default_rng(1)
    means = np.concatenate(
        [rng.normal(0, 0.2, (2, 3, 13, 1)), np.eye(13) + rng.normal(0, 0.05, (2, 3, 13, 13))], axis=3
    )
    moved = adaptation.apply(plain, Adaptation(means, np.ones((2, 3, 13))))
    found = adaptation.estimate(plain, [heard(replace(moved, variances=plain.variances), 0.5)])
    again = adaptation.apply(plain, found)
    assert np.abs(again.means - moved.means).mean() < 0.05 * np.abs(plain.means - moved.means).mean()
    assert np.allclose(found.variances, 0.5, atol=0.02)


def test_nothing_heard_changes_nothing(plain: model.AcousticModel) -> None:
    found = adaptation.estimate(plain, [])
    same = adaptation.apply(plain, found)
    assert np.allclose(same.means, plain.means, atol=1e-4)
    assert np.allclose(same.variances, plain.variances)


def test_the_file_keeps_what_matters(tmp_path: Path, plain: model.AcousticModel) -> None:
    path = tmp_path / "voices.json"
    shipped = adaptation.load()
    adaptation.save(shipped, "from nowhere", "none", path)
    again = adaptation.load(path)
    assert np.array_equal(again.means, shipped.means)
    assert np.array_equal(again.variances, shipped.variances)
    assert "CC BY-SA 4.0" in adaptation.FILE.read_text()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"provenance": "", "licence": "", "means": [[[[1.0]]]], "variances": [[[1.0]]]}', b"\xff"],
)
def test_a_file_that_holds_no_adaptation_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "voices.json"
    path.write_bytes(content)
    with pytest.raises(model.ModelError, match=r"voices\.json"):
        adaptation.load(path)
