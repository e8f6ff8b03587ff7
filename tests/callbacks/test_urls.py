"""URLs: kept as they are, made fit for the wire, and judged by where they lead."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.callbacks.urls import Refused, check_address, literal_address, target, with_query


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h/x", "http://h/x?e=open&path=a%20b"),
        ("http://h/x?session=d00de", "http://h/x?session=d00de&e=open&path=a%20b"),
        ("http://h/x?", "http://h/x?e=open&path=a%20b"),
        ("http://h/x?a=1&", "http://h/x?a=1&e=open&path=a%20b"),
        ("http://h/x?a=%2F+%zz&e=1", "http://h/x?a=%2F+%zz&e=1&e=open&path=a%20b"),
        (" http://h/x#part?y ", "http://h/x?e=open&path=a%20b"),
        ("http://h?a", "http://h?a&e=open&path=a%20b"),
    ],
)
def test_our_query_comes_after_the_urls_own(url: str, expected: str) -> None:
    assert with_query(url, [("e", "open"), ("path", "a b")]) == expected
    assert with_query("http://h/x?a=1#f", []) == "http://h/x?a=1"


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
            st.text(st.characters(exclude_categories=["Cs"])),
        )
    )
)
def test_parameters_arrive_as_they_were(params: list[tuple[str, str]]) -> None:
    url = target(with_query("http://h/?own=1", params)).url
    arrived = parse_qsl(url.raw_query_string, keep_blank_values=True, max_num_fields=None)
    assert arrived == [("own", "1"), *params]


@pytest.mark.parametrize(
    ("url", "raw", "host"),
    [
        ("http://adresa_url/serviciuCallback", "http://adresa_url/serviciuCallback", "adresa_url"),
        ("HTTP://Example.NET:8080/%7Ea%2fb?q=%20+", "http://example.net:8080/%7Ea%2fb?q=%20+", "example.net"),
        ("https://h/my path/ă?x=ț y", "https://h/my%20path/%C4%83?x=%C8%9B%20y", "h"),
        ("http://h/a\tb\nc", "http://h/abc", "h"),  # as urlsplit and browsers do
        ("http://h/%", "http://h/%", "h"),
        ("http://mă_na.ro/", "http://xn--m_na-g0a.ro/", None),
        ("http://münchen.example/", "http://xn--mnchen-3ya.example/", "xn--mnchen-3ya.example"),
        ("http://[2001:db8::1]:81/x", "http://[2001:db8::1]:81/x", "2001:db8::1"),
        ("http://me:pass@h/x", "http://me:pass@h/x", "h"),
        ("http://h", "http://h/", "h"),
    ],
)
def test_urls_for_the_wire(url: str, raw: str, host: str | None) -> None:
    there = target(url)
    if host is None:  # the one form or the other of a name that IDNA does not know
        assert there.host.isascii()
        assert there.host.startswith("xn--")
    else:
        assert (str(there.url), there.host) == (raw, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h/x",
        "//h/x",
        "ftp://h/x",
        "file:///etc/passwd",
        "gopher://h/",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "http://h:99999/",
        "http://h:x/",
        "http://[::1",
        "http://[fe80::1%25eth0]/",
        "http://a b/",
        "http://h\\@evil/",
        "http://%31%32%37.0.0.1/",
        "http://h/" + "x" * 9000,
        "http://" + "ä" * 300 + "/",
        "http://\u2100.example\u2044/",
    ],
)
def test_what_is_no_url_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(Refused):
        target(url)


@given(st.text())
def test_any_text_is_a_target_or_refused(text: str) -> None:
    for url in (text, f"http://{text}", f"http://h/{text}"):
        try:
            there = target(url)
        except Refused:
            continue
        line = str(there.url)
        assert line.isascii()
        assert not any(character in line for character in " \r\n\t\0")
        assert urlsplit(line).scheme in ("http", "https")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "192.0.2.1", "198.18.0.1", "::1", "fe80::1", "fc00::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1", "0.1.2.3",
    ],
)  # fmt: skip
def test_private_addresses_only_when_allowed(address: str) -> None:
    ip = ipaddress.ip_address(address)
    with pytest.raises(Refused, match="private"):
        check_address(ip, allow_private=False)
    check_address(ip, allow_private=True)


@pytest.mark.parametrize("address", ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0"])
def test_addresses_of_no_host_never(address: str) -> None:
    for allow in (False, True):
        with pytest.raises(Refused):
            check_address(ipaddress.ip_address(address), allow_private=allow)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    check_address(ipaddress.ip_address(address), allow_private=False)


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.01", "1"])
def test_odd_spellings_of_addresses_are_refused(host: str) -> None:
    with pytest.raises(Refused, match="spelling"):
        literal_address(host)


def test_names_are_no_addresses() -> None:
    assert literal_address("example.net") is None
    assert literal_address("a_b") is None
    assert literal_address("::1") == ipaddress.ip_address("::1")
