"""Lamps (RFC 4235): SIPp watches what telephones of ours do."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import sipp, trees
from kit.baresip import Baresip
from kit.daemon import Daemon, poll
from kit.sound import silence


@pytest.mark.peer("sipp")
@pytest.mark.peer("baresip")
def test_the_lamps_of_a_telephone_and_its_extension_shine_while_it_is_in_a_call_that_it_made(tmp_path: Path) -> None:
    """It calls a menu and hangs up: trying, confirmed, terminated, told of the device, its user and the extension."""
    house = Daemon(
        tmp_path / "daemon",
        {"6000": trees.two_levels(root="long.wav")},
        sounds=trees.SOUNDS,
        settings={"sip": {"open": False}},
        devices=[{"name": name, "password": "secret"} for name in ("desk", "lamp")],
        more={
            "users": [{"name": "anna", "devices": ["desk"]}],
            "extensions": [{"number": "201", "user": "anna"}],
        },
    )
    with (
        house,
        Baresip(
            tmp_path / "desk",
            user="desk",
            server=f"127.0.0.1:{house.sip_port}",
            password="secret",
            audio=silence(20.0),
            keep=True,
        ) as desk,
    ):
        house.wait_log("device_registered")
        watchers = [
            sipp.start(
                "watches_who_calls",
                tmp_path / entity,
                server=house.address,
                number=entity,
                patience=60,
                arguments=["-auth_uri", f"{entity}@{house.address[0]}:{house.address[1]}"],
            )
            for entity in ("201", "anna", "desk")
        ]
        for each in watchers:
            poll(lambda each=each: "active" in each.log() or None, 10, "nobody watches")  # type: ignore[misc]
        desk.dial(house.uri("6000"))
        desk.wait_event("CALL_ESTABLISHED")
        desk.wait_heard(trees.ROOT_HZ)
        desk.hangup()
        for each in watchers:
            each.finish(15)
        house.wait_ended()
    for each in watchers:
        dialog = [line for line in each.messages().splitlines() if line.startswith("<dialog id=")][-1]
        assert 'direction="initiator"' in dialog
        assert 'local-tag="' in dialog
