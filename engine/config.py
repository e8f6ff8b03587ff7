"""The configuration: one TOML file, overridden by ``IVREA_SECTION__KEY`` in the environment.

:func:`load` gives a frozen :class:`Config` in which every path is absolute, or raises
:class:`ConfigError`, which names the field, where its value came from and what is wrong with it.
Unknown keys are refused. Times are in seconds unless a key ends in ``_ms``.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from engine.accountkeys import AccountKeys
from engine.addresses import (
    Address,
    by_dns,
    is_wildcard,
    parse_address,
    parse_peer,
    parse_rewrite,
    plain_number,
    split_host,
)
from engine.callflow import CallflowKeys
from engine.sip.offer_answer import CODECS
from flows.dialects import DIALECTS
from flows.listening import Settings

__all__ = [
    "Address",
    "CallConfig",
    "CallbackConfig",
    "Config",
    "ConfigError",
    "DeviceConfig",
    "HttpConfig",
    "MailboxConfig",
    "NumberConfig",
    "RealtimeConfig",
    "RtpConfig",
    "SipConfig",
    "SpeechConfig",
    "StoreConfig",
    "TrunkConfig",
    "load",
    "parse_address",
    "plain_number",
    "split_host",
]

ENVIRONMENT_PREFIX = "IVREA_"
DEFAULT_FILE = "ivrea.toml"

_NUMBER = re.compile(r"\+?[0-9A-Za-z_.~!$&=#-]*\*?")
_PORTS = re.compile(r"(\d{1,5})\s*-\s*(\d{1,5})")


class ConfigError(ValueError):
    """The configuration cannot be used; the text has one line per field that is wrong."""


# --- kinds of values --------------------------------------------------------------------


def _split_list(value: object) -> object:
    """A list in the environment: a JSON array, or items separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            pass  # an IPv6 literal in brackets
    return [item.strip() for item in value.split(",") if item.strip()]


def _listen_address(text: str) -> str:
    return str(parse_address(text))


def _http_address(text: str) -> str:
    split_host(text, None)
    return text


def _advertised_host(text: str) -> str:
    if text:
        host, _ = split_host(text, 0)
        if is_wildcard(host):
            raise ValueError(f"{text!r} cannot be reached by anyone; name the address that peers shall use")
    return text


def _advertised_address(text: str) -> str:
    if text and is_wildcard(str(ipaddress.ip_address(text))):
        raise ValueError(f"{text!r} cannot be reached by anyone; name the address that peers shall use")
    return text


def _port_range(text: str) -> str:
    match = _PORTS.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r}: written as LOW-HIGH, for example 16384-32767")
    low, high = int(match[1]), int(match[2])
    if not 1 <= low < high <= 65535 or high - low - (low & 1) < 1:
        raise ValueError(f"{text!r}: must hold at least one even port and the odd one after it, within 1-65535")
    return f"{low}-{high}"


def _codec(text: str) -> str:
    if (name := text.upper()) not in CODECS:
        raise ValueError(f"{text!r}: one of {', '.join(CODECS)}")
    return name


def _dialect(text: str) -> str:
    if text and text not in DIALECTS:
        raise ValueError(f"{text!r}: one of {', '.join(DIALECTS)}")
    return text


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def _web_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise ValueError(f"{text!r}: must be an http or https URL without query, or empty")
    return text.rstrip("/")


def _database_url(text: str) -> str:
    """Complete the driver: ``sqlite:`` and ``postgresql:`` mean the asynchronous ones."""
    scheme, separator, rest = text.partition("://")
    driver = {
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
    }.get(scheme)
    if not separator or driver is None:
        raise ValueError("must begin with sqlite+aiosqlite:// or postgresql+asyncpg://")
    return f"{driver}://{rest}"


def _dialled_number(text: str) -> str:
    number = plain_number(text)
    if not number or not _NUMBER.fullmatch(number):
        raise ValueError(f"{text!r}: a number, a prefix that ends in *, or * alone")
    return number


def _name_server(text: str) -> str:
    host, _ = split_host(text, 53)
    ipaddress.ip_address(host)
    return text


def _trunk_host(text: str) -> str:
    parse_peer(text)
    return text


def _outbound_proxy(text: str) -> str:
    return _trunk_host(text) if text else ""


def _sip_host(text: str) -> str:
    if text:
        split_host(text, 0)
    return text


def _rewrite(text: str) -> str:
    parse_rewrite(text)
    return text


def _pin(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() and not re.fullmatch(r"[0-9]{4,12}", secret.get_secret_value()):
        raise ValueError("4 to 12 digits")
    return secret


def _notify_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+([/?]\S*)?", text):
        raise ValueError(f"{text!r}: must be an http or https URL, or empty")
    return text


def _time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"{text!r} is no time zone; for example Europe/Rome") from error
    return text


TextList = Annotated[list[str], NoDecode, BeforeValidator(_split_list)]
ListenAddresses = Annotated[
    list[Annotated[str, AfterValidator(_listen_address)]], NoDecode, BeforeValidator(_split_list), Field(min_length=1)
]
Codecs = Annotated[
    list[Annotated[str, AfterValidator(_codec)]], NoDecode, BeforeValidator(_split_list), Field(min_length=1)
]
Networks = Annotated[list[Annotated[str, AfterValidator(_network)]], NoDecode, BeforeValidator(_split_list)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Rewrites = Annotated[list[Annotated[str, AfterValidator(_rewrite)]], NoDecode, BeforeValidator(_split_list)]
DEVICE_REDIRECTS = ("no", "inside", "numbers", "any")
SrtpPolicy = Literal["", "off", "optional", "required"]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def _refuse_half(certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise ValueError("tls_cert and tls_key belong together: set both or neither")


# --- sections ---------------------------------------------------------------------------


class SipConfig(Section):
    """``[sip]``: where SIP is spoken and who may call."""

    listen: ListenAddresses = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
    """Addresses to listen on, ``udp:``, ``tcp:`` or ``tls:HOST:PORT``; IPv6 in brackets; port 0: any free one."""
    advertise: Annotated[str, AfterValidator(_advertised_host)] = ""
    """Host or ``HOST:PORT`` for Via and Contact when behind NAT. Empty: the local address towards each peer."""
    open: bool = False
    """Take calls from anyone. Otherwise only from trunks and registered devices."""
    digest: Annotated[list[Literal["MD5", "SHA-256"]], NoDecode, BeforeValidator(_split_list), Field(min_length=1)] = [
        "MD5"
    ]
    """Algorithms that devices are challenged with, the preferred one first. Many telephones give up when the first of
    two is one that they do not know."""
    dns: Annotated[list[Annotated[str, AfterValidator(_name_server)]], NoDecode, BeforeValidator(_split_list)] = []
    """Name servers, ``ADDRESS:PORT``, that are asked for NAPTR and SRV records. Empty: those of the system."""
    tls_cert: str = ""
    """PEM file with the certificate chain that is shown to those who connect by TLS; needed for ``tls:`` addresses."""
    tls_key: str = ""
    """PEM file with the private key of :attr:`tls_cert`."""
    tls_ca: str = ""
    """PEM file with the authorities whose certificates are believed. Empty: those of the system."""
    tls_verify_clients: bool = False
    """Take TLS connections only from those who show a certificate that :attr:`tls_ca` vouches for."""

    @model_validator(mode="after")
    def _certificates(self) -> SipConfig:
        _refuse_half(self.tls_cert, self.tls_key)
        if not self.tls_cert and any(address.transport == "tls" for address in self.addresses):
            raise ValueError("tls_cert and tls_key are needed to listen on a tls: address")
        if self.tls_verify_clients and not self.tls_ca:
            raise ValueError("tls_ca is needed to verify clients")
        return self

    @property
    def addresses(self) -> tuple[Address, ...]:
        """:attr:`listen`, taken apart."""
        return tuple(parse_address(text) for text in self.listen)

    @property
    def advertised(self) -> tuple[str, int] | None:
        """:attr:`advertise` as host and port (0: the port listened on), or ``None``."""
        return split_host(self.advertise, 0) if self.advertise else None


class RtpConfig(Section):
    """``[rtp]``: ports and processes for sound."""

    ports: Annotated[str, AfterValidator(_port_range)] = "16384-32767"
    """UDP ports for RTP (even) and RTCP (odd), ``LOW-HIGH``, both included."""
    advertise: Annotated[str, AfterValidator(_advertised_address)] = ""
    """IP address for SDP when behind NAT. Empty: the local address towards each peer."""
    workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Media worker processes. 0: one for each core but one, at least one."""
    timeout: Seconds = 60.0
    """Seconds without a packet after which a call is ended (not while it is held). 0: never."""
    codecs: Codecs = ["PCMU", "PCMA", "G722", "L16"]
    """Codecs that calls may use, of PCMU, PCMA, G722 and L16, in the order in which we offer them."""
    max_busy: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Share of a core that a worker may be busy; new calls that would bring all workers over it get 503."""
    max_late_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """Milliseconds that a worker's ticks may be late (p99) for seconds; while all are later, new calls get 503."""
    srtp: Literal["off", "optional", "required"] = "optional"
    """Encrypted sound (SRTP, keys by SDES) with those of whom nothing else is said."""
    srtp_without_tls: bool = False
    """Send and take keys of SRTP also by signalling that is not encrypted itself."""
    realtime: bool = True
    """Run the workers with real-time priority (SCHED_FIFO) where the system allows it and a core is left over."""

    @property
    def port_range(self) -> tuple[int, int]:
        """:attr:`ports` as lowest and highest port."""
        low, _, high = self.ports.partition("-")
        return int(low), int(high)

    @property
    def worker_count(self) -> int:
        """:attr:`workers`, with 0 resolved to the cores this process may use, less one."""
        return self.workers or max(1, len(os.sched_getaffinity(0)) - 1)


class HttpConfig(Section):
    """``[http]``: the web server (health, metrics, APIs)."""

    listen: Annotated[str, AfterValidator(_http_address)] = "127.0.0.1:8080"
    """``HOST:PORT`` to listen on."""
    public_url: Annotated[str, AfterValidator(_web_url)] = ""
    """The URL under which others reach this server. Empty: made from :attr:`listen`."""
    tls_cert: str = ""
    """PEM file with the certificate chain. Empty: plain HTTP."""
    tls_key: str = ""
    """PEM file with the private key of :attr:`tls_cert`."""
    trusted_proxies: Networks = []
    """Addresses or networks whose ``X-Forwarded-*`` headers are believed."""

    @model_validator(mode="after")
    def _both_tls_files(self) -> HttpConfig:
        _refuse_half(self.tls_cert, self.tls_key)
        return self

    @property
    def address(self) -> tuple[str, int]:
        """:attr:`listen` as host and port."""
        return split_host(self.listen, None)


class StoreConfig(Section):
    """``[store]``: what is kept."""

    url: Annotated[str, AfterValidator(_database_url)] = "sqlite+aiosqlite:///ivrea.db"
    """Database URL for SQLAlchemy: ``sqlite+aiosqlite:///FILE`` or ``postgresql+asyncpg://USER:PASSWORD@HOST/NAME``."""
    recordings: Name = "recordings/"
    """Folder for recordings, in it ``YYYY/MM/DD/<call id>.wav`` (UTC)."""
    state: Name = "state/"
    """Folder for the journal and the rendered prompts. One daemon at a time."""


class SpeechConfig(Section):
    """``[speech]``: speaking and listening."""

    vosk_model: str = ""
    """Folder of a vosk model. Empty: the built-in English keyword matcher."""
    vosk_processes: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that recognise by the vosk model, each with a copy of it and a share of the calls."""
    voice: Name = "en"
    """Voice for text when neither the number nor the flow names one."""
    max_listening: Annotated[int, Field(ge=1)] = 100
    """Calls that may be listened to for words at the same time; the others hear keys only."""


class CallbackConfig(Section):
    """``[callbacks]``: requests to the customer's web server."""

    allow_private: bool = False
    """Allow callbacks (and fetches) to private, loopback and link-local addresses."""
    timeout: PositiveSeconds = 5.0
    """Seconds for one attempt, redirects included."""
    keep: Seconds = 86400.0
    """Seconds during which an undelivered callback is retried; then it is dead-lettered."""
    keep_delivered: Seconds = 7 * 86400.0
    """Seconds that a delivered callback stays in the database. Dead ones stay until somebody deletes them."""


class RealtimeConfig(Section):
    """``[realtime]``: tokens and events of the Realtime API."""

    access_lifetime: PositiveSeconds = 900.0
    """Seconds that an access token is good for."""
    refresh_lifetime: PositiveSeconds = 196 * 86400.0
    """Seconds that a refresh token is good for."""
    suspend_after: Annotated[int, Field(ge=1, le=100_000)] = 10
    """Events in a row that could not be delivered, after which a subscription gets no more."""
    spelling: Literal["hyphens", "underscores"] = "hyphens"
    """Of events that are sent: ``start-recording`` and ``resumed``, or ``start_recording`` and ``resume``."""


class CallConfig(Section):
    """``[calls]``: limits and manners of a call."""

    max_duration: PositiveSeconds = 7200.0
    """Seconds after which a call is ended, counted from the INVITE."""
    settle_ms: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Milliseconds from the answer to the first prompt."""
    listen: PositiveSeconds = 5.0
    """Seconds to wait for the caller after a prompt."""
    max_lag_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 50.0
    """Milliseconds that the control process may lie behind for seconds; while it is later, new calls get 503."""
    repeats: Annotated[int, Field(ge=0, le=100)] = 2
    """How often a prompt is repeated after silence or no match."""
    capture: bool = False
    """Keep the SIP messages of every call for a week, to be had as captures. Otherwise of those that are asked for."""
    music: str = ""
    """Sound file for those who are on hold or wait. Empty: quiet chords."""
    transfers_outside: Literal["nobody", "telephones", "anybody"] = "telephones"
    """Who may hand a call on, from the telephone (REFER), to numbers by trunks and to SIP URIs elsewhere: telephones of
    the account, also callers from trunks and strangers (``anybody``), or ``nobody``. Inside of it everybody may.
    """
    max_fetches: Annotated[int, Field(ge=0, le=1_000_000)] = 1000
    """Flows that one call may ask web servers for; one more ends it."""

    @property
    def settings(self) -> Settings:
        """How flows behave where they do not say."""
        return Settings(listen=self.listen, repeats=self.repeats, max_fetches=self.max_fetches)


class QueueConfig(Section):
    """``[queue]``: calls that are made in time (``/api/v1/queue``, Verboice's API)."""

    rate: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 1.0
    """Calls begun per second by a trunk, unless it has a ``queue_rate`` of its own. 0: no limit."""
    calls: Annotated[int, Field(ge=0)] = 10
    """Calls of the queue at a time by a trunk, unless it has ``queue_calls`` of its own. 0: no limit."""
    account_calls: Annotated[int, Field(ge=0)] = 0
    """Calls of the queue at a time of an account. 0: no limit but that of all its calls."""


def _host_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", text.lower()):
        raise ValueError("must be a host name, without a port")
    return text.lower()


HostName = Annotated[str, AfterValidator(_host_name)]


class ApiConfig(Section):
    """``[api]``: what the APIs allow."""

    brombler_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """Requests a second to ``call.cas``, ``list.cas`` and the like, for each account. 0: any number."""
    login_failures: Annotated[float, Field(ge=0, le=100_000, allow_inf_nan=False)] = 60.0
    """Answers 401 a minute that an address may have, of all APIs together; then it gets 429. 0: any number."""
    hosts: dict[Literal["ivrea", "brombler", "verboice", "kazoo", "kwebbl", "messagebird"], HostName] = {}
    """Host names of APIs, by the API: under such a name there is that API alone, at the root too."""

    @field_validator("hosts")
    @classmethod
    def _each_its_own(cls, hosts: dict[str, str]) -> dict[str, str]:
        _refuse_repeats("hosts", hosts.values())
        return hosts


class AccountConfig(AccountKeys, Section):
    """``[account]``: what the account ``default`` may do. What is not said here stays as the API has it."""


class NumberConfig(CallflowKeys, Section):
    """``[[numbers]]``: what a dialled number does."""

    number: Annotated[str, AfterValidator(_dialled_number)]
    """The dialled number, a prefix that ends in ``*``, or ``*``. Separators are ignored."""
    flow: str = ""
    """Flow file; or else a ``callflow_url`` is needed."""
    dialect: Annotated[str, AfterValidator(_dialect)] = ""
    """Dialect of the flow file. Empty: recognised from its content."""
    record: bool = False
    """Record calls to this number."""
    voice: str = ""
    """Voice for text. Empty: ``speech.voice``."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> NumberConfig:
        if bool(self.flow) == bool(self.callflow_url):
            raise ValueError("flow or callflow_url is needed, and not both")
        return self


class TrunkConfig(Section):
    """``[[trunks]]``: a provider or PBX that sends us calls."""

    name: Name
    """Name in logs and metrics."""
    host: Annotated[str, AfterValidator(_trunk_host)]
    """``HOST``, ``HOST:PORT`` (5060, TLS 5061) or either after ``udp:`` (the default), ``tcp:`` or ``tls:``."""
    registers: bool = Field(default=False, alias="register")
    """Register there (``register`` in the file). Otherwise the host is believed by its address."""
    username: str = ""
    """User name for registration and digest authentication."""
    password: SecretStr = SecretStr("")
    """Password for digest authentication."""
    numbers: TextList = []
    """Numbers that this trunk delivers; empty: all."""
    number_from: Literal["request", "to"] = "request"
    """Where the dialled number stands: in the Request-URI or in To."""
    inbound: Literal["address", "digest", "none"] = "address"
    """What its calls are known by: its addresses, or :attr:`username` and :attr:`password`. ``none``: it has none."""
    trusted: bool = False
    """Believe what it says of callers: P-Asserted-Identity, Diversion."""
    channels: Annotated[int, Field(ge=0)] = 0
    """Calls at a time, in and out together. 0: no limit."""
    outbound_proxy: Annotated[str, AfterValidator(_outbound_proxy)] = ""
    """Where requests go instead of to :attr:`host`, which they still name; written like it. Empty: nowhere else."""
    probe: Seconds = 0.0
    """Seconds between OPTIONS that find out whether it is there; while it is not, others come before it. 0: none."""
    outbound: bool = True
    """Calls of flows may go out by this trunk."""
    queue_rate: Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)] = 0.0
    """Calls of the queue begun per second by this trunk. 0: ``queue.rate``."""
    queue_calls: Annotated[int, Field(ge=0)] = 0
    """Calls of the queue at a time by this trunk. 0: ``queue.calls``."""
    order: int = 0
    """Of several trunks that take a number the lowest is tried first; the next when it fails."""
    weight: Annotated[int, Field(ge=0, le=65535)] = 0
    """Share of the calls that it gets first among trunks of one :attr:`order`. 0: tried after those that have one."""
    prefixes: TextList = []
    """Beginnings of the numbers that go out by this trunk; empty: all."""
    caller_id: str = ""
    """Number to show on calls that go out. Empty: the caller's own."""
    from_user: str = ""
    """User part of From on calls that go out, if that is not to be the number shown."""
    from_domain: Annotated[str, AfterValidator(_sip_host)] = ""
    """Host of From on calls that go out. Empty: our address."""
    identity: Literal["none", "asserted", "preferred"] = "none"
    """Tell the caller's number in P-Asserted-Identity or P-Preferred-Identity too, withheld ones with Privacy: id."""
    diversion: Literal["none", "diversion", "history"] = "none"
    """Tell in Diversion or History-Info for whom a call was that is forwarded."""
    rewrite_dialled_in: Rewrites = []
    """Rules ``OLD=NEW`` for the beginnings of the numbers that it dials; the first that fits counts."""
    rewrite_caller_in: Rewrites = []
    """The same for the numbers of those who call."""
    rewrite_dialled_out: Rewrites = []
    """The same for the numbers that go out by it."""
    rewrite_caller_out: Rewrites = []
    """The same for the numbers shown on calls that go out."""
    redirects: Literal["no", "same", "any"] = "no"
    """Follow its 3xx answers: not at all, to other numbers of its own, or to any SIP address."""
    shared: bool = False
    """Not for this account alone: numbers of all accounts come in by it, calls of all accounts may go out."""
    srtp: SrtpPolicy = ""
    """Encrypted sound on this trunk. Empty: ``rtp.srtp``."""
    tls_verify: Literal["name", "wildcard", "none"] = "name"
    """What its certificate must prove: ``host``, ``host`` also by a wildcard, or nothing (self-signed ones too)."""
    tls_ca: str = ""
    """PEM file with the authorities that its certificate is checked by. Empty: ``sip.tls_ca``."""
    tls_cert: str = ""
    """PEM file with the certificate that is shown to it. Empty: none."""
    tls_key: str = ""
    """PEM file with the private key of :attr:`tls_cert`."""

    @model_validator(mode="after")
    def _both_tls_files(self) -> TrunkConfig:
        _refuse_half(self.tls_cert, self.tls_key)
        return self

    @model_validator(mode="after")
    def _user_to_register(self) -> TrunkConfig:
        if self.registers and not self.username:
            raise ValueError("username is needed to register")
        if self.inbound == "digest" and not (self.username and self.password.get_secret_value()):
            raise ValueError("username and password are needed to know it by digest")
        return self

    @property
    def address(self) -> Address:
        """:attr:`host`, taken apart."""
        return parse_peer(self.host)

    @property
    def remote(self) -> tuple[str, int]:
        """Host and port to send to; port 0 leaves it to DNS."""
        address = self.address
        return address.host, 0 if by_dns(self.host) else address.port

    @property
    def hop(self) -> tuple[str, tuple[str, int]]:
        """The transport, and host and port to send to first: the :attr:`outbound_proxy`, if there is one."""
        proxy = self.outbound_proxy
        if not proxy:
            return self.address.transport, self.remote
        address = parse_peer(proxy)
        return address.transport, (address.host, 0 if by_dns(proxy) else address.port)


class DeviceConfig(Section):
    """``[[devices]]``: a telephone that may register here."""

    name: Name
    """User name with which it registers."""
    password: Annotated[SecretStr, Field(min_length=1)]
    """Its password."""
    srtp: SrtpPolicy = ""
    """Encrypted sound with this telephone. Empty: ``rtp.srtp``."""
    redirects: Literal["no", "inside", "numbers", "any"] = "no"
    """Follow its 3xx answers (calls that it forwards itself): not at all; to telephones of its account; also to numbers
    that go out by trunks; to any SIP address.
    """


class UserConfig(Section):
    """``[[users]]``: a person with one telephone or several."""

    name: Name
    """What flows and callers call them by."""
    devices: TextList
    """Their telephones, by the names of ``[[devices]]``."""
    role: Literal["owner", "admin", "agent", "viewer", "none"] = "none"
    """What they may ask of the API, with a token of ``ivrea token``."""


class GroupConfig(Section):
    """``[[groups]]``: people and telephones that ring together."""

    name: Name
    """What flows call it by."""
    members: TextList
    """Users and devices."""


class ExtensionConfig(Section):
    """``[[extensions]]``: a number for our own telephones; one of ``flow``, ``user`` and ``group``."""

    number: Annotated[str, AfterValidator(_dialled_number)]
    """What is dialled; patterns as in ``[[numbers]]``."""
    flow: str = ""
    """Flow file to run."""
    dialect: Annotated[str, AfterValidator(_dialect)] = ""
    """Dialect of the flow file. Empty: recognised from its content."""
    user: str = ""
    """User to ring, by the name of ``[[users]]``."""
    group: str = ""
    """Group to ring, by the name of ``[[groups]]``."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> ExtensionConfig:
        if sum(map(bool, (self.flow, self.user, self.group))) != 1:
            raise ValueError("one of flow, user and group is needed, and no more")
        return self


class MailboxConfig(Section):
    """``[[mailboxes]]``: where messages for somebody are left."""

    id: Name
    """What flows call it by, and what its owner enters: mostly an extension."""
    owner: str = ""
    """User or device whose box it is."""
    pin: Annotated[SecretStr, AfterValidator(_pin)] = SecretStr("")
    """Its first PIN, 4 to 12 digits; the one that is set by telephone counts after that."""
    require_pin: bool = True
    """Ask for the PIN on the owner's own telephones too."""
    greeting: str = ""
    """Sound file that callers hear. Empty: spoken words."""
    skip_greeting: bool = False
    """No greeting, and no words in its place."""
    skip_instructions: bool = False
    """No words about how to leave a message."""
    notify_url: Annotated[str, AfterValidator(_notify_url)] = ""
    """URL that is told of each new message by a POST of JSON."""
    notify_emails: TextList = []
    """Mail addresses that are passed on to :attr:`notify_url`."""
    time_zone: Annotated[str, AfterValidator(_time_zone)] = "UTC"
    """Time zone in which the time of a message is told."""
    format: Literal["wav", "mp3"] = "mp3"
    """Sound format of the messages."""
    oldest_first: bool = True
    """Order in which messages are heard."""
    transcribe: bool = False
    """Pass on to :attr:`notify_url` that the text of a message is wanted."""
    max_message_length: Annotated[float, Field(ge=0, le=7200)] = 0.0
    """Seconds that a message may be long; 0: what the flow says."""
    max_messages: Annotated[int, Field(ge=0)] = 100
    """Messages that the box holds; 0: any number."""


class Config(BaseSettings):
    """The whole configuration. Made by :func:`load`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=False,
    )

    sip: SipConfig = SipConfig()
    rtp: RtpConfig = RtpConfig()
    http: HttpConfig = HttpConfig()
    store: StoreConfig = StoreConfig()
    speech: SpeechConfig = SpeechConfig()
    callbacks: CallbackConfig = CallbackConfig()
    calls: CallConfig = CallConfig()
    api: ApiConfig = ApiConfig()
    queue: QueueConfig = QueueConfig()
    realtime: RealtimeConfig = RealtimeConfig()
    account: AccountConfig = AccountConfig()
    numbers: tuple[NumberConfig, ...] = ()
    trunks: tuple[TrunkConfig, ...] = ()
    devices: tuple[DeviceConfig, ...] = ()
    users: tuple[UserConfig, ...] = ()
    groups: tuple[GroupConfig, ...] = ()
    extensions: tuple[ExtensionConfig, ...] = ()
    mailboxes: tuple[MailboxConfig, ...] = ()

    @classmethod
    def given(cls, data: dict[str, Any]) -> Config:
        """The configuration that ``data`` says, whatever the environment says. Raises pydantic's ValidationError."""
        return _Given(**data)

    @model_validator(mode="after")
    def _nothing_twice(self) -> Config:
        _refuse_repeats("numbers", (each.number for each in self.numbers))
        _refuse_repeats("trunks", (each.name for each in self.trunks))
        _refuse_repeats("devices", (each.name for each in self.devices))
        _refuse_repeats("users", (each.name for each in self.users))
        _refuse_repeats("groups", (each.name for each in self.groups))
        _refuse_repeats("extensions", (each.number for each in self.extensions))
        _refuse_repeats("mailboxes", (each.id for each in self.mailboxes))
        proving = [each.username for each in self.trunks if each.inbound == "digest"]
        _refuse_repeats("usernames of trunks and names of devices", (*proving, *(each.name for each in self.devices)))
        return self

    @model_validator(mode="after")
    def _srtp_has_secrets(self) -> Config:
        """Keys that everybody on the way can read protect nothing: that has to be asked for."""
        for trunk in self.trunks:
            policy = trunk.srtp or self.rtp.srtp
            if policy == "required" and trunk.hop[0] != "tls" and not self.rtp.srtp_without_tls:
                raise ValueError(f"trunks: {trunk.name!r}: srtp is required: host must begin with tls:")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment comes before the file, whose content :func:`load` passes in."""
        return env_settings, init_settings

    def shown(self) -> dict[str, Any]:
        """The configuration in effect, as plain data, with its secrets masked."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        data["store"]["url"] = re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", data["store"]["url"])
        return data


class _Given(Config):
    """Reads what it is given and nothing else."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def _refuse_repeats(section: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{section}: {name!r} is there twice")
        seen.add(name)


# --- loading ----------------------------------------------------------------------------


def load(path: Path | str | None = None) -> Config:
    """Read the configuration from ``path``.

    Without a path: from ``ivrea.toml`` in the current folder if there is one, otherwise the
    defaults. Relative paths in it are resolved against the file's folder (or the current one).
    Raises :class:`ConfigError`.
    """
    if path is None:
        file = Path(DEFAULT_FILE)
        data = _read(file) if file.is_file() else {}
    else:
        file = Path(path)
        data = _read(file)
    _refuse_unknown_variables()
    try:
        config = Config(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(file, error))) from error
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from error
    return _with_resolved_paths(config, file.resolve().parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _refuse_unknown_variables() -> None:
    """Pydantic refuses unknown keys of known sections; a section misspelt it would overlook."""
    for variable in os.environ:
        section, delimiter, _ = variable.upper().removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if variable.upper().startswith(ENVIRONMENT_PREFIX) and delimiter and section.lower() not in Config.model_fields:
            raise ConfigError(f"environment variable {variable}: there is no section [{section.lower()}]")


def _explain(file: Path, error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_url=False, include_input=False):
        place = ""
        for part in problem["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        variable = ENVIRONMENT_PREFIX + "__".join(str(part) for part in problem["loc"][:2]).upper()
        known = {name.upper(): name for name in os.environ}
        source = f"environment variable {known[variable]}" if variable in known else str(file)
        message = {
            "extra_forbidden": "there is no such key",
            "missing": "is missing",
            "string_type": 'must be text, in quotes: "…"',
        }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        yield f"{source}: {place}: {message}" if place else f"{source}: {message}"


def _with_resolved_paths(config: Config, folder: Path) -> Config:
    """Every path of ``config`` made absolute. Raises :class:`ConfigError` for files that must be there and are not."""

    def resolve(text: str) -> str:
        return str(folder / Path(text).expanduser()) if text else text

    store = config.store.model_copy(
        update={
            "url": _resolve_database(config.store.url, folder),
            "recordings": resolve(config.store.recordings),
            "state": resolve(config.store.state),
        }
    )
    http = config.http.model_copy(
        update={"tls_cert": resolve(config.http.tls_cert), "tls_key": resolve(config.http.tls_key)}
    )
    sip, trunks = _with_resolved_certificates(config, resolve)
    speech = config.speech.model_copy(update={"vosk_model": resolve(config.speech.vosk_model)})
    calls = config.calls.model_copy(update={"music": resolve(config.calls.music)})
    numbers = tuple(each.model_copy(update={"flow": resolve(each.flow)}) for each in config.numbers)
    extensions = tuple(each.model_copy(update={"flow": resolve(each.flow)}) for each in config.extensions)
    mailboxes = tuple(each.model_copy(update={"greeting": resolve(each.greeting)}) for each in config.mailboxes)
    for place, needed in (("http.tls_cert", http.tls_cert), ("http.tls_key", http.tls_key)):
        if needed and not Path(needed).is_file():
            raise ConfigError(f"{place}: there is no file {needed}")
    if speech.vosk_model and not Path(speech.vosk_model).is_dir():
        raise ConfigError(f"speech.vosk_model: there is no folder {speech.vosk_model}")
    sections = {"store": store, "http": http, "speech": speech, "calls": calls, "sip": sip, "trunks": trunks}
    rows = {"numbers": numbers, "extensions": extensions, "mailboxes": mailboxes}
    return config.model_copy(update={**sections, **rows})


def _with_resolved_certificates(
    config: Config, resolve: Callable[[str], str]
) -> tuple[SipConfig, tuple[TrunkConfig, ...]]:
    """The sections with files for TLS. Raises :class:`ConfigError` for those that are not there."""

    def found(section: str, given: SipConfig | TrunkConfig) -> dict[str, str]:
        files = {key: resolve(getattr(given, key)) for key in ("tls_cert", "tls_key", "tls_ca")}
        for key, file in files.items():
            if file and not Path(file).is_file():
                raise ConfigError(f"{section}.{key}: there is no file {file}")
        return files

    sip = config.sip.model_copy(update=found("sip", config.sip))
    trunks = tuple(
        trunk.model_copy(update=found(f"trunks[{place}]", trunk)) for place, trunk in enumerate(config.trunks)
    )
    return sip, trunks


def _resolve_database(url: str, folder: Path) -> str:
    scheme, _, rest = url.partition(":///")
    path, question, query = rest.partition("?")
    if not scheme.startswith("sqlite") or not path or path == ":memory:" or path.startswith("file:"):
        return url
    return f"{scheme}:///{folder / path}{question}{query}"
