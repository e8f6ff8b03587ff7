"""``a=crypto`` (RFC 4568): what is read, what is passed over, and what offers and answers make of it."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sip import sdes, sdp
from engine.sip.offer_answer import LocalMedia, NotAcceptable, make_answer, make_offer, read_answer
from engine.sip.sdes import Crypto

ONE, OTHER = bytes(range(30)), bytes(range(100, 130))
TEXT = base64.b64encode(ONE).decode()
EIGHTY, THIRTY_TWO = sdes.SUITES
OURS = (Crypto(1, EIGHTY, OTHER), Crypto(2, THIRTY_TWO, OTHER[::-1]))
LOCAL = LocalMedia("192.0.2.9", 4000, 7, crypto=OURS)


def section(*values: str, profile: str = "RTP/SAVP") -> sdp.MediaDescription:
    return description(*values, profile=profile).media[0]


def description(*values: str, profile: str = "RTP/SAVP") -> sdp.SessionDescription:
    lines = "".join(f"a=crypto:{value}\r\n" for value in values)
    return sdp.parse(f"v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5004 {profile} 0 8\r\n{lines}".encode())


@pytest.mark.parametrize(
    "value",
    [
        f"1 {EIGHTY} inline:{TEXT}",
        f"1 {EIGHTY.lower()} INLINE:{TEXT}",
        f" 1\t{EIGHTY}  inline:{TEXT}|2^20",
        f"1 {EIGHTY} inline:{TEXT}|1048576 KDR=0 WSH=64",
    ],
)
def test_lines_that_are_understood(value: str) -> None:
    assert sdes.read(section(value)) == [Crypto(1, EIGHTY, ONE)]


@pytest.mark.parametrize(
    "value",
    [
        f"1 {EIGHTY} inline:{TEXT}|2^20|1:4",  # an MKI in every packet
        f"1 {EIGHTY} inline:{TEXT}|1:4",
        f"1 {EIGHTY} inline:{TEXT};inline:{TEXT}",  # two keys
        f"1 {EIGHTY} inline:{TEXT} UNENCRYPTED_SRTP",
        f"1 {EIGHTY} inline:{TEXT} UNAUTHENTICATED_SRTP",
        f"1 {EIGHTY} inline:{TEXT} FEC_ORDER=SRTP_FEC",
        f"1 {EIGHTY} inline:{TEXT} KDR=5",
        f"1 {EIGHTY} inline:{TEXT[:-4]}",  # too short
        f"1 {EIGHTY} inline:{TEXT}====",
        f"1 {EIGHTY} inline:",
        f"1 {EIGHTY} outline:{TEXT}",
        f"1 AES_256_CM_HMAC_SHA1_80 inline:{TEXT}",
        f"x {EIGHTY} inline:{TEXT}",
        f"-1 {EIGHTY} inline:{TEXT}",
        f"1{EIGHTY} inline:{TEXT}",
        EIGHTY,
        "",
    ],
)
def test_lines_that_are_passed_over(value: str) -> None:
    assert sdes.read(section(value, f"2 {THIRTY_TWO} inline:{TEXT}")) == [Crypto(2, THIRTY_TWO, ONE)]


def test_of_lines_with_one_tag_the_first_counts() -> None:
    assert sdes.read(section(f"1 F8_128_HMAC_SHA1_80 inline:{TEXT}", f"1 {EIGHTY} inline:{TEXT}")) == []


@given(st.text(max_size=200))
def test_nothing_that_is_written_there_raises(text: str) -> None:
    media = sdp.MediaDescription("audio", 1, "RTP/SAVP", ("0",), None, (("crypto", text), ("crypto", None)))
    for crypto in sdes.read(media):
        assert len(crypto.key) == sdes.KEY_SIZE


def test_keys_are_not_shown() -> None:
    offer = description(f"1 {EIGHTY} inline:{TEXT}")
    _, agreed = make_answer(offer, LOCAL)
    for shown in (repr(OURS), repr(agreed), repr(LOCAL)):
        assert not any(secret in shown for secret in (repr(OTHER), repr(ONE), TEXT))


# --- answers ----------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["RTP/SAVP", "RTP/SAVPF"])
def test_the_answer_has_their_tag_and_profile_and_our_key(profile: str) -> None:
    offer = description(
        f"5 AES_256_CM_HMAC_SHA1_80 inline:{TEXT}", f"7 {THIRTY_TWO} inline:{TEXT}", f"8 {EIGHTY} inline:{TEXT}",
        profile=profile,
    )  # fmt: skip
    answer, agreed = make_answer(offer, LOCAL)
    assert agreed.srtp == sdes.SrtpKeys(THIRTY_TWO, OTHER[::-1], ONE)
    (media,) = answer.media
    assert (media.protocol, sdes.read(media)) == (profile, [Crypto(7, THIRTY_TWO, OTHER[::-1])])


@pytest.mark.parametrize(
    ("values", "local", "why"),
    [
        ((f"1 {EIGHTY} inline:{TEXT}",), replace(LOCAL, crypto=()), "not allowed"),
        ((), LOCAL, "no common crypto suite"),
        ((f"1 AES_256_CM_HMAC_SHA1_80 inline:{TEXT}",), LOCAL, "no common crypto suite"),
    ],
)
def test_savp_without_a_common_suite_is_refused(values: tuple[str, ...], local: LocalMedia, why: str) -> None:
    with pytest.raises(NotAcceptable, match=why):
        make_answer(description(*values), local)


def test_plain_rtp_is_refused_where_srtp_is_required() -> None:
    with pytest.raises(NotAcceptable, match="without encryption"):
        make_answer(description(profile="RTP/AVP"), replace(LOCAL, plain=False))
    _, agreed = make_answer(description(profile="RTP/AVP"), LOCAL)
    assert agreed.srtp is None


def test_a_wish_for_encryption_in_avp_is_granted_if_it_may_be() -> None:
    """RFC 8643 section 3.2."""
    offer = description(f"1 {EIGHTY} inline:{TEXT}", profile="RTP/AVP")
    answer, agreed = make_answer(offer, replace(LOCAL, plain=False))
    assert (answer.media[0].protocol, agreed.srtp) == ("RTP/AVP", sdes.SrtpKeys(EIGHTY, OTHER, ONE))
    answer, agreed = make_answer(offer, replace(LOCAL, crypto=()))
    assert (answer.media[0].attribute("crypto"), agreed.srtp) == (None, None)


def test_the_second_section_is_taken_if_the_first_cannot_be() -> None:
    """Who offers both, encrypted and not, offers two sections."""
    offer = sdp.parse(
        b"v=0\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 5004 RTP/SAVP 0\r\n"
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + TEXT.encode() + b"\r\nm=audio 5006 RTP/AVP 0\r\n"
    )
    answer, agreed = make_answer(offer, replace(LOCAL, crypto=()))
    assert ([media.port for media in answer.media], agreed.srtp) == ([0, 4000], None)
    answer, agreed = make_answer(offer, LOCAL)
    assert [media.port for media in answer.media] == [4000, 0]
    assert agreed.srtp is not None


# --- offers -----------------------------------------------------------------------------


def test_an_offer_of_savp_has_both_suites_and_later_offers_keep_profile_and_keys() -> None:
    offer = make_offer(replace(LOCAL, protocol="RTP/SAVP"))
    again = make_offer(replace(LOCAL, version=2), offer)
    for each in (offer, again):
        assert (each.media[0].protocol, sdes.read(each.media[0])) == ("RTP/SAVP", list(OURS))
    assert make_offer(LOCAL).media[0].attribute("crypto") is None


def test_the_answer_to_an_offer_of_savp() -> None:
    offer = make_offer(replace(LOCAL, protocol="RTP/SAVP"))
    agreed = read_answer(offer, description(f"2 {THIRTY_TWO} inline:{TEXT}"))
    assert agreed.srtp == sdes.SrtpKeys(THIRTY_TWO, OTHER[::-1], ONE)


@pytest.mark.parametrize(
    ("values", "profile", "why"),
    [
        ((), "RTP/SAVP", "no key"),
        ((f"1 {THIRTY_TWO} inline:{TEXT}",), "RTP/SAVP", "no key"),
        ((f"3 {EIGHTY} inline:{TEXT}",), "RTP/SAVP", "no key"),
        ((f"1 {EIGHTY} inline:{TEXT}",), "RTP/AVP", "RTP/AVP in the answer to RTP/SAVP"),
    ],
)
def test_answers_that_would_not_be_encrypted(values: tuple[str, ...], profile: str, why: str) -> None:
    offer = make_offer(replace(LOCAL, protocol="RTP/SAVP"))
    with pytest.raises(NotAcceptable, match=why):
        read_answer(offer, description(*values, profile=profile))


def test_savp_in_the_answer_to_avp_is_refused() -> None:
    with pytest.raises(NotAcceptable, match="RTP/SAVP in the answer"):
        read_answer(make_offer(LOCAL), description(f"1 {EIGHTY} inline:{TEXT}"))
