"""Everything that calls are routed by, as the database had it when it was last read.

It is read whole, at the start and on SIGHUP after the import of the file, and never changed: a call looks into the one
that was there when it came.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

from pydantic import ValidationError

from engine.accounts import entities as e
from engine.accounts import repository
from engine.accounts.importing import flow_files, import_file
from engine.accounts.rights import networks
from engine.addresses import Network, plain_number
from engine.calls.flowbook import Document, FlowBook, FlowError, Ready, read_flow_files
from engine.calls.numbers import Dialplan, NumberPlan
from engine.calls.plans import CallPlan
from engine.calls.routes import Routes
from engine.calls.trunking import OutboundTrunk, OwnHost
from engine.config import DEVICE_REDIRECTS, AccountsConfig, Config, RtpConfig, TrunkConfig
from engine.log import get_logger
from engine.security import NO_SRTP, Policy, SrtpPolicies
from engine.sip.registrar import Registrar
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT
from flows.graph import Graph, Perform
from flows.orders import Dial, Target

log = get_logger(__name__)

SHORTEST_PREFIX = 3
"""Digits of a prefix by which an account other than the default one is called from trunks that all share."""

EXTENSION_RINGS = 30.0
"""Seconds that a dialled extension rings."""

_Owned = TypeVar("_Owned", bound=e.Owned)


@dataclass(frozen=True, slots=True)
class AccountTrunk:
    """A trunk of an account. ``label`` names it where trunks of all accounts stand together."""

    account: str
    config: TrunkConfig
    shared: bool
    believed: tuple[Network, ...] | None = None
    """Networks from which calls are believed to be its own; ``None``: from any where it is."""

    @property
    def label(self) -> str:
        """The trunk's name, after its account's unless that is the default one."""
        return self.config.name if self.account == DEFAULT_ACCOUNT else f"{self.account}/{self.config.name}"

    @property
    def line(self) -> str:
        """What a registration of a customer's trunk is told from all others by: known to its registrar alone, and the
        same after a restart. Empty for those who run the switch.
        """
        if self.account == DEFAULT_ACCOUNT or not self.config.registers:
            return ""
        secret = self.config.password.get_secret_value().encode()
        return hmac.digest(secret, f"line of {self.label}".encode(), "sha256").hex()[:24]


@dataclass(frozen=True, slots=True)
class Directory:
    """The picture. Maps by account have every account."""

    accounts: Mapping[str, e.Account] = field(default_factory=dict)
    devices: Mapping[str, e.Device] = field(default_factory=dict)
    """By name."""
    users: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By account and name: devices."""
    groups: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    extensions: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """By account and number: the devices of those that ring somebody."""
    trunks: tuple[AccountTrunk, ...] = ()
    plans: Dialplan[CallPlan] = field(default_factory=lambda: Dialplan(NumberPlan()))
    shown: Mapping[str, str] = field(default_factory=dict)
    """By device: the number that its user chose to show outside."""
    conflicts: tuple[str, ...] = ()
    """What of the configuration file could not be imported the last time, and why: a line each."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By device: the user that it is of, and the extensions of that user."""

    def labelled(self) -> dict[str, TrunkConfig]:
        """The trunks of all accounts by their labels."""
        return {each.label: each.config for each in self.trunks}

    def lines(self) -> dict[str, str]:
        """By label, what registrations of customers are told apart by."""
        return {each.label: line for each in self.trunks if (line := each.line)}

    def passwords(self) -> dict[str, str]:
        """For the registrar: password by device."""
        return {name: str(device.settings.get("password", "")) for name, device in self.devices.items()}

    def account_of(self, device: str) -> str:
        """The account of a device; that of a device which was there a moment ago is nobody's."""
        found = self.devices.get(device)
        return found.account_id if found is not None else "-"

    def most_calls(self, account: str) -> int:
        """Calls that an account may have at a time; 0: no limit of its own."""
        found = self.accounts.get(account)
        return found.max_calls if found is not None else 0

    def routes(
        self,
        account: str,
        registrar: Registrar,
        own_host: OwnHost,
        outbound: Callable[[AccountTrunk], OutboundTrunk],
        policies: SrtpPolicies = NO_SRTP,
    ) -> Routes:
        """Where the targets of an account are: its own telephones and trunks, and those trunks that all may use."""
        trunks = [each for each in self.trunks if each.config.outbound and (each.account == account or each.shared)]
        trunks.sort(key=lambda each: each.account != account)  # its own first, among those of the same order
        return Routes(
            registrar,
            own_host,
            [outbound(each) for each in trunks],
            self.users.get(account, {}),
            self.groups.get(account, {}),
            self.extensions.get(account, {}),
            frozenset(name for name, device in self.devices.items() if device.account_id == account),
            policies,
            {
                name: device.settings["redirects"]
                for name, device in self.devices.items()
                if device.settings.get("redirects") in DEVICE_REDIRECTS
            },
            self.shown,
        )

    def srtp(self, rtp: RtpConfig) -> SrtpPolicies:
        """Who has to encrypt sound: what is said of each trunk and device, ``rtp`` for all others."""
        return SrtpPolicies(
            rtp.srtp,
            rtp.srtp_without_tls,
            {each.label: each.config.srtp for each in self.trunks if each.config.srtp},
            {name: policy for name, device in self.devices.items() if (policy := _policy(device))},
        )


async def load_directory(
    store: Store,
    flows: FlowBook,
    config: Config,
    before: Directory | None = None,
    free: AccountsConfig | None = None,
) -> Directory:
    """Import ``config`` and read everything. What cannot be imported is told by :attr:`Directory.conflicts`.

    ``free``: what accounts may take, if not as ``config`` has it. Raises :class:`FlowError` for every flow of the file
    that is not good, and SQLAlchemy's errors; nothing is changed then. A flow that was made otherwise and is not good
    keeps the plans of ``before`` or has none: it is logged.
    """
    flows.configure(config)
    texts = await read_flow_files(path for path, _ in flow_files(config))
    await _try_flows(flows, config, texts)
    async with store.writing() as connection:
        conflicts = await import_file(connection, config, texts)
    for conflict in conflicts:
        log.error("not_imported", what=conflict)
    found = await read_directory(store, flows, before, free or config.accounts)
    return replace(found, conflicts=conflicts)


async def _try_flows(flows: FlowBook, config: Config, texts: Mapping[str, str]) -> None:
    """Raises :class:`FlowError` naming all flows of the file that are not good."""
    voices = {(each.flow, each.dialect, each.voice) for each in config.numbers if each.flow}
    voices |= {(each.flow, each.dialect, "") for each in config.extensions if each.flow}
    problems: list[str] = []
    for path, dialect, voice in sorted(voices):
        try:
            await flows.ready(Document.at(path, texts[path], dialect), voice)
        except FlowError as error:
            problems.append(str(error))
    if problems:
        raise FlowError("\n".join(dict.fromkeys(problems)))


async def read_directory(
    store: Store, flows: FlowBook, before: Directory | None = None, free: AccountsConfig | None = None
) -> Directory:
    """The picture of what the database has now; ``free``: what accounts may take. Raises SQLAlchemy's errors."""
    async with store.reading() as connection:
        accounts = await repository.accounts(connection)
        devices = await repository.all_of(connection, e.Device, None)
        users = await repository.users(connection, None)
        groups = await repository.all_of(connection, e.Group, None)
        trunks = await repository.all_of(connection, e.Trunk, None)
        numbers = await repository.all_of(connection, e.Number, None)
        extensions = await repository.all_of(connection, e.Extension, None)
        fallbacks = await repository.fallbacks(connection)
        chosen = await repository.shown_numbers(connection)
        needed = {each.flow_id for each in numbers} | {each.flow_id for each in extensions if each.flow_id}
        needed |= {each.id for each in fallbacks}
        versions = await repository.newest_versions(connection, needed)
    owned = {each.id: {user.name: user.devices for user in _of(users, each.id) if user.devices} for each in accounts}
    ringing = {each.id: each for each in users} | {each.id: each for each in groups}
    made = _Plans(flows, accounts, versions, before)
    public = [(each.number, plan) for each in numbers if (plan := await made.of_number(each)) is not None]
    inside: dict[str, dict[str, CallPlan]] = {each.id: {} for each in accounts}
    for number, plan in public:
        inside[plan.account][number] = plan
    public = [(number, plan) for number, plan in public if plan.account == DEFAULT_ACCOUNT or not _is_wide(number)]
    for extension in extensions:  # these come before a number that is written alike
        who = ringing.get(extension.user_id or extension.group_id or "")
        if (found := await made.of_extension(extension, who)) is not None:
            inside[found.account][extension.number] = found
    for flow in fallbacks:
        if (other := await made.of_flow(flow)) is not None and "*" not in inside[flow.account_id]:
            inside[flow.account_id]["*"] = other
            if flow.account_id == DEFAULT_ACCOUNT and all(number != "*" for number, _ in public):
                public.append(("*", other))  # who runs the switch answers what nobody has
    members = {each.id: {group.name: group.members for group in _of(groups, each.id)} for each in accounts}
    by_id = {each.id: each for each in accounts}

    def trunk(row: e.Trunk) -> AccountTrunk | None:
        return _trunk(row, networks(by_id.get(row.account_id), free or AccountsConfig()))

    return Directory(
        by_id,
        {each.name: each for each in devices},
        owned,
        members,
        {each.id: _rung(_of(extensions, each.id), ringing, owned[each.id]) for each in accounts},
        tuple(sorted(filter(None, map(trunk, trunks)), key=lambda each: (each.config.order, each.label))),
        Dialplan(NumberPlan(public), {each: NumberPlan(plans.items()) for each, plans in inside.items()}),
        {device: chosen[user.id] for user in users if user.id in chosen for device in user.devices},
        before.conflicts if before is not None else (),
        names=_names(extensions, users, ringing),
    )


def _is_wide(number: str) -> bool:
    """Whether it stands for numbers of half the world: those that nobody has belong to who runs the switch."""
    plain = plain_number(number)
    return plain.endswith("*") and len(plain.strip("+*")) < SHORTEST_PREFIX


def _policy(device: e.Device) -> Policy | None:
    policies: dict[str, Policy] = {"off": "off", "optional": "optional", "required": "required"}
    return policies.get(str(device.settings.get("srtp")))


def _of(rows: Iterable[_Owned], account: str) -> list[_Owned]:
    return [row for row in rows if row.account_id == account]


def _names(
    extensions: Iterable[e.Extension], users: Iterable[e.User], who: Mapping[str, e.User | e.Group]
) -> dict[str, tuple[str, ...]]:
    """By device: its user, and the extensions of that user."""
    found: dict[str, list[str]] = {device: [user.name] for user in users for device in user.devices}
    for extension in extensions:
        user = who.get(extension.user_id or "")
        for device in user.devices if isinstance(user, e.User) else ():
            found[device].append(extension.number)
    return {device: tuple(names) for device, names in found.items()}


def _rung(
    extensions: Iterable[e.Extension], who: Mapping[str, e.User | e.Group], users: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """The devices of the extensions that ring somebody, by number."""
    found: dict[str, tuple[str, ...]] = {}
    for extension in extensions:
        match who.get(extension.user_id or extension.group_id or ""):
            case e.User(devices=devices):
                found[extension.number] = devices
            case e.Group(members=members):
                found[extension.number] = tuple(d for member in members for d in users.get(member, (member,)))
    return found


def _trunk(row: e.Trunk, believed: tuple[Network, ...] | None) -> AccountTrunk | None:
    try:
        config = TrunkConfig.model_validate({**row.settings, "name": row.name, "shared": row.shared})
    except ValidationError as error:
        log.error("trunk_not_usable", trunk=row.name, account=row.account_id, error=str(error))
        return None
    return AccountTrunk(row.account_id, config, row.shared, believed)


class _Plans:
    """Makes the plans of numbers and extensions."""

    def __init__(
        self,
        flows: FlowBook,
        accounts: Iterable[e.Account],
        versions: Mapping[str, e.FlowVersion],
        before: Directory | None,
    ) -> None:
        self._flows = flows
        self._accounts = {each.id: each for each in accounts}
        self._versions = versions
        self._before = before

    async def of_number(self, number: e.Number) -> CallPlan | None:
        ready = await self._ready(number.flow_id, number.voice)
        if ready is None:
            return self._former(number.account_id, number.number)
        return plan_of(self._flows, self._accounts[number.account_id], ready, number.voice, record=number.record)

    async def of_flow(self, flow: e.Flow) -> CallPlan | None:
        ready = await self._ready(flow.id, "")
        return plan_of(self._flows, self._accounts[flow.account_id], ready) if ready is not None else None

    async def of_extension(self, extension: e.Extension, who: e.User | e.Group | None) -> CallPlan | None:
        account = self._accounts[extension.account_id]
        if who is not None:
            return plan_of(self._flows, account, Ready(f"extension {extension.number}", ringing_graph(who)))
        ready = await self._ready(extension.flow_id or "", "")
        if ready is None:
            return self._former(extension.account_id, extension.number)
        return plan_of(self._flows, account, ready)

    async def _ready(self, flow_id: str, voice: str) -> Ready | None:
        version = self._versions[flow_id]
        try:
            early = bool(version.flow.source)  # what an API stored names URLs: nobody waits for them here
            return await self._flows.ready(Document.of(version), voice, version=version.number, render=early)
        except FlowError as error:
            log.error("flow_not_usable", flow=version.flow.name, account=version.flow.account_id, error=str(error))
            return None

    def _former(self, account: str, number: str) -> CallPlan | None:
        """The plan of before, when the new one cannot be had."""
        inside = self._before.plans.inside.get(account) if self._before is not None else None
        return (inside.exact.get(number) or inside.prefixes.get(number.removesuffix("*"))) if inside else None


def plan_of(flows: FlowBook, account: e.Account, ready: Ready, voice: str = "", *, record: bool = False) -> CallPlan:
    """A plan to run ``ready`` on a call of ``account``."""
    return CallPlan(
        ready.name,
        ready.graph,
        ready.prompts,
        flows.settings,
        flows.renderer(account.id, voice),
        flows.recordings,
        record=record,
        account=account.id,
        most_calls=account.max_calls,
        flow_version=ready.version,
        stored=flows.stored_for(account.id, voice),
    )


def ringing_graph(who: e.User | e.Group) -> Graph:
    """The flow of an extension that rings a user or a group."""
    kind: Literal["user", "group"] = "user" if isinstance(who, e.User) else "group"
    target = Target(kind=kind, value=who.name)
    step = Perform(id="ring", origin="", order=Dial(targets=(target,), timeout=EXTENSION_RINGS), into="dial")
    return Graph({step.id: step}, step.id, name=f"{kind} {who.name}")
