"""A daemon with three softphones of one account, each with a tone of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import sound, trees
from kit.api import Api
from kit.baresip import Baresip
from kit.daemon import Daemon, poll

ALICE, BOB, CAROL, MUSIC = 500.0, 700.0, 1100.0, 1500.0
TONES = {"alice": ALICE, "bob": BOB, "carol": CAROL}


@dataclass(slots=True)
class Office:
    """A daemon with three telephones of one account, at the extensions 201 to 203; ``api`` is theirs."""

    house: Daemon
    api: Api
    phones: dict[str, Baresip]

    def talk(self, caller: str, callee: str) -> str:
        """Both talk; the id of the call."""
        number = str(201 + list(TONES).index(callee))
        self.phones[caller].dial(self.house.uri(number))
        for name in (caller, callee):
            self.phones[name].wait_event("CALL_ESTABLISHED")
        (call,) = self.live()
        self.until(call["id"], bridged=True)
        return str(call["id"])

    def live(self) -> list[dict[str, Any]]:
        """The calls that live, the newest first."""
        return list(self.api.ask("GET", "/calls?status=live")[1]["calls"])

    def recordings(self, call: str) -> list[Path]:
        return sorted(path for path in self.house.recordings() if path.stem.startswith(call))

    def act(self, call: str, what: str, body: object = None) -> dict[str, Any]:
        status, found = self.api.ask("POST", f"/calls/{call}/{what}", body)
        assert status == 202, found
        return dict(found)

    def until(self, call: str, **facts: object) -> None:
        """Wait until the call is like this."""

        def so() -> bool | None:
            found = self.api.get(call)
            return all(found[name] == value for name, value in facts.items()) or None

        poll(so, 10, f"{call} did not become {facts}", every=0.1)

    def timeline(self, call: str, *kinds: str) -> list[dict[str, Any]]:
        status, found = self.api.ask("GET", f"/calls/{call}/record")
        assert status == 200, found
        return [row for row in found["timeline"] if row["kind"] in kinds]

    def heard(self, name: str, tone: float) -> list[tuple[float, float]]:
        """When a telephone heard a tone, in seconds."""
        rate, samples = self.phones[name].heard()
        assert rate == sound.RATE
        return list(sound.find_tone(samples, tone))


def office_daemon(folder: Path, flows: Mapping[str, object] | None = None) -> Daemon:
    """The daemon, with two media workers. Who calls 7000 gets Bob; the telephones come with :func:`staffed`. ``flows``
    are more of them, by number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sound.write_wav(folder / "music.wav", sound.tone(MUSIC, 3.0))
    return Daemon(
        folder,
        {
            "6000": trees.two_levels(),
            "7000": "<Response><Dial><Number>202</Number></Dial></Response>",
            **(flows or {}),
        },
        sounds=trees.SOUNDS,
        settings={"calls": {"music": str(folder / "music.wav")}, "rtp": {"workers": 2}},
        devices=[{"name": name, "password": "geheim"} for name in TONES],
        more={
            "users": [{"name": f"user-{name}", "devices": [name]} for name in TONES],
            "extensions": [{"number": str(201 + place), "user": f"user-{name}"} for place, name in enumerate(TONES)],
        },
    )


@contextmanager
def staffed(house: Daemon, folder: Path) -> Iterator[Office]:
    """Three telephones that have registered, and take calls, Alice's aside."""
    before = house.log().count("device_registered")
    with ExitStack() as stack:
        phones = {
            name: stack.enter_context(
                Baresip(
                    folder / name,
                    user=name,
                    server=f"127.0.0.1:{house.sip_port}",
                    password="geheim",
                    audio=sound.tone(tone, 60),
                    keep=True,
                    answers=name != "alice",
                )
            )
            for name, tone in TONES.items()
        }
        house.wait_log("device_registered", count=before + len(TONES))
        yield Office(house, Api(house), phones)
