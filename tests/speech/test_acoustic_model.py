import shutil
from pathlib import Path

import numpy as np
import pytest

from media.speech import model
from media.speech.network import word_chain


@pytest.fixture(scope="module")
def english() -> model.AcousticModel:
    return model.load()


def test_shape_of_the_bundled_model(english: model.AcousticModel) -> None:
    assert len(english.phones.names) == 42
    assert english.phones.names[english.phones.silence] == "SIL"
    assert english.means.shape == (42, 3, 128, 13)
    assert english.weights.shape == (3, 128, 5126)


def test_mixtures_and_transitions_are_distributions(english: model.AcousticModel) -> None:
    mixtures = english.mixture_weights(np.arange(0, 5126, 7, dtype=np.int32)).sum(axis=1)
    assert 0.85 < mixtures.min() < mixtures.max() < 1.1  # weights are stored in steps of a tenth
    assert np.allclose(np.exp(english.transitions).sum(axis=2), 1.0, atol=1e-3)


def test_every_senone_belongs_to_the_phone_of_its_triphones(english: model.AcousticModel) -> None:
    phones = english.phones
    for word in (["Y", "EH", "S"], ["W", "AH", "N"], ["AY"]):
        chain = word_chain(phones, tuple(word))
        assert [phones.codebook_of_senone[senone] for senone in chain.senones] == list(chain.phones)
        assert [phones.names[phone] for phone in chain.phones[::3]] == word


def test_context_matters_and_an_unseen_triphone_falls_back(english: model.AcousticModel) -> None:
    phones = english.phones
    vowel, left, right = phones.index("AH"), phones.index("W"), phones.index("N")
    assert phones.triphone(vowel, left, right, model.INTERNAL) != phones.single(vowel)
    noise = phones.index("+NSN+")
    assert phones.triphone(vowel, noise, noise, model.INTERNAL) == phones.single(vowel)


@pytest.mark.parametrize("name", ["mdef", "means", "variances", "transition_matrices", "sendump"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other"])
def test_a_broken_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    folder = tmp_path / "en-us"
    shutil.copytree(model.bundled_folder() / "en-us", folder)
    path = folder / name
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "other": b"#!/bin/sh\n" * 1000}[damage])
    with pytest.raises(model.ModelError, match=name):
        model.load(folder)
