"""curl, as somebody at a shell runs it."""

from __future__ import annotations

import json
import subprocess
from typing import Any


def curl(*arguments: str) -> tuple[int, bytes]:
    """Status and body of the answer."""
    command = ["curl", "-sS", "--globoff", "-m", "20", "-w", "\n%{http_code}", *arguments]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, (command, done.stderr)
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


def curl_json(*arguments: str) -> tuple[int, Any]:
    """Status and JSON of the answer."""
    status, body = curl(*arguments)
    return status, json.loads(body)
