"""The daemon as an operator meets it: draining, reloading, health, metrics, bad configuration, the other commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import trees
from kit.api import Api
from kit.daemon import ROOT, Daemon, poll
from kit.phone import Phone
from kit.trees import ONE_HZ, ROOT_HZ, TWO_HZ

from engine.commands.doctor import Check, Doctor
from engine.config import load


def ivrea(*arguments: str, folder: Path = ROOT, patience: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "engine.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=patience)


def test_sigterm_drains(daemon_for: Callable[..., Daemon]) -> None:
    """New calls get 503 with Retry-After; the running one ends by itself; then the daemon leaves with 0."""
    daemon = daemon_for({"1000": trees.two_levels()})
    with Phone(daemon.address) as running:
        assert running.call("1000").status == 200
        running.rtp.wait_for_sound(ROOT_HZ, 3)
        daemon.signal(signal.SIGTERM)

        def refused() -> bool | None:
            with Phone(daemon.address) as late:
                answer = late.call("1000")
                if answer.status != 503:
                    return None
                assert int(answer.get("retry-after").split()[0].split(";")[0]) > 0
                return True

        poll(refused, 3, "a draining daemon takes calls")
        running.rtp.press("1", off=0.2)
        running.rtp.wait_for_sound(ONE_HZ, 3)
        running.rtp.press("2", off=0.2)
        running.wait_for_end()
    assert daemon.process is not None
    assert daemon.process.wait(10) == 0


def test_second_sigterm_says_bye_to_those_that_are_left(daemon_for: Callable[..., Daemon]) -> None:
    daemon = daemon_for({"1000": trees.two_levels(root="long.wav")})
    with Phone(daemon.address) as phone:
        assert phone.call("1000").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        daemon.signal(signal.SIGTERM)
        daemon.wait_log("draining")
        daemon.signal(signal.SIGTERM)
        phone.wait_for_end(5)
    assert daemon.process is not None
    assert daemon.process.wait(10) == 0
    assert len(daemon.ended()) == 1


def test_sighup_changes_flows_for_new_calls_only(daemon_for: Callable[..., Daemon]) -> None:
    daemon = daemon_for({"1000": trees.two_levels()})
    with Phone(daemon.address) as old:
        assert old.call("1000").status == 200
        old.rtp.wait_for_sound(ROOT_HZ, 3)
        daemon.write_flow("1000", {"_": "two.wav"})
        daemon.signal(signal.SIGHUP)
        daemon.wait_log('"reloaded"')
        with Phone(daemon.address) as new:
            assert new.call("1000").status == 200
            new.rtp.wait_for_sound(TWO_HZ, 3)
            new.wait_for_end()
        old.rtp.press("1")
        old.rtp.wait_for_sound(ONE_HZ, 3)
    daemon.write_flow("1000", {"$nonsense": 1})
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("reload_failed")
    with Phone(daemon.address) as after:
        assert after.call("1000").status == 200
        after.rtp.wait_for_sound(TWO_HZ, 3)
        after.wait_for_end()


def test_a_number_that_somebody_else_has_keeps_nothing_from_being_served(daemon_for: Callable[..., Daemon]) -> None:
    """A customer took it while it was not in the file: the daemon starts, says so, and serves the rest."""
    daemon = daemon_for({"1000": trees.two_levels()})
    _, other = Api(daemon).ask("POST", "/accounts", {"name": "other", "assigned_numbers": ["2000"]})
    customer = Api(daemon, other["token"])
    assert customer.ask("POST", "/flows", {"name": "f", "document": {"_": "Hello"}})[0] == 201
    assert customer.ask("POST", "/numbers", {"number": "2000", "flow": "f"})[0] == 201
    assert daemon.stop() == 0
    daemon.write_flow("2000", trees.two_levels())
    daemon.start()
    daemon.wait_log("not_imported")
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.http_port}/healthz", timeout=5) as answer:
        assert json.loads(answer.read())["import_conflicts"] == 1
    with urllib.request.urlopen(f"http://127.0.0.1:{daemon.http_port}/metrics", timeout=5) as answer:
        assert "ivrea_import_conflicts 1.0" in answer.read().decode()
    with Phone(daemon.address) as phone:
        assert phone.call("1000").status == 200
    assert [each["number"] for each in customer.ask("GET", "/numbers")[1]["numbers"]] == ["2000"]
    checks: list[Check] = []
    doctor = Doctor(load(daemon.folder / "ivrea.toml"), checks.append)
    asyncio.run(doctor._check_import())
    (check,) = checks
    assert (check.state, "'2000'" in check.detail) == ("failed", True)


def test_health_and_metrics(house: Daemon) -> None:
    with Phone(house.address) as phone:
        assert phone.call("3000").status == 200
        poll(lambda: "ivrea_media_busy" in house.get("/metrics") or None, 5, "a worker did not report")
        health = json.loads(house.get("/healthz"))
        assert health["status"] == "ok"
        assert health["calls"] >= 1
        metrics = house.get("/metrics")
        assert "ivrea_calls" in metrics
        lag = poll(
            lambda: lag if (lag := json.loads(house.get("/healthz"))["loop_lag_ms"])["max"] else None, 5, "never late"
        )
        assert 0 <= lag["p50"] <= lag["p99"] <= lag["max"]
        for quantile in ("0.5", "0.99", "1"):
            assert f'ivrea_loop_lag_ms{{quantile="{quantile}"}} ' in metrics
            assert f'ivrea_media_lateness_ms{{quantile="{quantile}",worker="0"}} ' in metrics
        assert 'ivrea_media_busy{worker="0"} ' in metrics
        assert "phone" not in metrics, "a label per call or caller"


def test_how_a_call_sounded(daemon_for: Callable[..., Daemon]) -> None:
    """In the closing line, in the record, and in the metrics, where only ended calls count that sent something."""
    daemon = daemon_for({"1000": trees.two_levels()})
    assert "ivrea_call_mos_count 0.0" in daemon.get("/metrics")
    with Phone(daemon.address) as phone:
        assert phone.call("1000").status == 200
        phone.rtp.wait_for_sound(ROOT_HZ, 3)
        phone.hangup()
    (line,) = daemon.wait_ended()
    assert 4.0 <= line["mos"] <= 4.41
    daemon.stored_notes(line["call_id"], "Spoke")  # so that it is in the database
    with contextlib.closing(sqlite3.connect(daemon.folder / "ivrea.db", timeout=5)) as connection:
        ((stats,),) = connection.execute("SELECT stats FROM calls")
    assert json.loads(stats)["mos"] == line["mos"]
    assert json.loads(stats)["received"] > 0
    metrics = daemon.get("/metrics")
    for name in ("ivrea_call_mos", "ivrea_call_loss_ratio", "ivrea_call_jitter_seconds"):
        assert f"{name}_count 1.0" in metrics
        assert f'{name}_bucket{{le="+Inf"}} 1.0' in metrics
    assert 'ivrea_call_mos_bucket{le="2.0"} 0.0' in metrics


def test_the_start_says_what_was_chosen(house: Daemon) -> None:
    chosen = {row["what"]: row["choice"] for row in house.events() if row.get("event") == "chosen"}
    assert set(chosen) == {"loop", "speech", "words", "media worker 0", "limits"}
    assert re.fullmatch(r"(uvloop |asyncio's own).*, niceness -?\d+", chosen["loop"])
    assert re.search(r"(I/O|io_uring).*, \d+ streams at most, (niceness|SCHED_FIFO)", chosen["media worker 0"])
    assert re.fullmatch(r"\d+ calls; each media worker 100% of a core and .* ms late", chosen["limits"])


def test_configuration_errors_name_the_field(tmp_path: Path) -> None:
    config = tmp_path / "ivrea.toml"
    for text, name in (
        ("[sip]\nlisten = ['carrier-pigeon:1']", "sip.listen"),
        ("[rtp]\nports = '9-5'", "rtp.ports"),
        ("[calls]\nsettle = 3", "settle"),
        ("[[numbers]]\nnumber = '1'\nflow = 'nowhere.json'", "nowhere.json"),
    ):
        config.write_text(text + "\n")
        done = ivrea("serve", "--config", str(config))
        assert done.returncode != 0
        assert name in done.stderr + done.stdout, done.stderr


def test_check_simulate_and_help(tmp_path: Path) -> None:
    flow = tmp_path / "flow.json"
    flow.write_text('{"_": "Yes or no?", "yes": "Good.", "no": "Pity.", "$oops": 1}')
    found = ivrea("check", str(flow), "--json", folder=tmp_path)
    assert found.returncode == 1, found.stdout + found.stderr
    assert any("oops" in json.dumps(row) for row in json.loads(found.stdout))
    flow.write_text('{"_": "Yes or no?", "yes": "Good.", "no": "Pity."}')
    assert ivrea("check", str(flow), folder=tmp_path).returncode == 0
    done = ivrea("simulate", str(flow), "--script", "say yes", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == "yes"
    assert ivrea("simulate", str(flow), "--script", "dance", folder=tmp_path).returncode == 2
    for command in ("serve", "check", "simulate", "dial", "doctor"):
        assert ivrea(command, "--help").returncode == 0


@pytest.mark.alone
def test_dial_reports_what_it_heard_and_sent(house: Daemon) -> None:
    done = ivrea("dial", house.uri("2012"), "--script", "wait 1; press! 1; wait 1; press! 2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["status"] == 200
    assert report["answered"] is True
    assert report["heard"]
    assert all(piece["to"] > piece["from"] for piece in report["heard"])
    assert len(report["sent"]) == 2
    assert report["rtp"]["lost"] == 0
    brief = ivrea("dial", house.uri("2012"), "--script", "hangup", "--json")
    assert brief.returncode == 0, brief.stdout + brief.stderr
    assert json.loads(brief.stdout)["end"] == {"by": "caller", "reason": "the script hung up"}
    refused = ivrea("dial", house.uri("7777"), "--script", "press 1", "--json")
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["status"] == 404


def test_doctor_is_content(daemon_for: Callable[..., Daemon]) -> None:
    daemon = daemon_for({"1000": trees.two_levels()})
    config = daemon.folder / "ivrea.toml"
    assert daemon.stop() == 0
    done = ivrea("doctor", "--config", str(config))
    assert done.returncode == 0, done.stdout + done.stderr
