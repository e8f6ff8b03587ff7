"""Both ends send by the numbers in the other's description (RFC 3264 sections 5.1, 6.1)."""

from pathlib import Path

import numpy as np
import pytest
from media_studio import Phone, Studio, read_wav, rms, sine, tone_power

from media import commands, reports
from media.g711 import Law
from media.rates import FRAME


@pytest.mark.parametrize("payload_type", [96, 101])
def test_keys_by_the_number_of_either_description(studio: Studio, phone: Phone, payload_type: int) -> None:
    studio.connect(phone, event_type=96, receive_event_type=101)
    studio.talk(phone, np.zeros(5 * FRAME))
    phone.raw(phone.event(7, FRAME, phone.timestamp, payload_type=payload_type))
    studio.run(0.1)
    assert [heard.digit for heard in studio.reports(reports.DigitHeard)] == ["7"]
    phone.take()
    studio.do(commands.SendDigits(1, "5"))
    studio.run(0.5)
    types = {packet[1] & 0x7F for packet in phone.take()}
    assert types == {0, 96}


def test_sound_changes_between_the_laws_that_both_list(studio: Studio, phone: Phone, tmp_path: Path) -> None:
    studio.connect(phone, other_payload_type=int(Law.PCMA))
    path = tmp_path / "call.wav"
    studio.do(commands.Record(1, 1, str(path)))
    for law in (Law.PCMU, Law.PCMA, Law.PCMU):
        phone.law = law
        studio.talk(phone, sine(500, 0.5))
    studio.do(commands.StopRecord(1, 1))
    studio.run(0.02)
    left = read_wav(path)[:, 0]
    for part in left[2000:10000].reshape(
        -1, 1000
    ):  # read by the wrong law, or lost, it would be no sine of this height
        assert tone_power(part, 500) == pytest.approx(8000, rel=0.05)
        assert rms(part) == pytest.approx(8000 / np.sqrt(2), rel=0.05)


def test_the_other_law_is_foreign_when_one_side_lacks_it(studio: Studio, phone: Phone) -> None:
    studio.connect(phone)
    phone.law = Law.PCMA
    studio.talk(phone, sine(500, 0.1))
    studio.drop()
    studio.run(0.1)
    assert studio.last(reports.Closed).stats.received == 0
