"""Digest authentication, both ends (RFC 3261 section 22, RFC 7616, RFC 8760).

Client: :class:`DigestClient` answers challenges of 401 and 407. Server: :class:`Challenger`
issues nonces that carry their own time and proof, so that a flood of unauthenticated requests
costs no memory.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from random import Random
from typing import Literal

from engine.sip.grammar import QUOTED, TOKEN, quote, unquote
from engine.sip.message import Request, Response
from engine.sip.uri import Uri

_HASHES: dict[str, Callable[[bytes], hashlib._Hash]] = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}

_SCHEME = re.compile(r"[ \t]*+Digest[ \t]++", re.IGNORECASE)
# auth-param = auth-param-name EQUAL ( token / quoted-string ); digest-uri and the like are in quotes.
_AUTH_PARAM = re.compile(rf"[ \t]*+({TOKEN})[ \t]*+=[ \t]*+({QUOTED}|[^\s,\"]++)[ \t]*+(?:,|$)", re.DOTALL)

_MORE = re.compile(rf"[ \t]*+({TOKEN})[ \t]*+(?:,|$)")

_NC = re.compile(r"[0-9a-fA-F]{8}")
_STAMP = re.compile(r"([0-9a-f]{1,16})-[0-9a-f]{1,16}")


def _auth_params(text: str) -> dict[str, str]:
    """The parameters of a Digest challenge or of credentials, names in lower case, values unquoted."""
    match = _SCHEME.match(text)
    if match is None:
        raise ValueError("not the Digest scheme")
    params: dict[str, str] = {}
    name = ""
    position = match.end()
    while position < len(text):
        match = _AUTH_PARAM.match(text, position)
        if match is not None:
            name = match[1].lower()
            params.setdefault(name, unquote(match[2]))
        else:
            match = _MORE.match(text, position)
            if match is None or name != "qop":
                raise ValueError("malformed authentication parameters")
            params["qop"] += f",{match[1]}"  # qop=auth,auth-int: some forget the quotes around the list
        position = match.end()
    return params


def _base(algorithm: str) -> str:
    """The hash of a digest algorithm: ``MD5`` of ``md5-sess``."""
    return algorithm.upper().removesuffix("-SESS")


def _digest(algorithm: str, *parts: str) -> str:
    return _HASHES[algorithm](":".join(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """What a request-digest is computed over (RFC 7616 section 3.4.1)."""

    algorithm: str
    username: str
    realm: str
    password: str
    nonce: str
    method: str
    uri: str
    qop: str = ""
    nc: str = ""
    cnonce: str = ""
    body: bytes = b""

    def response(self) -> str:
        """The request-digest in hex. ``algorithm`` may end in ``-sess``; raises ``KeyError`` if it is unknown."""
        base = _base(self.algorithm)
        ha1 = _digest(base, self.username, self.realm, self.password)
        if base != self.algorithm.upper():  # -sess
            ha1 = _digest(base, ha1, self.nonce, self.cnonce)
        a2 = [self.method, self.uri]
        if self.qop == "auth-int":
            a2.append(_HASHES[base](self.body).hexdigest())
        ha2 = _digest(base, *a2)
        if self.qop:
            return _digest(base, ha1, self.nonce, self.nc, self.cnonce, self.qop, ha2)
        return _digest(base, ha1, self.nonce, ha2)  # RFC 2069's form, kept for servers without qop


@dataclass(frozen=True, slots=True)
class Challenge:
    """One Digest challenge. ``qop`` is what is chosen of the offer: ``auth``, ``auth-int`` or nothing."""

    realm: str
    nonce: str
    algorithm: str
    qop: str
    opaque: str | None
    stale: bool

    @staticmethod
    def parse(text: str) -> Challenge:
        """Read a WWW-Authenticate or Proxy-Authenticate value.

        Raises ``ValueError``, also for an algorithm or a qop that we do not have.
        """
        params = _auth_params(text)
        if "nonce" not in params:
            raise ValueError("challenge without nonce")
        algorithm = params.get("algorithm", "MD5")
        if _base(algorithm) not in _HASHES:
            raise ValueError(f"unknown digest algorithm {algorithm}")
        offered = [item.strip().lower() for item in params.get("qop", "").split(",") if item.strip()]
        chosen = next((qop for qop in ("auth", "auth-int") if qop in offered), "")
        if offered and not chosen:
            raise ValueError("unknown qop")
        stale = params.get("stale", "").lower() == "true"
        return Challenge(params.get("realm", ""), params["nonce"], algorithm, chosen, params.get("opaque"), stale)


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, …)"


class DigestClient:
    """One user's answers to challenges, for requests that share nonces: a registration, a dialog.

    >>> client.authorize(request)                      # before each request; nothing before a challenge
    >>> if client.challenged(response, request): ...   # on 401 and 407: send it again, authorized anew
    """

    def __init__(self, credentials: Credentials, random: Random) -> None:
        self._credentials = credentials
        self._random = random
        self._known: dict[tuple[str, str], _Answering] = {}  # by header and realm

    def challenged(self, response: Response, request: Request) -> bool:
        """Take in the challenges of a 401 or 407 to ``request``; true if trying again makes sense.

        It does not when no challenge can be answered, or when the credentials just refused were
        computed for a nonce fresh from this server that it does not call stale (section 22.2:
        the password is wrong). How often one request is tried is the caller's to limit.
        """
        proxy = response.status == 407
        header = "Proxy-Authorization" if proxy else "Authorization"
        answerable = False
        seen: set[str] = set()
        for value in response.headers.all("Proxy-Authenticate" if proxy else "WWW-Authenticate"):
            try:
                challenge = Challenge.parse(value)
            except ValueError:
                continue
            if challenge.realm in seen:
                continue  # RFC 8760 section 2.4: the topmost that we support
            seen.add(challenge.realm)
            if not challenge.stale and self._was_fresh(request, header, challenge.realm):
                return False
            self._known[header, challenge.realm] = _Answering(challenge)
            answerable = True
        return answerable

    def _was_fresh(self, request: Request, header: str, realm: str) -> bool:
        for value in request.headers.all(header):
            try:
                params = _auth_params(value)
            except ValueError:
                continue
            if params.get("realm", "") == realm:
                known = self._known.get((header, realm))
                if known is None:
                    return True
                return known.count <= 1 and known.challenge.nonce == params.get("nonce")
        return False

    def authorize(self, request: Request) -> None:
        """Put credentials for all known challenges into ``request``, in place of those it has."""
        for header in {header for header, _ in self._known}:
            request.headers.remove(header)
        for (header, _), answering in self._known.items():
            request.headers.add(header, answering.credentials(self._credentials, request, self._random))


class _Answering:
    """A challenge and how often its nonce was used."""

    __slots__ = ("challenge", "count")

    def __init__(self, challenge: Challenge) -> None:
        self.challenge = challenge
        self.count = 0

    def credentials(self, who: Credentials, request: Request, random: Random) -> str:
        challenge = self.challenge
        self.count += 1
        nc = f"{self.count:08x}" if challenge.qop else ""
        needs_cnonce = challenge.qop or challenge.algorithm.upper().endswith("-SESS")
        cnonce = f"{random.getrandbits(64):016x}" if needs_cnonce else ""
        signed = Signed(
            challenge.algorithm,
            who.username,
            challenge.realm,
            who.password,
            challenge.nonce,
            request.method,
            request.uri,
            challenge.qop,
            nc,
            cnonce,
            request.body,
        )
        fields = [
            f"username={quote(who.username)}",
            f"realm={quote(challenge.realm)}",
            f"nonce={quote(challenge.nonce)}",
            f"uri={quote(request.uri)}",
            f'response="{signed.response()}"',
            f"algorithm={challenge.algorithm}",
        ]
        if cnonce:
            fields.append(f'cnonce="{cnonce}"')
        if challenge.qop:
            fields += [f"qop={challenge.qop}", f"nc={nc}"]  # neither is quoted (RFC 7616 section 3.4)
        if challenge.opaque is not None:
            fields.append(f"opaque={quote(challenge.opaque)}")
        return "Digest " + ", ".join(fields)


@dataclass(frozen=True, slots=True)
class Verdict:
    """``ok``; ``stale``: right password, used nonce; ``bad``: refuse; ``missing``: challenge."""

    result: Literal["ok", "stale", "bad", "missing"]
    username: str = ""


class Challenger:
    """Issues challenges and judges credentials for one realm.

    A nonce is ``time-serial.proof``: its age and origin are checked from itself. Only nonces that were
    answered correctly are remembered, with their highest count, so that a captured request cannot
    be replayed; at most ``remembered`` of them, the oldest forgotten first.
    """

    def __init__(
        self,
        realm: str,
        secret: bytes,
        *,
        lifetime: float = 300.0,
        algorithms: tuple[str, ...] = ("MD5",),
        remembered: int = 20_000,
    ) -> None:
        """``lifetime`` of a nonce in seconds; ``algorithms`` in order of preference (RFC 8760 section 2.3)."""
        self.realm = realm
        self._secret = secret
        self._lifetime = lifetime
        self._algorithms = algorithms
        self._remembered = remembered
        self._serial = count(1)  # two devices challenged in the same millisecond share no nonce
        self._counts: OrderedDict[str, int] = OrderedDict()

    def challenges(self, now: float, *, stale: bool = False) -> list[str]:
        """Values for WWW-Authenticate, one header line each."""
        nonce = self._nonce(f"{int(now * 1000):x}-{next(self._serial):x}")
        tail = ", stale=true" if stale else ""
        return [
            f'Digest realm={quote(self.realm)}, nonce="{nonce}", algorithm={algorithm}, qop="auth"{tail}'
            for algorithm in self._algorithms
        ]

    def _nonce(self, stamp: str) -> str:
        proof = hmac.new(self._secret, f"{stamp}:{self.realm}".encode(), hashlib.sha256).hexdigest()[:32]
        return f"{stamp}.{proof}"

    def claimed(self, request: Request) -> str:
        """The user whom the credentials of ``request`` speak of, not verified; empty without credentials for us."""
        return (self._credentials(request) or {}).get("username", "")

    def verify(self, request: Request, lookup: Callable[[str], str | None], now: float) -> Verdict:
        """Judge the Authorization of ``request``; ``lookup`` gives the password of a user, or ``None``."""
        params = self._credentials(request)
        if params is None:
            return Verdict("missing")
        username = params.get("username", "")
        signed = self._signed(params, request)
        if signed is None:
            return Verdict("bad", username)
        password = lookup(username)
        # Computed for unknown users too: time does not tell which users exist.
        expected = replace(signed, password=password or "").response()
        right = hmac.compare_digest(expected.encode(), params.get("response", "").lower().encode())
        if password is None or not right:
            return Verdict("bad", username)
        if not self._is_young(signed.nonce, now) or not self._count(signed):
            return Verdict("stale", username)
        return Verdict("ok", username)

    def _signed(self, params: dict[str, str], request: Request) -> Signed | None:
        """What the credentials claim to be computed over, ``None`` if that is nothing we asked for."""
        algorithm = params.get("algorithm", "MD5")
        qop = params.get("qop", "").lower()
        nc = params.get("nc", "")
        if (
            _base(algorithm) not in self._algorithms
            or qop not in ("auth", "")
            or (qop and _NC.fullmatch(nc) is None)
            or not _same_resource(params.get("uri", ""), request.uri)
        ):
            return None
        return Signed(
            algorithm,
            params.get("username", ""),
            self.realm,
            "",
            params.get("nonce", ""),
            request.method,
            params["uri"],
            qop,
            nc,
            params.get("cnonce", ""),
        )

    def _credentials(self, request: Request) -> dict[str, str] | None:
        """The parameters of the credentials for our realm, ``None`` when there are none we can read."""
        for value in request.headers.all("Authorization"):
            try:
                params = _auth_params(value)
            except ValueError:
                continue  # an unknown scheme is as if absent (RFC 4475 section 3.3.7)
            if params.get("realm") == self.realm:
                return params
        return None

    def _is_young(self, nonce: str, now: float) -> bool:
        """True for a nonce of ours, not older than its lifetime.

        One of a former run of ours is as good as an old one: its owner gets a new one, not a refusal.
        """
        stamp = nonce.partition(".")[0]
        match = _STAMP.fullmatch(stamp)
        if match is None or not hmac.compare_digest(self._nonce(stamp).encode(), nonce.encode()):
            return False
        return now - int(match[1], 16) / 1000 <= self._lifetime

    def _count(self, signed: Signed) -> bool:
        """True if this use of the nonce is new (RFC 7616 section 3.4: nc detects replays)."""
        uses = int(signed.nc, 16) if signed.qop else 1
        if uses <= self._counts.get(signed.nonce, 0):
            return False
        self._counts[signed.nonce] = uses
        self._counts.move_to_end(signed.nonce)
        if len(self._counts) > self._remembered:
            self._counts.popitem(last=False)
        return True


def _same_resource(claimed: str, requested: str) -> bool:
    """RFC 7616 section 3.4.6: the digest-uri is the Request-URI, give or take its parameters and port."""
    if claimed == requested:
        return True
    try:
        left, right = Uri.parse(claimed), Uri.parse(requested)
    except ValueError:
        return False
    return left.is_sip and right.is_sip and (left.user, left.host.lower()) == (right.user, right.host.lower())
