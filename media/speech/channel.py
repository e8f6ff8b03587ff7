"""What a telephone takes from speech, as far as it can be given back.

A call carries nothing above 4 kHz, and the model's upper filters lie there. What they would have
heard is predicted from the filters that do hear, by a linear map estimated once from wideband
speech (``benchmarks/telephone_channel.py``). ``telephone.json`` keeps that map, already joined to
the cosine transform: log energies of the heard filters to cepstra.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from media.speech.features import CEPSTRA, FILTERS, HEARD, cosine_transform
from media.speech.model import Floats, ModelError

FILE = Path(__file__).with_name("telephone.json")
RIDGE = 100.0


class _Stored(msgspec.Struct):
    provenance: str
    cepstra: list[list[float]]


def load(path: Path = FILE) -> Floats:
    """The map from log energies to cepstra, (13, HEARD).

    Raises :class:`~media.speech.model.ModelError` when the file is missing or does not fit the front end.
    """
    try:
        cepstra = np.array(msgspec.json.decode(path.read_bytes(), type=_Stored).cepstra, np.float32)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if cepstra.shape != (CEPSTRA, HEARD):
        raise ModelError(f"{path}: made for another front end")
    return cepstra


def estimate(narrow: npt.NDArray[np.float64], wide: npt.NDArray[np.float64]) -> Floats:
    """The map, from log energies of the same speech over a call, (frames, HEARD), and in full, (frames, 25)."""
    heard = narrow - narrow.mean(axis=0)
    unheard = (wide - wide.mean(axis=0))[:, HEARD:]
    predicted = np.linalg.solve(heard.T @ heard + RIDGE * np.eye(HEARD), heard.T @ unheard)
    assert predicted.shape == (HEARD, FILTERS - HEARD)
    transform = cosine_transform().astype(np.float64)
    joined: Floats = (transform[:, :HEARD] + transform[:, HEARD:] @ predicted.T).astype(np.float32)
    return joined


def save(cepstra: Floats, provenance: str, path: Path = FILE) -> None:
    """Write the file, rounded to what matters."""
    rounded = [[round(value, 5) for value in row] for row in cepstra.tolist()]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(_Stored(provenance, rounded)), indent=1) + b"\n")
