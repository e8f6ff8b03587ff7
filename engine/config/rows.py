"""Rows of the configuration: numbers, trunks, telephones, people, mailboxes; they become rows of the database."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    model_validator,
)

from engine.addresses import (
    Address,
    by_dns,
    parse_peer,
)
from engine.callflow import CallflowKeys
from engine.config.accountkeys import AccountKeys
from engine.config.values import (
    Name,
    Rewrites,
    Seconds,
    Section,
    SrtpPolicy,
    TextList,
    refuse_half,
    valid_dialect,
    valid_dialled_number,
    valid_notify_url,
    valid_outbound_proxy,
    valid_pin,
    valid_sip_host,
    valid_time_zone,
    valid_trunk_host,
)


class AccountConfig(AccountKeys, Section):
    """``[account]``: what the account ``default`` may do. What is not said here stays as the API has it."""


class NumberConfig(CallflowKeys, Section):
    """``[[numbers]]``: what a dialled number does."""

    number: Annotated[str, AfterValidator(valid_dialled_number)]
    """The dialled number, a prefix that ends in ``*``, or ``*``. Separators are ignored."""
    flow: str = ""
    """Flow file; or else a ``callflow_url`` is needed."""
    dialect: Annotated[str, AfterValidator(valid_dialect)] = ""
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
    host: Annotated[str, AfterValidator(valid_trunk_host)]
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
    outbound_proxy: Annotated[str, AfterValidator(valid_outbound_proxy)] = ""
    """Where requests go instead of to :attr:`host`, which they still name; written like it. Empty: nowhere else."""
    probe: Seconds = 0.0
    """Seconds between OPTIONS that find out whether it is there; while it is not, others come before it. 0: none."""
    respond_within: Annotated[Seconds, Field(le=32)] = 5.0
    """Seconds in which it must respond to a call, by 100 at least, before the next trunk is tried. 0: 32."""
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
    from_domain: Annotated[str, AfterValidator(valid_sip_host)] = ""
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
        refuse_half(self.tls_cert, self.tls_key)
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

    number: Annotated[str, AfterValidator(valid_dialled_number)]
    """What is dialled; patterns as in ``[[numbers]]``."""
    flow: str = ""
    """Flow file to run."""
    dialect: Annotated[str, AfterValidator(valid_dialect)] = ""
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
    pin: Annotated[SecretStr, AfterValidator(valid_pin)] = SecretStr("")
    """Its first PIN, 4 to 12 digits; the one that is set by telephone counts after that."""
    require_pin: bool = True
    """Ask for the PIN on the owner's own telephones too."""
    greeting: str = ""
    """Sound file that callers hear. Empty: spoken words."""
    skip_greeting: bool = False
    """No greeting, and no words in its place."""
    skip_instructions: bool = False
    """No words about how to leave a message."""
    notify_url: Annotated[str, AfterValidator(valid_notify_url)] = ""
    """URL that is told of each new message by a POST of JSON."""
    notify_emails: TextList = []
    """Mail addresses that are passed on to :attr:`notify_url`."""
    time_zone: Annotated[str, AfterValidator(valid_time_zone)] = "UTC"
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
