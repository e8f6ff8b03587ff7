"""Where calls of an account may go, once they leave us: which numbers, for whom, and how many a day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.accounts.entities import Account
from engine.addresses import plain_number
from engine.calls.identity import CameFrom
from engine.calls.spending import Spent
from engine.sip.routing import same_host
from engine.sip.uri import Uri

Reason = Literal["target_refused", "relay_refused", "daily_limit"]

_RELAYED: dict[str, frozenset[str]] = {
    "no": frozenset({""}),
    "trunks": frozenset({"", "trunk"}),
    "any": frozenset({"", "trunk", "anyone"}),
}


class NotAllowed(Exception):
    """A call may not go where it is to go; the text says why, ``code`` is a word for programs."""

    def __init__(self, code: Reason, why: str) -> None:
        super().__init__(why)
        self.code = code

    @property
    def status(self) -> int:
        """HTTP's: 403, or 429 for what another day allows."""
        return 429 if self.code == "daily_limit" else 403


@dataclass(frozen=True, slots=True)
class Allowance:
    """That of one account. ``spent`` tells what its calls have cost today."""

    account: Account
    spent: Callable[[], Spent]

    def check_number(self, number: str, came_from: CameFrom) -> None:
        """Raises :class:`NotAllowed` when ``number`` may not be called by trunks, as it is dialled."""
        allowed = self.account.allowed
        if allowed and not any(number.startswith(each) for each in allowed if ":" not in each):
            raise NotAllowed("target_refused", f"the account may not call {number}")
        self._check(number, came_from)

    def check_uri(self, uri: Uri, came_from: CameFrom) -> None:
        """The same for a SIP address that is not one of our telephones."""
        allowed = self.account.allowed
        hosts = [each.partition(":")[2] for each in allowed if ":" in each]
        if allowed and not any(same_host(uri.host, host) for host in hosts):
            raise NotAllowed("target_refused", f"the account may not call {uri}")
        self._check(str(uri), came_from)

    def check_transfer(self, target: str) -> None:
        """The same for a number or SIP address that somebody is sent to, who calls there then."""
        allowed = self.account.allowed
        if not allowed:
            return
        try:
            uri = Uri.parse(target) if ":" in target else None
        except ValueError:
            uri = None
        number = plain_number(target if uri is None else uri.user or "")
        hosts = [each.partition(":")[2] for each in allowed if ":" in each]
        if uri is not None and any(same_host(uri.host, host) for host in hosts):
            return
        if not any(number.startswith(each) for each in allowed if ":" not in each):
            raise NotAllowed("target_refused", f"the account may not transfer to {target}")

    def _check(self, target: str, came_from: CameFrom) -> None:
        account = self.account
        if came_from not in _RELAYED[account.relay]:
            who = "a trunk" if came_from == "trunk" else "a stranger"
            raise NotAllowed("relay_refused", f"a call of {who} may not go on to {target}")
        if not (account.calls_per_day or account.minutes_per_day):
            return
        spent = self.spent()
        if account.calls_per_day and spent.calls >= account.calls_per_day:
            raise NotAllowed("daily_limit", f"the account has made its {account.calls_per_day} calls of today")
        if account.minutes_per_day and spent.seconds >= account.minutes_per_day * 60:
            raise NotAllowed("daily_limit", f"the account has talked its {account.minutes_per_day} minutes of today")
