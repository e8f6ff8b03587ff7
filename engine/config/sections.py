"""Sections of the configuration that there is one of each: what the daemon is and allows."""

from __future__ import annotations

import os
import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    NoDecode,
)

from engine.addresses import (
    Address,
    parse_address,
    split_host,
)
from engine.config.values import (
    Codecs,
    ListenAddresses,
    Name,
    Networks,
    PositiveSeconds,
    Seconds,
    Section,
    refuse_half,
    refuse_repeats,
    split_list,
    valid_advertised_address,
    valid_advertised_host,
    valid_database_url,
    valid_http_address,
    valid_name_server,
    valid_port_range,
    valid_web_url,
)
from flows.listening import Settings


class SipConfig(Section):
    """``[sip]``: where SIP is spoken and who may call."""

    listen: ListenAddresses = ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
    """Addresses to listen on, ``udp:``, ``tcp:`` or ``tls:HOST:PORT``; IPv6 in brackets; port 0: any free one."""
    advertise: Annotated[str, AfterValidator(valid_advertised_host)] = ""
    """Host or ``HOST:PORT`` for Via and Contact when behind NAT. Empty: the local address towards each peer."""
    open: bool = False
    """Take calls from anyone. Otherwise only from trunks and registered devices."""
    digest: Annotated[list[Literal["MD5", "SHA-256"]], NoDecode, BeforeValidator(split_list), Field(min_length=1)] = [
        "MD5"
    ]
    """Algorithms that devices are challenged with, the preferred one first. Many telephones give up when the first of
    two is one that they do not know."""
    keep_alive: Annotated[float, Field(ge=1.0, le=120.0)] = 29.0
    """Longest pause in seconds between the keep-alives by UDP: to trunks that Ivrea is registered with, and to
    telephones behind a NAT."""
    dns: Annotated[list[Annotated[str, AfterValidator(valid_name_server)]], NoDecode, BeforeValidator(split_list)] = []
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
        refuse_half(self.tls_cert, self.tls_key)
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

    ports: Annotated[str, AfterValidator(valid_port_range)] = "16384-32767"
    """UDP ports for RTP (even) and RTCP (odd), ``LOW-HIGH``, both included."""
    advertise: Annotated[str, AfterValidator(valid_advertised_address)] = ""
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

    listen: Annotated[str, AfterValidator(valid_http_address)] = "127.0.0.1:8080"
    """``HOST:PORT`` to listen on."""
    public_url: Annotated[str, AfterValidator(valid_web_url)] = ""
    """The URL under which others reach this server. Empty: made from :attr:`listen`."""
    tls_cert: str = ""
    """PEM file with the certificate chain. Empty: plain HTTP."""
    tls_key: str = ""
    """PEM file with the private key of :attr:`tls_cert`."""
    trusted_proxies: Networks = []
    """Addresses or networks whose ``X-Forwarded-*`` headers are believed."""
    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Connections at a time; one more gets 503. Never more than a quarter of the files that the process may open."""
    connections_per_address: Annotated[int, Field(ge=0, le=1_000_000)] = 200
    """Connections at a time of one address (IPv6: network of 64 bits) that is no trusted proxy. 0: no limit."""
    head_timeout: Seconds = 10.0
    """Seconds in which the head of a request has to come, and a TLS handshake to be done. 0: no limit."""
    body_timeout: Seconds = 20.0
    """Seconds in each of which stretch 500 octets a second of a request's body have to come. 0: no limit."""
    send_timeout: Seconds = 60.0
    """Seconds in which a client has to take some of an answer that waits for it. 0: no limit."""

    @model_validator(mode="after")
    def _both_tls_files(self) -> HttpConfig:
        refuse_half(self.tls_cert, self.tls_key)
        return self

    @property
    def address(self) -> tuple[str, int]:
        """:attr:`listen` as host and port."""
        return split_host(self.listen, None)


class StoreConfig(Section):
    """``[store]``: what is kept."""

    url: Annotated[str, AfterValidator(valid_database_url)] = "sqlite+aiosqlite:///ivrea.db"
    """Database URL for SQLAlchemy: ``sqlite+aiosqlite:///FILE`` or ``postgresql+asyncpg://USER:PASSWORD@HOST/NAME``."""
    recordings: Name = "recordings/"
    """Folder for recordings, in it ``YYYY/MM/DD/<call id>.wav`` (UTC)."""
    state: Name = "state/"
    """Folder for the journal and the rendered prompts. One daemon at a time."""
    prompts_mb: Annotated[int, Field(ge=0, le=1_000_000_000)] = 2048
    """MiB of rendered prompts; those that were not used for longest go first, never those in use. 0: any number."""
    refused_mb: Annotated[int, Field(ge=0, le=1_000_000_000)] = 64
    """MiB of records that the database does not take (``refused.jsonl``); the oldest go first. 0: any number."""
    keep_calls_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days after which a call is deleted with all that was written of it, recordings included; 0: never."""
    keep_recordings_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days after which the recordings of a call are deleted; 0: with the call."""


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


def _certificate(text: str) -> str:
    kind, colon, digits = text.partition(":")
    if kind.lower() != "sha256" or not colon:
        return text
    plain = digits.replace(":", "").lower()
    if not re.fullmatch("[0-9a-f]{64}", plain):
        raise ValueError("the SHA-256 fingerprint of a certificate has 64 hexadecimal digits")
    return f"sha256:{plain}"


def _server(text: str) -> str:
    split_host(text, 0)
    return text.lower()


class CallbackConfig(Section):
    """``[callbacks]``: requests to the customer's web server."""

    allow_private: bool = False
    """Allow callbacks (and fetches) to private, loopback and link-local addresses."""
    timeout: PositiveSeconds = 5.0
    """Seconds for one attempt, redirects included."""
    certificates: dict[Annotated[str, AfterValidator(_server)], Annotated[Name, AfterValidator(_certificate)]] = {}
    """What the certificate of a server must be, by ``HOST`` or ``HOST:PORT``: one of a PEM file or signed by one, or
    one with a fingerprint (``sha256:`` and 64 hexadecimal digits), or ``any``. All others: signed by an authority that
    the system believes."""
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
    max_silence: Seconds = 0.0
    """Seconds in which nobody speaks or presses a key, though it is for somebody to do so, that end a call; 0: off."""
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
    capture_media: Literal["none", "asked", "all"] = "asked"
    """Whose RTP and RTCP packets are kept, too: of calls whose capture was asked for, of all that are captured, or of
    none.
    """
    capture_media_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    """MiB of these packets of one call; what comes beyond is left out."""
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


class AccountsConfig(Section):
    """``[accounts]``: what accounts other than ``default`` may take that is not assigned to them."""

    free_numbers: bool = False
    """Any number that nobody has and that is assigned to nobody."""
    free_addresses: bool = False
    """Trunks may be known by whatever address they name, also without registering or proving themselves."""


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
        refuse_repeats("hosts", hosts.values())
        return hosts
