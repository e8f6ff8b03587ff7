"""All of a call in one ZIP: ``ladder.txt``, ``call.pcap``, ``capture.json``, ``record.json`` and its recordings."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from engine.captures.ladder import ladder
from engine.captures.media import CapturedMedia
from engine.captures.pcap import pcap
from engine.transport.tap import Seen

MOST_SOUND = 256 * 1024 * 1024
"""Octets of recordings; those that come beyond are named in ``record.json`` only."""


def archive(
    out: IO[bytes],
    messages: Sequence[Seen],
    media: CapturedMedia,
    record: Mapping[str, Any],
    recordings: Sequence[Path],
) -> None:
    """Write it. Recordings that are gone are left out. Reads and writes files: not on the event loop."""
    left = MOST_SOUND
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ladder.txt", ladder(messages))
        with file.open("call.pcap", "w", force_zip64=True) as packets:
            for piece in pcap(messages, *media.streams()):
                packets.write(piece)
        file.writestr("capture.json", media.about())
        file.writestr("record.json", json.dumps(record, ensure_ascii=False, indent=1, default=str))
        for path in recordings:
            try:
                size = path.stat().st_size
                if size <= left:
                    file.write(path, f"recordings/{path.name}")
                    left -= size
            except OSError:
                continue
