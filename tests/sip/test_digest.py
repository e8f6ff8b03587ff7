"""Digest authentication: the RFCs' own vectors, client against server, replays and lies."""

from __future__ import annotations

from random import Random

import pytest

from engine.sip.digest import Challenge, Challenger, Credentials, DigestClient, Signed
from engine.sip.headers import Headers
from engine.sip.message import Request, Response

PASSWORDS = {"alice": "secret", "ștefan": "pâine"}


def register(uri: str = "sip:ivrea.example") -> Request:
    return Request("REGISTER", uri, Headers([("CSeq", "1 REGISTER")]))


def challenged(*values: str, status: int = 401) -> Response:
    header = "Proxy-Authenticate" if status == 407 else "WWW-Authenticate"
    return Response(status, "", Headers([(header, value) for value in values]))


def client(name: str = "alice", password: str = "secret") -> DigestClient:
    return DigestClient(Credentials(name, password), Random(1))


def server(**changes: object) -> Challenger:
    return Challenger("ivrea", b"key", **changes)  # type: ignore[arg-type]


# --- vectors ----------------------------------------------------------------------------


def test_rfc_2617_section_3_5() -> None:
    signed = Signed(
        "MD5",
        "Mufasa",
        "testrealm@host.com",
        "Circle Of Life",
        "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "GET",
        "/dir/index.html",
        "auth",
        "00000001",
        "0a4f113b",
    )
    assert signed.response() == "6629fae49393a05397450978507c4ef1"


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_rfc_7616_section_3_9_1(algorithm: str, response: str) -> None:
    signed = Signed(
        algorithm,
        "Mufasa",
        "http-auth@example.org",
        "Circle of Life",
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "GET",
        "/dir/index.html",
        "auth",
        "00000001",
        "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert signed.response() == response


def test_without_qop() -> None:
    # RFC 2069's form: H(H(A1) ":" nonce ":" H(A2)).
    signed = Signed(
        "MD5", "bob", "biloxi.com", "zanzibar", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "INVITE", "sip:bob@biloxi.com"
    )
    assert signed.response() == "bf57e4e0d0bffc0fbaedce64d59add5e"


# --- challenges -------------------------------------------------------------------------


def test_challenge() -> None:
    challenge = Challenge.parse(
        'digest  realm="a \\"b\\"", nonce="n", algorithm=md5, qop="auth-int,auth", opaque="", Stale=TRUE, domain="x"'
    )
    assert challenge == Challenge('a "b"', "n", "md5", "auth", "", stale=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Basic realm=x",
        "Digest",
        'Digest realm="x"',
        'Digest realm="x", nonce="y", algorithm=SHA-512',
        'Digest realm="x", nonce="y", qop="auth-future"',
        'Digest realm="x" nonce="y"',
        'Digest realm="x, nonce=y',
        "Digest nonce",
    ],
)
def test_challenges_that_cannot_be_answered(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Challenge.parse(text)
    assert not client().challenged(challenged(text), register())


# --- client and server ------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize(("name", "password"), PASSWORDS.items())
def test_client_and_server_agree(algorithm: str, name: str, password: str) -> None:
    challenger, user, request = server(algorithms=(algorithm,)), client(name, password), register()
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "missing"
    assert user.challenged(challenged(*challenger.challenges(0.0)), request)
    for count in range(1, 4):
        user.authorize(request)
        assert f"nc={count:08x}" in (request.headers.get("Authorization") or "")
        verdict = challenger.verify(request, PASSWORDS.get, 1.0)
        assert (verdict.result, verdict.username) == ("ok", name)


@pytest.mark.parametrize(
    "challenge",
    [
        'Digest realm="r", nonce="n"',
        'Digest realm="r", nonce="n", qop="auth-int", algorithm=MD5-sess, opaque="o"',
        'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256-sess',
    ],
)
def test_other_kinds_of_challenge_are_answered(challenge: str) -> None:
    user, request = client(), register()
    request.body = b"body"
    assert user.challenged(challenged(challenge, status=407), request)
    user.authorize(request)
    value = request.headers.get("Proxy-Authorization") or ""
    assert ("qop=" in value) == ("qop" in challenge)
    assert ('opaque="o"' in value) == ("opaque" in challenge)
    parsed = dict(item.strip().split("=", 1) for item in value.removeprefix("Digest ").split(","))
    signed = Signed(
        parsed["algorithm"],
        "alice",
        "r",
        "secret",
        "n",
        "REGISTER",
        "sip:ivrea.example",
        parsed.get("qop", ""),
        parsed.get("nc", ""),
        parsed.get("cnonce", "").strip('"'),
        b"body",
    )
    assert parsed["response"] == f'"{signed.response()}"'


def test_the_first_challenge_that_we_have_is_taken() -> None:
    """RFC 8760 section 2.4: servers put what they prefer on top."""
    user, request = client(), register()
    values = [
        f'Digest realm="r", nonce="n", qop="auth", algorithm={name}' for name in ("SHA-512-256", "SHA-256", "MD5")
    ]
    assert user.challenged(challenged(*values), request)
    user.authorize(request)
    assert len(request.headers.all("Authorization")) == 1
    assert "algorithm=SHA-256" in (request.headers.get("Authorization") or "")


def test_proxy_and_server_may_both_ask() -> None:
    user, request = client(), register()
    assert user.challenged(challenged('Digest realm="p", nonce="1"', status=407), request)
    user.authorize(request)
    assert user.challenged(challenged('Digest realm="s", nonce="2"'), request)
    user.authorize(request)
    assert len(request.headers.all("Authorization")) == 1
    assert len(request.headers.all("Proxy-Authorization")) == 1


def test_a_wrong_password_is_not_tried_twice() -> None:
    challenger, user, request = server(), client(password="wrong"), register()
    assert user.challenged(challenged(*challenger.challenges(0.0)), request)
    user.authorize(request)
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "bad"
    assert not user.challenged(challenged(*challenger.challenges(0.0)), request)


def test_a_stale_nonce_is_replaced() -> None:
    challenger, user, request = server(lifetime=60.0), client(), register()
    user.challenged(challenged(*challenger.challenges(0.0)), request)
    user.authorize(request)
    assert challenger.verify(request, PASSWORDS.get, 61.0).result == "stale"
    answer = challenger.challenges(61.0, stale=True)
    assert "stale=true" in answer[0]
    assert user.challenged(challenged(*answer), request)
    user.authorize(request)
    assert challenger.verify(request, PASSWORDS.get, 61.0).result == "ok"


def test_a_nonce_that_had_worked_may_be_challenged_without_stale() -> None:
    user, request = client(), register()
    user.challenged(challenged('Digest realm="r", nonce="1", qop="auth"'), request)
    user.authorize(request)  # worked
    user.authorize(request)  # an hour later
    assert user.challenged(challenged('Digest realm="r", nonce="2", qop="auth"'), request)


def test_a_replay_is_stale() -> None:
    challenger, user, request = server(), client(), register()
    user.challenged(challenged(*challenger.challenges(0.0)), request)
    user.authorize(request)
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "ok"
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "stale"


def test_devices_challenged_at_once_do_not_share_a_nonce() -> None:
    challenger = server()
    for request, user in [(register(), client()) for _ in range(3)]:
        user.challenged(challenged(*challenger.challenges(5.0)), request)
        user.authorize(request)
        assert challenger.verify(request, PASSWORDS.get, 5.0).result == "ok"


def test_replays_are_remembered_within_bounds() -> None:
    challenger = server(remembered=3)
    for index in range(10):
        user, request = client(), register()
        user.challenged(challenged(*challenger.challenges(float(index))), request)
        user.authorize(request)
        assert challenger.verify(request, PASSWORDS.get, float(index)).result == "ok"
    assert len(challenger._counts) == 3


def test_a_nonce_of_a_former_run_is_stale_and_not_wrong() -> None:
    user, request = client(), register()
    user.challenged(challenged(*Challenger("ivrea", b"old key").challenges(0.0)), request)
    user.authorize(request)
    assert server().verify(request, PASSWORDS.get, 0.0).result == "stale"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('uri="sip:ivrea.example"', 'uri="sip:other.example"'),
        ('response="', 'response="0'),
        ("nc=00000001", "nc=1"),
        ("nc=00000001", "nc=0000000x"),
        ("qop=auth", "qop=auth-int"),
        ("algorithm=MD5", "algorithm=SHA-256"),
        ("algorithm=MD5", "algorithm=nonsense"),
        ('username="alice"', 'username="mallory"'),
        ('username="alice"', 'username="\u00e9"'),
        ("cnonce=", "x="),
        ("nonce=", "y="),
    ],
)
def test_lies_are_bad(old: str, new: str) -> None:
    challenger, user, request = server(), client(), register()
    user.challenged(challenged(*challenger.challenges(0.0)), request)
    user.authorize(request)
    value = request.headers.get("Authorization") or ""
    assert old in value
    request.headers.set("Authorization", value.replace(old, new, 1))
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "bad"


@pytest.mark.parametrize(
    "value", ["Digest", "Digest ,,,", "Basic YTpi", 'Digest realm="other", username="alice"', "", '"']
)
def test_what_is_not_for_us_counts_as_missing(value: str) -> None:
    request = register()
    request.headers.add("Authorization", value)
    assert server().verify(request, PASSWORDS.get, 0.0).result == "missing"


def test_other_realms_do_not_hide_ours() -> None:
    challenger, user, request = server(), client(), register()
    user.challenged(challenged('Digest realm="other", nonce="1"', *challenger.challenges(0.0)), request)
    user.authorize(request)
    assert len(request.headers.all("Authorization")) == 2
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "ok"


def test_uri_may_differ_in_port_and_parameters() -> None:
    challenger, user, request = server(), client(), register()
    user.challenged(challenged(*challenger.challenges(0.0)), request)
    user.authorize(request)
    request.uri = "sip:ivrea.example:5060;transport=udp"
    assert challenger.verify(request, PASSWORDS.get, 0.0).result == "ok"


def test_passwords_are_not_printed() -> None:
    assert "secret" not in repr(Credentials("alice", "secret"))


@pytest.mark.parametrize("text", ["qop=auth,auth-int", "qop=auth, auth-int, opaque=o", "qop=auth-int , auth"])
def test_a_list_of_qops_without_its_quotes(text: str) -> None:
    assert Challenge.parse(f'Digest realm="r", nonce="n", {text}').qop == "auth"


@pytest.mark.parametrize("text", ["algorithm=MD5,SHA-256", "x", "qop=auth,,"])
def test_other_values_have_no_commas(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        Challenge.parse(f'Digest realm="r", nonce="n", {text}')
