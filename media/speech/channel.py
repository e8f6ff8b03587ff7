"""What a telephone does to speech, as the recogniser undoes it.

A linear map from the log energies that a call carries to the cepstra of the wideband model
(the unheard filters are predicted from the heard ones), and one affine transform of all means
per feature stream (maximum likelihood linear regression). Both come from ``telephone.json``,
which says where its numbers are from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from media.speech.features import CEPSTRA, HEARD
from media.speech.model import STREAMS, AcousticModel, Floats, ModelError

FILE = Path(__file__).with_name("telephone.json")


class _Stored(msgspec.Struct):
    provenance: str
    cepstra: list[list[float]]
    means: list[list[list[float]]]


@dataclass(frozen=True, slots=True)
class Telephone:
    """``cepstra``: (13, HEARD), log energies to cepstra; ``means``: (3, 13, 14), the affine transform of
    each stream's means, constant term last.
    """

    cepstra: Floats
    means: Floats

    def adapt(self, model: AcousticModel) -> AcousticModel:
        """The model as a telephone would have taught it."""
        moved = np.einsum("sij,cskj->cski", self.means[:, :, :-1], model.means) + self.means[None, :, None, :, -1]
        return dataclasses.replace(model, means=moved.astype(np.float32))


def load(path: Path = FILE) -> Telephone:
    """Raises :class:`~media.speech.model.ModelError` when the file is missing or does not fit the front end."""
    try:
        stored = msgspec.json.decode(path.read_bytes(), type=_Stored)
        cepstra = np.array(stored.cepstra, np.float32)
        means = np.array(stored.means, np.float32)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if cepstra.shape != (CEPSTRA, HEARD) or means.shape != (STREAMS, CEPSTRA, CEPSTRA + 1):
        raise ModelError(f"{path}: made for another front end")
    return Telephone(cepstra, means)


def save(telephone: Telephone, provenance: str, path: Path = FILE) -> None:
    """Write the file, rounded to what matters."""

    def rounded(values: Floats) -> list[object]:
        return [rounded(row) if row.ndim else round(float(row), 5) for row in values]

    stored = {"provenance": provenance, "cepstra": rounded(telephone.cepstra), "means": rounded(telephone.means)}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(stored), indent=1) + b"\n")
