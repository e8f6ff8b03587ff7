"""Who has which calls, told to those who watch: SUBSCRIBE and NOTIFY for dialogs (RFC 6665, RFC 4235).

The lamps on phones. Devices subscribe, authenticated like for REGISTER; whoever uses the core says with
:meth:`Notifier.publish` what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.sip.core import Core
from engine.sip.dialog_info import CONTENT_TYPE, DialogInfo, DialogState
from engine.sip.events import SubscriptionChanged
from engine.sip.flow import Flow
from engine.sip.message import Request
from engine.sip.subscription import PACKAGE, Subscription, event_package
from engine.sip.transaction import ServerTransaction

MOST_DIALOGS = 32
"""Calls of one entity that are told of; of more, the oldest are left out."""

MOST_ENTITIES = 10_000
"""Entities of which something is known; of more, those that changed longest ago are forgotten."""

Key = tuple[str, str]
"""The group of an entity, and its name."""

HeaderFields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NotifierLimits:
    """Seconds that a subscription may ask for, and how many there may be: in all, and of one device."""

    shortest: int = 60
    longest: int = 3600
    default: int = 3600
    most: int = 10_000
    most_of_one: int = 200


class Notifier:
    """All subscriptions, and what is known of the entities.

    An entity is the user part of a URI, within a group: whoever subscribes sees the entities of its own group.
    """

    def __init__(self, core: Core, limits: NotifierLimits | None = None) -> None:
        self.group_of: Callable[[str], str] = lambda device: ""
        """The group of a device that subscribes."""
        self._core = core
        self._limits = limits or NotifierLimits()
        self._watchers: dict[Key, set[Subscription]] = {}
        self._of_device: dict[str, int] = {}
        self._dialogs: dict[Key, dict[str, DialogInfo]] = {}

    def __len__(self) -> int:
        """Subscriptions."""
        return sum(self._of_device.values())

    def watchers(self, entity: str, group: str = "") -> int:
        """How many subscriptions there are to ``entity``."""
        return len(self._watchers.get((group, entity), ()))

    # --- what is known ----------------------------------------------------------------------

    def publish(
        self,
        entity: str,
        state: DialogState,
        now: float,
        *,
        group: str = "",
        dialog: str = "1",
        direction: Literal["initiator", "recipient"] = "recipient",
        remote: str = "",
        call_id: str = "",
        local_tag: str = "",
        remote_tag: str = "",
    ) -> None:
        """A call of ``entity`` is in ``state`` now; ``terminated`` is the last of each. ``dialog`` tells them apart.

        The rest is as in :class:`~engine.sip.dialog_info.DialogInfo`.
        """
        info = DialogInfo(dialog, state, direction, remote, call_id, local_tag, remote_tag)
        key = (group, entity)
        known = self._dialogs.pop(key, {})
        before = known.pop(dialog, None)
        over = state == "terminated"
        if not over:
            known[dialog] = info
            if len(known) > MOST_DIALOGS:
                del known[next(iter(known))]
        if known:
            self._dialogs[key] = known  # behind all others
            if len(self._dialogs) > MOST_ENTITIES:
                del self._dialogs[next(iter(self._dialogs))]
        if before == info or (over and before is None):
            return
        for subscription in list(self._watchers.get(key, ())):
            subscription.changed(info if over else None, now)

    def state(self, key: Key) -> list[DialogInfo]:
        """The calls of an entity."""
        return list(self._dialogs.get(key, {}).values())

    def close(self, now: float) -> None:
        """End all subscriptions: we go away, and may come back (RFC 6665 4.1.3)."""
        for watchers in list(self._watchers.values()):
            for subscription in list(watchers):
                subscription.end("deactivated", now)

    # --- SUBSCRIBE --------------------------------------------------------------------------

    def subscribe(
        self, request: Request, transaction: ServerTransaction, flow: Flow, subscriber: str, now: float
    ) -> None:
        """A SUBSCRIBE outside of dialogs, of the device ``subscriber``."""
        refusal = self._refusal(request, subscriber)
        if refusal is not None:
            transaction.respond(self._core.response(request, refusal[0], headers=refusal[1]), now)
            return
        subscription = Subscription(
            self._core,
            request,
            flow,
            subscriber=subscriber,
            group=self.group_of(subscriber),
            known=self.state,
            on_renew=self._renew,
            on_over=self._over,
        )
        transaction.to_tag = subscription.local_tag
        self._watchers.setdefault(subscription.key, set()).add(subscription)
        self._of_device[subscriber] = self._of_device.get(subscriber, 0) + 1
        self._core.emit(SubscriptionChanged(subscription.entity, subscriber, active=True))
        subscription.respond(request, transaction, self._seconds(request), now)

    def _refusal(self, request: Request, subscriber: str) -> tuple[int, HeaderFields] | None:
        """Why a new subscription is not taken (RFC 6665 4.2.1.1), in this order."""
        if (refusal := self._misfit(request)) is not None:
            return refusal
        if not request.contacts:
            return 400, ()
        entity = request.ruri.user or ""
        if not entity:
            return 404, ()
        limits = self._limits
        if len(self) >= limits.most or self._of_device.get(subscriber, 0) >= limits.most_of_one:
            return 503, (("Retry-After", "60"),)
        return None

    def _misfit(self, request: Request) -> tuple[int, HeaderFields] | None:
        if event_package(request) != PACKAGE:
            return 489, (("Allow-Events", PACKAGE),)
        if not accepts(request):
            return 406, (("Accept", CONTENT_TYPE),)
        if 0 < self._asked(request) < self._limits.shortest:
            return 423, (("Min-Expires", str(self._limits.shortest)),)
        return None

    def _asked(self, request: Request) -> int:
        return request.expires if request.expires is not None else self._limits.default

    def _seconds(self, request: Request) -> int:
        return min(self._asked(request), self._limits.longest)

    def _renew(self, subscription: Subscription, request: Request, transaction: ServerTransaction, now: float) -> None:
        refusal = self._misfit(request)
        if refusal is not None:
            response = self._core.response(request, refusal[0], to_tag=subscription.local_tag, headers=refusal[1])
            transaction.respond(response, now)
        else:
            subscription.respond(request, transaction, self._seconds(request), now)

    def _over(self, subscription: Subscription) -> None:
        watchers = self._watchers[subscription.key]
        watchers.discard(subscription)
        if not watchers:
            del self._watchers[subscription.key]
        left = self._of_device[subscription.subscriber] - 1
        if left:
            self._of_device[subscription.subscriber] = left
        else:
            del self._of_device[subscription.subscriber]
        self._core.emit(SubscriptionChanged(subscription.entity, subscription.subscriber, active=False))


def accepts(request: Request) -> bool:
    """Whether the subscriber can read what we send; without Accept it can (RFC 4235 3.5)."""
    ranges = {token.partition(";")[0].strip().lower() for token in request.headers.tokens("Accept")}
    return not ranges or bool(ranges & {CONTENT_TYPE, "application/*", "*/*"})
