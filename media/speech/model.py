"""The English acoustic model that comes with the PocketSphinx wheel, as numpy arrays.

A phonetically tied mixture: every context-independent phone owns a codebook of diagonal
Gaussians per feature stream, and every tied state (senone) of its triphones mixes them with
weights of its own. Only the model's files are used; the library is neither loaded nor needed.
"""

from __future__ import annotations

import importlib.util
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]

STREAMS = 3
STREAM_WIDTH = 13
STATES_PER_PHONE = 3
INTERNAL, BEGIN, END, SINGLE = range(4)
"""Position of a triphone in its word, as the model's definition file numbers it."""

_BYTE_ORDER = 0x11223344
_MDEF_MAGIC = b"BMDF"
_WEIGHT_STEP = 1024 * np.log(1.0001)
"""``sendump`` keeps mixture weights as bytes, in units of this much negative log weight."""
_VARIANCE_FLOOR = 1e-4
_PROBABILITY_FLOOR = 1e-5


class ModelError(Exception):
    """The model is missing, or a file of it is not what it should be; the message names the file."""


@dataclass(frozen=True, slots=True)
class Phones:
    """The phone inventory and the senones of every triphone."""

    names: tuple[str, ...]
    silence: int
    codebook_of_senone: Indices
    _keys: npt.NDArray[np.int64]
    _sequences: Indices
    _states: Indices

    def index(self, name: str) -> int:
        """Number of a context-independent phone. Raises :class:`KeyError`."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(name) from None

    def fillers(self) -> tuple[int, ...]:
        """Phones that are noises of the speaker or the room, silence excluded."""
        return tuple(i for i, name in enumerate(self.names) if name.startswith("+"))

    def single(self, phone: int) -> tuple[int, int, int]:
        """Senones of a phone without context."""
        first, second, third = self._states[self._sequences[phone]].tolist()
        return first, second, third

    def triphone(self, phone: int, left: int, right: int, position: int) -> tuple[int, int, int]:
        """Senones of ``phone`` between ``left`` and ``right``.

        A triphone that training never saw falls back on the same one elsewhere in a word, then
        on the phone without context.
        """
        for place in (position, INTERNAL, BEGIN, END, SINGLE):
            key = _triphone_key(phone, left, right, place)
            at = int(np.searchsorted(self._keys, key))
            if at < len(self._keys) and self._keys[at] == key:
                first, second, third = self._states[self._sequences[len(self.names) + at]].tolist()
                return first, second, third
        return self.single(phone)


@dataclass(frozen=True, slots=True)
class AcousticModel:
    """``means`` and ``variances``: (codebook, stream, density, 13); ``weights``: negative log in
    steps, (stream, density, senone); ``transitions``: log probabilities (codebook, 3, 4).
    """

    phones: Phones
    means: Floats
    variances: Floats
    weights: npt.NDArray[np.uint8]
    transitions: Floats

    @property
    def codebooks(self) -> int:
        return int(self.means.shape[0])

    @property
    def densities(self) -> int:
        return int(self.means.shape[2])

    def mixture_weights(self, senones: Indices) -> Floats:
        """Linear weights of some senones, (stream, density, len(senones)); each mixture sums to about one."""
        weights: Floats = np.exp(self.weights[:, :, senones] * np.float32(-_WEIGHT_STEP))
        return weights


def bundled_folder() -> Path:
    """Folder of the US English model in the installed PocketSphinx wheel. Raises :class:`ModelError`."""
    found = importlib.util.find_spec("pocketsphinx")
    for place in (found.submodule_search_locations or ()) if found else ():
        folder = Path(place) / "model" / "en-us"
        if folder.is_dir():
            return folder
    raise ModelError("the pocketsphinx package, which brings the English acoustic model, is not installed")


def load(folder: Path | None = None) -> AcousticModel:
    """Read the model in ``folder`` (that of the wheel when None). Raises :class:`ModelError`."""
    folder = folder or bundled_folder() / "en-us"
    phones = _read_definition(folder / "mdef")
    means = _read_gaussians(folder / "means")
    variances = _read_gaussians(folder / "variances")
    transitions = _read_transitions(folder / "transition_matrices")
    weights = _read_weights(folder / "sendump")
    codebooks = len(phones.names)
    if means.shape != variances.shape or means.shape[0] != codebooks or transitions.shape[0] != codebooks:
        raise ModelError(f"{folder}: means, variances and transitions do not fit the model definition")
    if weights.shape != (STREAMS, means.shape[2], len(phones.codebook_of_senone)):
        raise ModelError(f"{folder / 'sendump'}: mixture weights do not fit the model definition")
    return AcousticModel(phones, means, np.maximum(variances, _VARIANCE_FLOOR), weights, transitions)


def _triphone_key(phone: int, left: int, right: int, position: int) -> int:
    return ((position << 8 | phone) << 8 | left) << 8 | right


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error


def _read_s3(path: Path, dimensions: int) -> tuple[tuple[int, ...], Floats]:
    """A Sphinx-3 parameter file: text header, byte-order word, ``dimensions`` counts, float32 data."""
    data = _bytes_of(path)
    _, found, body = data.partition(b"endhdr\n")
    if not data.startswith(b"s3\n") or not found:
        raise ModelError(f"{path}: not a Sphinx-3 parameter file")
    if len(body) < 4 * (dimensions + 2):
        raise ModelError(f"{path}: truncated")
    order = "<" if int.from_bytes(body[:4], "little") == _BYTE_ORDER else ">"
    if order == ">" and int.from_bytes(body[:4], "big") != _BYTE_ORDER:
        raise ModelError(f"{path}: unknown byte order")
    counts = struct.unpack_from(f"{order}{dimensions}i", body, 4)
    start = 4 * (dimensions + 1)
    return counts, _floats_after_count(path, body, start, order)


def _floats_after_count(path: Path, body: bytes, start: int, order: str) -> Floats:
    """The data of a parameter file, before whose first float stands their number."""
    # Gaussians keep the vector lengths between dimensions and count: the count is the one that fits.
    for offset in range(start, min(start + 4 * STREAMS + 4, len(body) - 3), 4):
        (count,) = struct.unpack_from(f"{order}i", body, offset)
        rest = len(body) - offset - 4
        if count > 0 and rest - 4 <= 4 * count <= rest:
            return np.frombuffer(body, f"{order}f4", count, offset + 4).astype(np.float32)
    raise ModelError(f"{path}: truncated")


def _read_gaussians(path: Path) -> Floats:
    (codebooks, streams, densities), data = _read_s3(path, 3)
    if streams != STREAMS or data.size != codebooks * streams * densities * STREAM_WIDTH:
        raise ModelError(f"{path}: expected {STREAMS} streams of {STREAM_WIDTH} coefficients")
    if not np.isfinite(data).all():
        raise ModelError(f"{path}: holds values that are no numbers")
    return data.reshape(codebooks, streams, densities, STREAM_WIDTH)


def _read_transitions(path: Path) -> Floats:
    (matrices, rows, columns), data = _read_s3(path, 3)
    if (rows, columns) != (STATES_PER_PHONE, STATES_PER_PHONE + 1) or data.size != matrices * rows * columns:
        raise ModelError(f"{path}: expected matrices of {STATES_PER_PHONE} states")
    counts = data.reshape(matrices, rows, columns)
    totals = counts.sum(axis=2, keepdims=True)
    if not (np.isfinite(totals).all() and (totals > 0).all()):
        raise ModelError(f"{path}: a state leads nowhere")
    logs: Floats = np.log(np.maximum(counts / totals, _PROBABILITY_FLOOR)).astype(np.float32)
    return logs


def _read_weights(path: Path) -> npt.NDArray[np.uint8]:
    """Mixture weights: length-prefixed header strings up to an empty one, two counts, then the bytes."""
    data = _bytes_of(path)
    position = 0
    while True:
        if position + 4 > len(data):
            raise ModelError(f"{path}: truncated header")
        (length,) = struct.unpack_from("<i", data, position)
        position += 4
        if length == 0:
            break
        if not 0 < length <= len(data) - position:
            raise ModelError(f"{path}: not a senone dump")
        position += length
    if position + 8 > len(data):
        raise ModelError(f"{path}: truncated header")
    densities, senones = struct.unpack_from("<2i", data, position)
    size = STREAMS * densities * senones
    if densities <= 0 or senones <= 0 or len(data) - position - 8 != size:
        raise ModelError(f"{path}: expected {STREAMS} streams of {densities} densities for {senones} senones")
    return np.frombuffer(data, np.uint8, size, position + 8).reshape(STREAMS, densities, senones)


def _read_definition(path: Path) -> Phones:
    """The binary model definition; its layout is written out in its own header."""
    data = _bytes_of(path)
    try:
        return _parse_definition(data)
    except (ValueError, IndexError, struct.error) as error:
        raise ModelError(f"{path}: not a binary model definition ({error})") from error


def _parse_definition(data: bytes) -> Phones:
    if data[:4] != _MDEF_MAGIC:
        raise ValueError("magic number")
    version, described = struct.unpack_from("<2i", data, 4)
    if version > 1:
        raise ValueError(f"version {version}")
    position = 12 + described
    counts = struct.unpack_from("<10i", data, position)
    phones, all_phones, states, _, senones, _, sequences, contexts, tree_nodes, silence = counts
    if states != STATES_PER_PHONE or contexts != 3 or not 0 <= silence < phones <= all_phones:
        raise ValueError("topology")
    position += 40
    names_start = position
    names = []
    for _ in range(phones):
        end = data.index(b"\0", position)
        names.append(data[position:end].decode("ascii"))
        position = end + 1
    position = names_start + (position - names_start + 3 & ~3)
    position += 8 * tree_nodes
    entry = np.dtype([("sequence", "<i4"), ("matrix", "<i4"), ("attributes", "u1", 4)])
    entries = np.frombuffer(data, entry, all_phones, position)
    position += entry.itemsize * all_phones + 4
    table = np.frombuffer(data, "<u2", sequences * STATES_PER_PHONE, position).reshape(sequences, STATES_PER_PHONE)
    triphones = entries["attributes"][phones:].astype(np.int64)
    keys = ((triphones[:, 0] << 8 | triphones[:, 1]) << 8 | triphones[:, 2]) << 8 | triphones[:, 3]
    order = np.argsort(keys, kind="stable")
    sequence_of = entries["sequence"].astype(np.int32)
    base = np.concatenate([np.arange(phones), triphones[:, 1]]).astype(np.int32)
    owner = np.full(senones, -1, np.int32)
    owner[table[sequence_of].ravel()] = np.repeat(base, STATES_PER_PHONE)
    if (owner < 0).any():
        raise ValueError("a senone belongs to no phone")
    return Phones(
        names=tuple(names),
        silence=silence,
        codebook_of_senone=owner,
        _keys=keys[order],
        _sequences=np.concatenate([sequence_of[:phones], sequence_of[phones:][order]]),
        _states=table.astype(np.int32),
    )
