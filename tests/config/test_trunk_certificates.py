"""Whose certificates trunks are believed by: those of the file, and those that are in the database alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog
from pki import Authority

from engine.config import Config, TrunkConfig
from engine.security import read_certificates
from engine.transport.certificates import CertificateError


def trunk(name: str, host: str, **keys: object) -> dict[str, object]:
    return {"name": name, "host": host, **keys}


def test_trunks_of_the_database_are_asked_for_what_is_said_of_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = Config.given(
        {
            "trunks": [
                trunk("proxied", "tls:far.example", outbound_proxy="tls:edge.example:5071", tls_verify="none"),
                trunk("plain", "far.example"),
            ]
        }
    )
    more = {
        "acme/own": trunk("own", "tls:own.example", tls_verify="wildcard", tls_ca=str(authority.file)),
        "acme/bad": trunk("bad", "tls:bad.example", tls_verify="none", tls_cert=str(tmp_path / "no.pem"), tls_key="y"),
        "proxied": trunk("proxied", "tls:other.example"),
    }
    with structlog.testing.capture_logs() as logs:
        book = read_certificates(config, {label: TrunkConfig.model_validate(keys) for label, keys in more.items()})
    assert {place: client.verification for place, client in book.clients.items()} == {
        ("edge.example", 5071): "none",
        ("own.example", 5061): "wildcard",
    }
    assert [(line["event"], line["trunk"]) for line in logs] == [("trunk_certificates_not_usable", "acme/bad")]
    assert book.client("bad.example", 5061).verification == "name"
    bad = Config.given({"trunks": [more["acme/bad"]]})
    with pytest.raises(CertificateError, match=r"trunks\[bad\]"):
        read_certificates(bad)
