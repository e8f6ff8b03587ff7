"""For which SIP domains a certificate speaks: RFC 5922 section 7."""

from __future__ import annotations

from typing import Any

import pytest

from engine.transport.certificates import identities, speaks_for

COMMON = ((("commonName", "common.example"),),)


@pytest.mark.parametrize(
    ("certificate", "names"),
    [
        ({"subject": COMMON}, ("common.example",)),
        ({"subject": COMMON, "subjectAltName": (("DNS", "Sip.Example"),)}, ("sip.example",)),
        (
            {"subjectAltName": (("DNS", "host.example"), ("URI", "sip:example.com"), ("URI", "sip:example.org"))},
            ("example.com", "example.org"),
        ),
        ({"subjectAltName": (("URI", "sip:bob@example.com"), ("DNS", "host.example"))}, ("host.example",)),
        ({"subject": COMMON, "subjectAltName": (("URI", "https://example.com"),)}, ()),
        ({"subject": COMMON, "subjectAltName": (("IP Address", "192.0.2.1"),)}, ("common.example", "192.0.2.1")),
        ({}, ()),
    ],
)
def test_whom_a_certificate_names(certificate: dict[str, Any], names: tuple[str, ...]) -> None:
    assert identities(certificate) == names


@pytest.mark.parametrize(
    ("name", "host", "strict", "lenient"),
    [
        ("example.com", "EXAMPLE.com.", True, True),
        ("example.com", "sip.example.com", False, False),
        ("*.example.com", "sip.example.com", False, True),
        ("*.example.com", "a.sip.example.com", False, False),
        ("*.example.com", "example.com", False, False),
        ("*.com", "example.com", False, False),
        ("*.0.2.1", "192.0.2.1", False, False),
        ("2001:DB8:0:0:0:0:0:1", "[2001:db8::1]", True, True),
    ],
)
def test_names_are_compared_whole(name: str, host: str, strict: bool, lenient: bool) -> None:
    names = (name.lower(),)
    assert (speaks_for(names, host), speaks_for(names, host, wildcards=True)) == (strict, lenient)
