"""Proof that a webhook comes from here: a JWT of the platform's newer scheme, and an HMAC of the body.

``MessageBird-Signature-JWT`` (RFC 7519, HS256 keyed with the webhook's token) has the claims ``iss`` ``MessageBird``,
``nbf``, ``exp``, ``jti``, ``url_hash`` and ``payload_hash``: SHA-256 in hex of the URL as it is asked for, and of the
body. ``X-MessageBird-Signature`` is the HMAC-SHA256 of the body, in hex.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping

from engine.callbacks.urls import Refused, target

SIGNER = "messagebird"
"""The name of the scheme in :data:`engine.callbacks.signing.SIGNERS`."""

LIFETIME = 60
"""Seconds for which a token is good; each attempt has a new one."""


def sign(url: str, body: bytes, secret: str, now: float) -> Mapping[str, str]:
    """The headers of one attempt. ``now`` is in seconds since the epoch."""
    if not secret:
        return {}
    try:
        asked = str(target(url).url)
    except Refused:  # it will not be asked for
        asked = url
    key = secret.encode("utf-8", "replace")
    claims: dict[str, str | int] = {
        "iss": "MessageBird",
        "nbf": int(now),
        "exp": int(now) + LIFETIME,
        "jti": str(uuid.uuid4()),
        "url_hash": hashlib.sha256(asked.encode()).hexdigest(),
    }
    if body:
        claims["payload_hash"] = hashlib.sha256(body).hexdigest()
    return {
        "MessageBird-Signature-JWT": _jwt(claims, key),
        "X-MessageBird-Signature": hmac.new(key, body, hashlib.sha256).hexdigest(),
    }


def _jwt(claims: Mapping[str, str | int], key: bytes) -> str:
    """A JSON Web Signature in its compact form (RFC 7515, section 3.1)."""
    header = {"alg": "HS256", "typ": "JWT"}
    signed = b".".join(_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return b".".join((signed, _base64url(hmac.new(key, signed, hashlib.sha256).digest()))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
