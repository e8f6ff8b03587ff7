"""Softphones that people use: baresip, and pyVoIP as a registered device."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kit import checks, sound
from kit.baresip import Baresip
from kit.daemon import Daemon
from kit.hooks import HookServer
from kit.ports import free_port
from kit.trees import CALLER_HZ, ONE_HZ, ROOT_HZ, path

DOWN_TWO = path("key:1", "key:2")


@pytest.mark.peer("baresip")
def test_baresip_walks_two_levels(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    with Baresip(tmp_path, user="+39011777", audio=sound.tone(CALLER_HZ, 20), keep=True) as softphone:
        softphone.dial(house.uri("2010"))
        softphone.wait_event("CALL_ESTABLISHED")
        softphone.wait_heard(ROOT_HZ)
        softphone.press("1")
        hooks.wait_for("tree", "/2010")
        softphone.wait_heard(ONE_HZ)
        softphone.press("2")
        softphone.wait_event("CALL_CLOSED")
    assert checks.last_path(house, "2010") == DOWN_TWO
    checks.two_levels_were_told(hooks, "2010", caller="+39011777")
    checks.prompts_right_and_caller_left(house.recording(house.calls_to("2010")[-1]), caller_hz=CALLER_HZ)


@pytest.mark.peer("pyvoip")
def test_pyvoip_registers_and_walks_two_levels(house: Daemon, hooks: HookServer, tmp_path: Path) -> None:
    caller = np.concatenate(
        [
            sound.tone(CALLER_HZ, 0.8),
            sound.silence(1.0),
            sound.dtmf("1", 0.16),
            sound.silence(1.6),
            sound.dtmf("2", 0.16),
            sound.silence(0.3),
        ]
    )
    (tmp_path / "sound.raw").write_bytes(np.round(caller * 127 + 128).astype(np.uint8).tobytes())
    heard = tmp_path / "heard.raw"
    script = Path(__file__).parent / "kit" / "pyvoip_phone.py"
    call = [house.host, str(house.sip_port), "pyvoip", "geheim", str(free_port()), "2011"]
    done = subprocess.run(
        [sys.executable, str(script), *call, str(tmp_path / "sound.raw"), str(heard), "15"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split("\n")[:3] == ["registered", "answered", "ended by the far end"], done.stdout + done.stderr
    assert checks.last_path(house, "2011") == DOWN_TWO
    checks.two_levels_were_told(hooks, "2011", caller="pyvoip")
    checks.prompts_right_and_caller_left(
        house.recording(house.calls_to("2011")[-1]), caller_hz=CALLER_HZ, dtmf=sound.DTMF["2"]
    )
    received = (np.frombuffer(heard.read_bytes(), np.uint8) - 128.0) / 128
    assert sound.find_tone(received, ROOT_HZ)
    assert sound.find_tone(received, ONE_HZ)
