from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import os
import struct
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from media import files
from media.decoder import decode, demuxer_for
from media.files import MediaError, MediaImporter, import_media
from media.tts.store import PromptStore

Reader = Callable[[Path], NDArray[np.float32]]


def encoded(
    container: str,
    codec: str,
    rate: int,
    *,
    layout: str = "mono",
    frequencies: tuple[float, ...] = (1000.0,),
    seconds: float = 1.0,
    amplitude: float = 0.14,
) -> bytes:
    """A media file with one tone in each channel."""
    time = np.arange(int(rate * seconds)) / rate
    channels = np.array([amplitude * np.sin(2 * np.pi * frequency * time) for frequency in frequencies])
    packed = np.rint(channels.T * 32767).astype(np.int16).reshape(1, -1)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options={"strict": "experimental"})
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return buffer.getvalue()


def power_at(sound: NDArray[np.floating], frequency: float, rate: int = 8000) -> float:
    """Share of the power that lies within 20 Hz of ``frequency``."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(sound.size))) ** 2
    frequencies = np.fft.rfftfreq(sound.size, 1 / rate)
    return float(spectrum[np.abs(frequencies - frequency) < 20].sum() / spectrum.sum())


FORMATS = {
    "pcm 8 kHz": ("wav", "pcm_s16le", 8000, "mono"),
    "pcm 44.1 kHz stereo": ("wav", "pcm_s16le", 44100, "stereo"),
    "24 bit 96 kHz": ("wav", "pcm_s24le", 96000, "mono"),
    "8 bit": ("wav", "pcm_u8", 11025, "mono"),
    "float": ("wav", "pcm_f32le", 48000, "stereo"),
    "mu-law": ("wav", "pcm_mulaw", 8000, "mono"),
    "a-law": ("wav", "pcm_alaw", 8000, "mono"),
    "mp3": ("mp3", "libmp3lame", 44100, "stereo"),
    "mp3 16 kHz": ("mp3", "libmp3lame", 16000, "mono"),
    "ogg opus": ("ogg", "libopus", 48000, "mono"),
    "ogg vorbis": ("ogg", "vorbis", 44100, "stereo"),
    "flac": ("flac", "flac", 22050, "mono"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_keeps_its_tone_its_length_and_its_level(name: str) -> None:
    container, codec, rate, layout = FORMATS[name]
    tones = (1000.0,) * (2 if layout == "stereo" else 1)
    samples, kept = decode(encoded(container, codec, rate, layout=layout, frequencies=tones))
    assert kept == (16000 if rate >= 16000 else 8000)
    assert samples.size / kept == pytest.approx(1.0, abs=0.06)
    middle = samples[kept // 10 : -kept // 10] / 32768
    assert power_at(middle, 1000, kept) > 0.98
    assert np.sqrt(2) * middle.std() == pytest.approx(0.14, rel=0.08)


def test_both_channels_are_heard() -> None:
    sound, rate = decode(encoded("wav", "pcm_s16le", 16000, layout="stereo", frequencies=(500.0, 1500.0)))
    assert power_at(sound, 500, rate) == pytest.approx(0.5, abs=0.02)
    assert power_at(sound, 1500, rate) == pytest.approx(0.5, abs=0.02)


def test_what_is_above_the_band_does_not_fold_into_it() -> None:
    wide, rate = decode(encoded("wav", "pcm_s16le", 48000, layout="stereo", frequencies=(1000.0, 9000.0)))
    assert rate == 16000
    assert power_at(wide, 1000, rate) > 0.999
    narrow, rate = decode(encoded("wav", "pcm_s16le", 11025, layout="stereo", frequencies=(1000.0, 5000.0)))
    assert rate == 8000
    assert power_at(narrow, 1000, rate) > 0.999


@pytest.mark.parametrize("name", ["pcm 44.1 kHz stereo", "mp3", "ogg opus", "flac"])
def test_what_a_wideband_caller_can_hear_is_kept(name: str) -> None:
    container, codec, rate, layout = FORMATS[name]
    tones = (5000.0,) * (2 if layout == "stereo" else 1)
    sound, kept = decode(encoded(container, codec, rate, layout=layout, frequencies=tones))
    middle = sound[1600:-1600]
    assert power_at(middle, 5000, kept) > 0.98
    assert np.sqrt(2) * middle.std() / 32768 == pytest.approx(0.14, rel=0.1)


@pytest.mark.parametrize("rate", [8000, 48000])
def test_both_ends_are_without_a_click(rate: int) -> None:
    time = np.arange(rate) / rate
    cut = np.rint(4000 * np.cos(2 * np.pi * 200 * time)).astype(np.int16)  # begins and ends at its peak
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(cut.tobytes())
    sound, kept = decode(buffer.getvalue())
    steps = np.abs(np.diff(np.concatenate([[0], sound, [0]]).astype(float)))
    assert steps.max() < 1.2 * 4000 * 2 * np.pi * 200 / kept
    assert np.abs(sound).max() > 3800


@pytest.mark.parametrize(("amplitude", "level"), [(0.9, -20), (0.02, -20), (0.14, -20.1), (0.08, -24.9)])
def test_only_levels_far_off_are_corrected(amplitude: float, level: float) -> None:
    sound = decode(encoded("wav", "pcm_s16le", 8000, amplitude=amplitude)).samples / 32768
    assert 20 * np.log10(sound.std()) == pytest.approx(level, abs=0.7)


def test_silence_is_a_prompt_too() -> None:
    assert decode(encoded("wav", "pcm_s16le", 8000, amplitude=0.0)).samples.tolist() == [0] * 8000


def test_a_truncated_file_gives_what_is_there() -> None:
    whole = encoded("wav", "pcm_s16le", 8000)
    assert decode(whole[: len(whole) // 2]).samples.size == pytest.approx(4000, abs=60)


def test_a_stream_of_unknown_length_is_read_to_its_end() -> None:
    """Programs that write to a pipe leave 0xFFFFFFFF where the sizes go."""
    whole = bytearray(encoded("wav", "pcm_s16le", 8000))
    at = whole.index(b"data")
    whole[4:8] = whole[at + 4 : at + 8] = b"\xff" * 4
    assert decode(bytes(whole)).samples.size == 8000


def test_a_hole_in_an_mp3_is_skipped() -> None:
    whole = encoded("mp3", "libmp3lame", 44100, seconds=3.0)
    holed = whole[:9000] + bytes(2000) + whole[11000:]
    assert decode(holed).samples.size > 2 * 16000


def wave_header(**changes: int) -> bytes:
    fields = {"format": 1, "channels": 1, "rate": 8000, "bits": 16, "size": 1600} | changes
    block = max(1, fields["channels"] * fields["bits"] // 8)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + fields["size"], b"WAVE", b"fmt ", 16, fields["format"], fields["channels"], fields["rate"]),
        *(fields["rate"] * block % 2**32, block % 65536, fields["bits"], b"data", fields["size"]),
    )
    return head + bytes(1600)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am text", "not a WAV"),
        (b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n", "not a WAV"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not a WAV"),
        (b"\x00\x00\x00\x18ftypM4A ", "not a WAV"),
        (b"RIFF\x24\x00\x00\x00AVI LIST", "not a WAV"),
        (b"RIFF\x24\x00\x00\x00WAVE", "cannot be decoded"),
        (b"RIFF\x24\x00\x00\x00WAVE" + b"junk" * 50, "cannot be decoded"),
        (b"OggS" + bytes(200), "."),
        (b"fLaC" + bytes(200), "."),
        (b"ID3" + bytes(range(256)) * 100, "."),
        (wave_header(rate=1), "1 Hz"),
        (wave_header(rate=4_000_000_000), "."),
        (wave_header(channels=0), "."),
        (wave_header(format=0x9999), "codec is not taken: unknown"),
        (wave_header(format=0x2000), "codec is not taken: ac3"),
        (wave_header(format=0x0161), "codec is not taken: wmav2"),
    ],
)
def test_what_is_no_sound_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(MediaError, match=reason):
        decode(content)


def test_too_long_a_sound_is_refused_while_it_is_decoded() -> None:
    with pytest.raises(MediaError, match="longer than 2 s"):
        decode(encoded("flac", "flac", 8000, seconds=3.0, amplitude=0.0), max_seconds=2)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["wav", "mp3", "ogg", "flac"]),
    st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    st.integers(0, 6000),
)
def test_damaged_files_are_decoded_or_refused(kind: str, damage: list[tuple[int, bytes]], length: int) -> None:
    content = bytearray(WHOLE[kind])
    for place, garbage in damage:
        content[place : place + len(garbage)] = garbage
    with contextlib.suppress(MediaError):
        assert decode(bytes(content[:length]), max_seconds=60).samples.size


WHOLE = {
    "wav": encoded("wav", "pcm_s16le", 8000, seconds=0.3),
    "mp3": encoded("mp3", "libmp3lame", 16000, seconds=0.5),
    "ogg": encoded("ogg", "libopus", 48000, seconds=0.5),
    "flac": encoded("flac", "flac", 16000, seconds=0.3),
}


@given(st.binary(max_size=40))
def test_any_beginning_has_a_demuxer_of_ours_or_none(content: bytes) -> None:
    with contextlib.suppress(MediaError):
        assert demuxer_for(content) in {"wav", "mp3", "ogg", "flac"}


# --- the whole way, through the process -------------------------------------------------


async def test_import(store: PromptStore, tmp_path: Path, sound_of: Reader) -> None:
    source = tmp_path / "prompt ș.mp3"
    source.write_bytes(encoded("mp3", "libmp3lame", 44100))
    path = await import_media(source, store)
    assert path.is_relative_to(store.folder)
    assert power_at(sound_of(path), 1000) > 0.98


async def test_the_same_content_is_decoded_once_whatever_its_name(store: PromptStore, tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("a.wav", "b.wav", "c.wav"))
    first.write_bytes(WHOLE["wav"])
    second.write_bytes(WHOLE["wav"])
    other.write_bytes(WHOLE["flac"])
    importer = MediaImporter(store)
    path = await importer.add(first)
    broken = MediaImporter(store, module="no.such.module")
    assert await broken.add(second) == path
    assert await importer.add(other) != path
    (tmp_path / "d.ogg").write_bytes(WHOLE["ogg"])
    with pytest.raises(MediaError, match="ended with status 1"):
        await broken.add(tmp_path / "d.ogg")


async def test_large_files_do_not_hold_up_the_loop(
    store: PromptStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def sha256(content: bytes) -> hashlib._Hash:
        threads.append(threading.current_thread())
        return hashlib.sha256(content)

    monkeypatch.setattr(files, "hashlib", SimpleNamespace(sha256=sha256))
    source = tmp_path / "a.wav"
    source.write_bytes(WHOLE["wav"])
    await import_media(source, store)
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


async def test_what_cannot_be_read_is_a_clear_error(store: PromptStore, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    large = tmp_path / "large.wav"
    with large.open("wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    text = tmp_path / "text.wav"
    text.write_text("hello")
    for path, reason in (
        (tmp_path / "none.wav", "No such file"),
        (tmp_path, "directory"),
        (fifo, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (large, "larger than 64 MiB"),
        (text, "not a WAV, MP3, Ogg or FLAC file"),
        (tmp_path / "nul\0", "null"),
    ):
        with pytest.raises(MediaError, match=reason) as caught:
            await asyncio.wait_for(import_media(path, store), 10)
        assert str(path) in str(caught.value)
    with pytest.raises(MediaError, match=r"^https://example\.com/a\.wav: not a WAV"):
        await MediaImporter(store).add(text, name="https://example.com/a.wav")


async def test_a_decoder_that_hangs_is_killed(
    store: PromptStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hanging_decoder.py").write_text("import time\ntime.sleep(1e6)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = tmp_path / "a.wav"
    source.write_bytes(WHOLE["wav"])
    with pytest.raises(MediaError, match="took more than 0 s"):
        await MediaImporter(store, module="hanging_decoder", patience=0.3).add(source)


async def test_many_at_a_time(store: PromptStore, tmp_path: Path) -> None:
    sources = []
    for number in range(6):
        sources.append(tmp_path / f"{number}.wav")
        sources[-1].write_bytes(encoded("wav", "pcm_s16le", 8000, frequencies=(300.0 + number,), seconds=0.2))
    importer = MediaImporter(store)
    assert len(set(await asyncio.gather(*(importer.add(source) for source in sources)))) == 6
