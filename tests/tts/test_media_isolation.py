"""A media file leads nowhere: FFmpeg opens neither a file nor a connection that its content names.

A program in a process of its own decodes what it is given, in a folder full of bait, under the eyes of a web server
and of an audit hook. The same bait is taken at once by an FFmpeg that is left to itself (the control).
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from test_media_files import encoded

from media import decoder
from media.files import MediaError

BAIT = encoded("wav", "pcm_s16le", 8000, seconds=0.5)

DOCUMENTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "m3u": "{url}\n",
    "pls": "[playlist]\nFile1={url}\nNumberOfEntries=1\n",
    "ffconcat": "ffconcat version 1.0\nfile '{url}'\n",
    "ffconcat of a file": "ffconcat version 1.0\nfile '{file}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "concat protocol": "concat:{file}|{file}",
    "subfile protocol": "subfile,,start,0,end,0,,:{file}",
    "dash": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet mimeType="audio/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>',
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "smil": '<smil><body><audio src="{url}"/></body></smil>',
    "url alone": "{url}",
    "path alone": "{file}",
}

DISGUISES = {
    "as it is": b"%s",
    "behind a BOM": b"\xef\xbb\xbf%s",
    "in a WAV": b"RIFF\xff\xff\xff\x7fWAVE%s",
    "in an ID3 tag": b"ID3\x03\x00\x00\x00\x00\x00\x00%s",
    "in an Ogg page": b"OggS%s",
    "after fLaC": b"fLaC%s",
}


class Watch:
    """A web server that counts who comes; it has a sound for everybody."""

    def __init__(self) -> None:
        self.visits = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.visits += 1
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: audio/wav\r\n\r\n" + BAIT)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.close()


def documents(folder: Path, watch: Watch) -> dict[str, bytes]:
    bait = folder / "bait.wav"
    bait.write_bytes(BAIT)
    names = {"url": f"http://127.0.0.1:{watch.port}/a.wav", "file": str(bait), "port": str(watch.port)}
    return {
        f"{name} {disguise}": pattern % text.format(**names).encode()
        for name, text in DOCUMENTS.items()
        for disguise, pattern in DISGUISES.items()
    }


# What Python opens itself (the file that it was told to read) is listed by the hook, FFmpeg's own openings are not:
# those are seen by what they lead to.
PROGRAM = textwrap.dedent("""
    import pathlib, sys
    import av
    from media.decoder import decode
    from media.files import MediaError
    import numpy, soxr
    opened = []
    real = av.open
    def watched(file, *arguments, **options):
        opened.append((type(file).__name__, options.get("format")))
        return real(file, *arguments, **options)
    av.open = watched
    names = sorted(pathlib.Path(sys.argv[1]).glob("*.bin"))
    contents = [name.read_bytes() for name in names]
    events = []
    sys.addaudithook(lambda event, arguments: events.append(event))
    for name, content in zip(names, contents):
        try:
            decode(content)
            print("DECODED", name)
        except MediaError:
            pass
    print({kind for kind in opened}, [e for e in events if e.startswith(("open", "socket.", "subprocess", "os."))])
""")


def test_no_document_leads_anywhere(tmp_path: Path, watch: Watch) -> None:
    for number, content in enumerate(documents(tmp_path, watch).values()):
        (tmp_path / f"{number}.bin").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "DECODED" not in done.stdout
    handed, events = done.stdout.rsplit("} ", 1)
    assert {name for name in ("wav", "mp3", "ogg", "flac") if f"'BytesIO', '{name}'" in handed} >= {"wav", "mp3", "ogg"}
    assert handed.count("(") == handed.count("'BytesIO'")
    assert events.strip() == "[]"
    assert watch.visits == 0


def test_the_bait_is_taken_where_nobody_guards(tmp_path: Path, watch: Watch) -> None:
    """Otherwise the test above would prove nothing."""
    texts = documents(tmp_path, watch)
    whitelist = {"protocol_whitelist": "file,http,tcp"}
    for name, demuxer, options in (
        ("m3u8", "hls", {"allowed_extensions": "ALL", "extension_picky": "0", **whitelist}),
        ("ffconcat", "concat", {"safe": "0", **whitelist}),
    ):
        file = tmp_path / f"list.{name}"
        file.write_bytes(texts[f"{name} as it is"])
        before = watch.visits
        with contextlib.suppress(av.FFmpegError), av.open(str(file), format=demuxer, options=options) as container:
            next(container.decode(audio=0), None)
        assert watch.visits > before, name


def test_only_bytes_and_a_chosen_demuxer_reach_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, dict[str, Any]]] = []
    real = av.open

    def watched(file: Any, *arguments: Any, **options: Any) -> Any:
        given.append((file, options))
        return real(file, *arguments, **options)

    monkeypatch.setattr(av, "open", watched)
    for container, codec, rate in (
        ("wav", "pcm_s16le", 8000),
        ("mp3", "libmp3lame", 44100),
        ("ogg", "libopus", 48000),
        ("flac", "flac", 16000),
    ):
        content = encoded(container, codec, rate)
        given.clear()
        decoder.decode(content)
        ((file, options),) = given
        assert not isinstance(file, str | bytes | Path)
        assert file.getvalue() == content
        assert options["format"] == container


def test_half_an_hour_fits_into_the_decoders_memory(tmp_path: Path) -> None:
    """The longest file that is taken, wide, with peaks that must be limited, under the limits of the process."""
    program = (
        "import sys, resource, numpy as np\n"
        "from media import decoder\n"
        "from media.files import MAX_SECONDS\n"
        "decoder.limit_process()\n"
        "from media.tts.store import wav\n"
        "sound = np.random.default_rng(1).normal(0, 300, MAX_SECONDS * 16000).astype(np.int16)\n"
        "sound[::160000] = 32767\n"
        "samples, rate = decoder.decode(wav(sound, 16000))\n"
        "print(samples.size // rate)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110)
    assert done.stdout.strip() == "1800", done.stderr[-2000:]


def test_a_wide_file_stays_wide_and_a_narrow_one_narrow() -> None:
    for rate, kept in ((8000, 8000), (11025, 8000), (16000, 16000), (22050, 16000), (44100, 16000)):
        assert decoder.decode(encoded("wav", "pcm_s16le", rate)).rate == kept
    with pytest.raises(MediaError):
        decoder.decode(np.zeros(100, np.uint8).tobytes())
