"""URIs (RFC 3261 section 19.1, RFC 3966) and the addresses around them (section 20.10)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from functools import lru_cache

from engine.sip.grammar import (
    QUOTED,
    Params,
    escape,
    find_param,
    read_params,
    set_param,
    skip_space,
    split_list,
    unescape,
    unquote,
    write_display_name,
    write_params,
)

_ESCAPED = "%[0-9A-Fa-f]{2}"
# user = 1*( unreserved / escaped / user-unreserved ); "#" is sent bare by phones that dial feature codes.
_USER = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/#]|{_ESCAPED})++"
# password = *( unreserved / escaped / "&" / "=" / "+" / "$" / "," )
_PASSWORD = rf"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|{_ESCAPED})*+"
# host = hostname / IPv4address / IPv6reference; "_" is in the names of many hosts all the same.
_HOST = r"\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9_][A-Za-z0-9._\-]*+"
# uri-parameter: 1*paramchar [ "=" 1*paramchar ]; "=" inside a value is tolerated (base64).
_PARAMCHAR = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/:&+$]|{_ESCAPED})"
_PARAM = rf";{_PARAMCHAR}++(?:=(?:{_PARAMCHAR}|=)*+)?"
# headers = "?" header *( "&" header ); hname and hvalue share one alphabet here.
_HEADERS = rf"(?:[A-Za-z0-9\-_.!~*'()\[\]/?:+$&=]|{_ESCAPED})++"

_SIP = re.compile(
    rf"(sips?):(?:({_USER})(?::({_PASSWORD}))?@)?({_HOST})(?::([0-9]{{1,5}}))?((?:{_PARAM})*+)(?:\?({_HEADERS}))?",
    re.IGNORECASE,
)
# What phones and gateways send in addresses (From, To, Contact, …) beyond the grammar, with one meaning all the same:
# an empty user, bare letters and "%" in it, port 0, empty parameters, "@" in the value of one.
_LOOSE_PARAM = rf";(?:{_PARAMCHAR}++(?:=(?:{_PARAMCHAR}|[=@])*+)?)?"
_LOOSE_SIP = re.compile(
    r"(sips?):(?:([^\s@<>\":]*+)(?::([^\s@<>\"]*+))?@)?"
    rf"({_HOST})(?::(?:0|([0-9]{{1,5}})))?((?:{_LOOSE_PARAM})*+)(?:\?({_HEADERS}))?",
    re.IGNORECASE,
)
# RFC 3966: "tel:" subscriber, with visual separators, then parameters.
_TEL = re.compile(rf"tel:(\+?[0-9A-Fa-f*#\-.()]++)((?:{_PARAM})*+)", re.IGNORECASE)
# absoluteURI (RFC 2396): a scheme and what is visible ASCII but no delimiter of ours.
_ABSOLUTE = re.compile(r"([A-Za-z][A-Za-z0-9+\-.]*+):([!#-;=?-~]++)")

_USER_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/]")
_PASSWORD_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,]")
_PARAM_SAFE = re.compile(r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$]")

_COMPARED_PARAMS = frozenset({"user", "ttl", "method", "maddr", "transport"})


@dataclass(frozen=True, slots=True)
class Uri:
    """A SIP, SIPS or tel URI; any other absolute URI is kept as ``opaque``.

    ``user``, ``password`` and ``params`` are unescaped text (escaped control characters stay
    escaped); ``host`` keeps the brackets of an IPv6 reference; ``headers`` is the text after
    ``?``, as it was. Of a tel URI, ``user`` is the number and ``host`` is empty.
    A parsed URI prints as it was read.
    """

    scheme: str
    user: str | None = None
    password: str | None = None
    host: str = ""
    port: int | None = None
    params: Params = ()
    headers: str = ""
    opaque: str = ""
    _text: str = field(default="", compare=False, repr=False)

    @staticmethod
    def parse(text: str) -> Uri:
        """Read a URI without angle brackets around it. Raises ``ValueError``."""
        return _parse_uri(text)

    def __str__(self) -> str:
        return self._text or self._write()

    def _write(self) -> str:
        if self.opaque:
            return f"{self.scheme}:{self.opaque}"
        params = write_params(
            tuple(
                (escape(name, _PARAM_SAFE), None if value is None else escape(value, _PARAM_SAFE))
                for name, value in self.params
            )
        )
        user = "" if self.user is None else escape(self.user, _USER_SAFE)
        if self.scheme == "tel":
            return f"tel:{user}{params}"
        if self.password is not None:
            user += ":" + escape(self.password, _PASSWORD_SAFE)
        at = "" if self.user is None else "@"
        port = "" if self.port is None else f":{self.port}"
        headers = f"?{self.headers}" if self.headers else ""
        return f"{self.scheme}:{user}{at}{self.host}{port}{params}{headers}"

    # --- what is asked for most ---------------------------------------------------------

    @property
    def is_sip(self) -> bool:
        return self.scheme in ("sip", "sips")

    @property
    def address(self) -> str:
        """The host as sockets want it: an IPv6 reference without its brackets."""
        return self.host[1:-1] if self.host.startswith("[") else self.host

    @property
    def escaped_user(self) -> str:
        """``user`` as it may stand in a URI: for building one as text."""
        return escape(self.user or "", _USER_SAFE)

    @property
    def transport(self) -> str | None:
        """The ``transport`` parameter in lower case, ``None`` when there is none (section 19.1.1)."""
        value = find_param(self.params, "transport")
        return value.lower() if value else None

    @property
    def lr(self) -> bool:
        """True for a loose router (section 19.1.1)."""
        return find_param(self.params, "lr") is not None

    def param(self, name: str) -> str | None:
        """Value of a URI parameter, ``""`` when it has none, ``None`` when it is absent."""
        return find_param(self.params, name.lower())

    def with_param(self, name: str, value: str | None = None) -> Uri:
        return replace(self, params=set_param(self.params, name.lower(), value), _text="")

    def without_params(self, *names: str) -> Uri:
        """Without these parameters (lower case); without any when none is named."""
        kept = tuple(item for item in self.params if names and item[0].lower() not in names)
        return replace(self, params=kept, _text="")

    def as_request_uri(self) -> Uri:
        """What may stand in a Request-URI: no headers, no ``method`` (table of section 19.1.1)."""
        if not self.headers and find_param(self.params, "method") is None:
            return self
        return replace(self.without_params("method"), headers="", _text="")

    def matches(self, other: Uri) -> bool:
        """Equality by the rules of section 19.1.4."""
        if not self.is_sip or not other.is_sip:
            return str(self).lower() == str(other).lower()
        return (
            self.scheme == other.scheme
            and self.user == other.user
            and self.password == other.password
            and self.host.lower() == other.host.lower()
            # "A URI omitting any component with a default value will not match a URI explicitly containing" it.
            and self.port == other.port
            and _params_match(self.params, other.params)
            and _header_set(self.headers) == _header_set(other.headers)
        )


def _params_match(ours: Params, theirs: Params) -> bool:
    left = {name.lower(): (value or "").lower() for name, value in ours}
    right = {name.lower(): (value or "").lower() for name, value in theirs}
    for name in left.keys() | right.keys():
        if name in left and name in right:
            if left[name] != right[name]:
                return False
        elif name in _COMPARED_PARAMS:  # "never ignored when comparing"
            return False
    return True


def _header_set(headers: str) -> frozenset[tuple[str, str]]:
    """Headers of a URI, order and case of names aside."""
    if not headers:
        return frozenset()
    pairs = (item.partition("=") for item in headers.split("&"))
    return frozenset((unescape(name).lower(), unescape(value)) for name, _, value in pairs)


@lru_cache(maxsize=2048)
def _parse_uri(text: str) -> Uri:
    match = _SIP.fullmatch(text)
    if match is not None:
        return _sip_uri(text, match)
    scheme = text[:5].lower()
    if scheme.startswith(("sip:", "sips:")):
        raise ValueError("malformed SIP URI")
    match = _TEL.fullmatch(text)
    if match is not None:
        return Uri("tel", user=match[1], params=_uri_params(match[2]), _text=text)
    if scheme.startswith("tel:"):
        raise ValueError("malformed tel URI")
    match = _ABSOLUTE.fullmatch(text)
    if match is None:
        raise ValueError("not a URI")
    return Uri(match[1].lower(), opaque=match[2], _text=text)


def _parse_loosely(text: str) -> Uri:
    """The URI of an address: peers' mistakes that leave the meaning clear are let pass."""
    try:
        return _parse_uri(text)
    except ValueError:
        match = _LOOSE_SIP.fullmatch(text)
        if match is None:
            raise
    return _sip_uri(text, match)


def _sip_uri(text: str, match: re.Match[str]) -> Uri:
    scheme, user, password, host, port, params, headers = match.groups()
    if host[0] == "[":
        host = check_ipv6(host)
    return Uri(
        scheme.lower(),
        None if user is None else unescape(user),
        None if password is None else unescape(password),
        host,
        None if port is None else check_port(port),
        _uri_params(params) if params else (),
        headers or "",
        "",
        text,
    )


def _uri_params(text: str) -> Params:
    params: list[tuple[str, str | None]] = []
    for item in text.split(";"):
        if not item:
            continue
        name, equals, value = item.partition("=")
        params.append((unescape(name), unescape(value) if equals else None))
    return tuple(params)


def check_port(digits: str) -> int:
    port = int(digits)
    if not 0 < port < 65536:
        raise ValueError("port out of range")
    return port


def check_ipv6(host: str) -> str:
    """``host`` if it is an IPv6 reference: ``[2001:db8::1]``. Raises ``ValueError`` otherwise.

    The third colon that RFC 3261's grammar lets stand before an IPv4 tail is taken out (RFC 5118 section 4.10).
    """
    if ":::" in host and "." in host:
        host = host.replace(":::", "::", 1)
    ipaddress.IPv6Address(host[1:-1])
    return host


# name-addr = [ display-name ] LAQUOT addr-spec RAQUOT; a display name that should have been quoted is
# tolerated as long as it holds no separator of addresses. Neither bracket may have space inside.
_NAME_ADDR = re.compile(rf'[ \t]*+(?:({QUOTED})|([^"<>,]*+))[ \t]*+<([^<>"\s]++)>', re.DOTALL)
# addr-spec without brackets: "," ";" and "?" end it (section 20: they need brackets).
_ADDR_SPEC = re.compile(r'[ \t]*+([^<>"\s,;?]++)')


@dataclass(frozen=True, slots=True)
class Address:
    """``"Display" <uri>;params``: the value of From, To, Contact, Route and their like."""

    uri: Uri
    display: str = ""
    params: Params = ()

    @staticmethod
    def parse(text: str) -> Address:
        """Read exactly one address. Raises ``ValueError``."""
        return _parse_address(text)

    @staticmethod
    def parse_many(text: str) -> tuple[Address, ...]:
        """Read a comma-separated list of addresses. Raises ``ValueError``."""
        return tuple([_parse_address(item) for item in split_list(text)])

    def __str__(self) -> str:
        display = write_display_name(self.display) + " " if self.display else ""
        return f"{display}<{self.uri}>{write_params(self.params)}"

    @property
    def tag(self) -> str:
        """The ``tag`` parameter, empty when there is none."""
        return find_param(self.params, "tag") or ""

    def with_tag(self, tag: str) -> Address:
        return self.with_param("tag", tag)

    def param(self, name: str) -> str | None:
        """Value of a header parameter, ``""`` when it has none, ``None`` when it is absent."""
        return find_param(self.params, name.lower())

    def with_param(self, name: str, value: str | None = None) -> Address:
        return replace(self, params=set_param(self.params, name.lower(), value))


def _parse_address(text: str) -> Address:
    match = _NAME_ADDR.match(text)
    if match is not None:
        quoted, bare, uri = match.groups()
        display = unquote(quoted) if quoted else bare.strip()
    else:
        match = _ADDR_SPEC.match(text)
        if match is None:
            raise ValueError("malformed address")
        uri, display = match[1], ""
    params, end = read_params(text, match.end())
    if end != len(text) and skip_space(text, end) != len(text):
        raise ValueError("malformed address parameters")
    return Address(_parse_loosely(uri), display, params)
