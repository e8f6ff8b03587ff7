"""The process that decodes one media file: ``python -m media.decoder --fd N --store FOLDER``.

FFmpeg (through PyAV) is given the bytes of the file, never its name, and a demuxer that we chose by
looking at them: formats that can refer to other files or to the network (playlists, concatenations)
are thus out of reach. Of its decoders it may use the few that sound files need. Processor time and memory
are limited.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import soxr
from numpy.typing import NDArray

from media.files import MAX_SECONDS, AsRecorded, Decode, Decoded, DecodeRefused, FromDecoder, MediaError, read_source
from media.levels import Samples, fade, normalise, to_int16
from media.rates import RATE, WIDE_RATE
from media.servant import Servant
from media.tts.store import PromptStore

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_DECODERS = frozenset(
    {
        *("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_f64le", "pcm_alaw", "pcm_mulaw"),
        *("pcm_s16be", "pcm_s24be", "pcm_s32be", "adpcm_ms", "adpcm_ima_wav", "gsm_ms"),
        *("mp1float", "mp2float", "mp3float", "mp3", "vorbis", "opus", "libopus", "speex", "flac"),
    }
)
"""FFmpeg's names of the decoders that are used."""

_CPU_SECONDS = 50
_MEMORY = 2 * 1024**3
_FILE = 128 * 1024**2

LEVEL_TOLERANCE = 6.0
"""Recordings within this many dB of the common level are left as their makers wanted them."""

MOST_BOOST = 20.0
"""No recording is turned up further than this: what is fainter is meant to be, or is noise."""


def demuxer_for(content: bytes) -> str:
    """FFmpeg's name of the container format. Raises :class:`MediaError` for one that is not taken."""
    head = content[:12]
    if head[:4] in {b"RIFF", b"RIFX", b"RF64", b"BW64"} and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"OggS":
        return "ogg"
    if head[:4] == b"fLaC":
        return "flac"
    # ID3v2 tag, or the sync word of an MPEG audio frame: eleven ones, then version and layer, not reserved
    frame = len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    if head[:3] == b"ID3" or (frame and head[1] & 0x18 != 0x08 and head[1] & 0x06):
        return "mp3"
    if not content:
        raise MediaError("the file is empty")
    raise MediaError("not a WAV, MP3, Ogg or FLAC file")


class Sound(NamedTuple):
    """Mono sound, ``rate`` samples a second."""

    samples: NDArray[np.int16]
    rate: int


def decode(content: bytes, *, max_seconds: float = MAX_SECONDS) -> Sound:
    """The sound in ``content``, at its level, at 16 kHz if it has that rate or more, else at 8 kHz.

    Raises :class:`MediaError`.
    """
    sound, rate = _decode(content, AsRecorded(), max_seconds)
    return Sound(to_int16(fade(normalise(sound, rate, tolerance=LEVEL_TOLERANCE, boost=MOST_BOOST), rate)), rate)


def decode_as_recorded(content: bytes, wanted: AsRecorded, *, max_seconds: float = MAX_SECONDS) -> Sound:
    """The sound in ``content`` as it is: no level changed, no edge faded. Raises :class:`MediaError`."""
    sound, rate = _decode(content, wanted, max_seconds)
    return Sound(np.rint(sound.clip(-1.0, 32767 / 32768) * 32768).astype(np.int16), rate)


def _decode(content: bytes, wanted: AsRecorded, max_seconds: float) -> tuple[Samples, int]:
    import av

    try:
        with av.open(
            io.BytesIO(content),
            "r",
            format=demuxer_for(content),
            metadata_errors="replace",
            options={"codec_whitelist": ",".join(sorted(_DECODERS))},  # while it finds out what there is
        ) as container:
            stream = _sound_of(container)
            wide = stream.codec_context.sample_rate >= WIDE_RATE
            rate = wanted.rate or (WIDE_RATE if wide else RATE)
            blocks = _resampled(_blocks(container, stream, wanted.channel), rate)
            return _collect(blocks, rate, max_seconds), rate
    except (av.FFmpegError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise MediaError(f"cannot be decoded: {reason}") from error


def _sound_of(container: InputContainer) -> AudioStream:
    """The first audio stream, if it is in a codec that we take."""
    if not container.streams.audio:
        raise MediaError("there is no sound in the file")
    stream = container.streams.audio[0]
    context: av.AudioCodecContext | None = stream.codec_context  # none for a codec that FFmpeg does not know
    if context is None or context.name not in _DECODERS:
        raise MediaError(f"its codec is not taken: {context.name if context else 'unknown'}")
    return stream


def _blocks(container: InputContainer, stream: AudioStream, channel: int | None) -> Iterator[tuple[int, Samples]]:
    """Sound of ``channel`` (of all) as it is decoded, with its sampling rate.

    Bad packets are skipped unless they prevail.
    """
    import av

    good = bad = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            bad += 1
            continue
        good += 1
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                yield frame.sample_rate, _mono(frame, channel)
    if bad > good:
        raise MediaError(f"damaged: {bad} of {good + bad} packets cannot be decoded")


def _mono(frame: av.AudioFrame, channel: int | None) -> Samples:
    """The mean of a frame's channels or one of them, full scale at ±1."""
    channels = max(1, len(frame.layout.channels))
    raw = frame.to_ndarray()
    rows = raw if frame.format.is_planar else raw.reshape(-1, channels).T
    if channel is not None:
        if channel >= channels:
            raise MediaError("it has one channel only" if channels == 1 else f"it has {channels} channels only")
        rows = rows[channel : channel + 1]
    mixed: NDArray[np.float64] = np.asarray(rows.mean(axis=0, dtype=np.float64))
    if raw.dtype.kind == "u":
        mixed = (mixed - 128) / 128
    elif raw.dtype.kind == "i":
        mixed /= 2.0 ** (8 * raw.dtype.itemsize - 1)
    return np.nan_to_num(mixed).clip(-4.0, 4.0).astype(np.float32)


def _resampled(blocks: Iterator[tuple[int, Samples]], wanted: int) -> Iterator[Samples]:
    """The same sound at ``wanted`` Hz. A chained file may change its rate on the way."""
    rate = 0
    stream: soxr.ResampleStream | None = None
    nothing = np.zeros(0, np.float32)
    for block_rate, samples in blocks:
        if block_rate != rate:
            if stream is not None:
                yield stream.resample_chunk(nothing, last=True)
            if not 1000 <= block_rate <= 384_000:
                raise MediaError(f"a sampling rate of {block_rate} Hz")
            rate = block_rate
            stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32") if rate != wanted else None
        yield samples if stream is None else stream.resample_chunk(samples)
    if stream is not None:
        yield stream.resample_chunk(nothing, last=True)


def _collect(blocks: Iterator[Samples], rate: int, max_seconds: float) -> Samples:
    kept: list[Samples] = []
    count = 0
    for block in blocks:
        count += block.size
        if count > max_seconds * rate:
            raise MediaError(f"longer than {max_seconds:.0f} s")
        kept.append(block)
    if not count:
        raise MediaError("there is no sound in the file")
    return np.concatenate(kept)


def answer(store: PromptStore, request: Decode) -> FromDecoder:
    """Decode and store one file."""
    try:
        content = read_source(Path(os.fsdecode(request.source)))
        if hashlib.sha256(content).hexdigest() != request.digest:
            raise MediaError("the file changed while it was read")
        recorded = request.as_recorded
        samples, rate = decode(content) if recorded is None else decode_as_recorded(content, recorded)
        store.put(request.key, samples, rate)
    except MediaError as error:
        return DecodeRefused(str(error))
    except OSError as error:
        return DecodeRefused(f"cannot be stored: {error}")
    return Decoded(samples.size / rate)


def limit_process() -> None:
    """Bound what a hostile file can cost: processor time, memory, size of files."""
    for limit, value in (
        (resource.RLIMIT_CPU, _CPU_SECONDS),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, _FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (ceiling, hard))


def main() -> None:
    """Serve requests until the link ends."""
    parser = argparse.ArgumentParser(prog="media.decoder", description="Decodes media files into a store.")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--store", type=Path, required=True)
    arguments = parser.parse_args()
    limit_process()
    servant: Servant[Decode] = Servant(arguments.fd, Decode)
    store = PromptStore(arguments.store)
    for request in servant.requests():
        servant.send(answer(store, request))


if __name__ == "__main__":
    main()
