"""Registering with a trunk's registrar (RFC 3261 10.2): refreshed in time, tried again with patience."""

from __future__ import annotations

from dataclasses import dataclass

from engine.sip.core import Core
from engine.sip.digest import Credentials, DigestClient
from engine.sip.events import RegistrationChanged
from engine.sip.exchange import Exchange
from engine.sip.flow import Flow
from engine.sip.headers import Headers, read_seconds
from engine.sip.keeping import DATAGRAM_PAUSE, next_keep_alive
from engine.sip.message import Request, Response
from engine.sip.timers import Timer
from engine.sip.uri import Address, Uri

LONGEST_RETRY_AFTER = 3600.0
"""Seconds that a registrar can make us wait."""
LONGEST_EXPIRY = 86400
MOST_PROXIES = 8
"""Of a Service-Route."""
KEEP_ALIVE = b"\r\n\r\n"
RECOVERY = 5.0
"""Seconds within which we register anew when the connection broke: not all at once (RFC 5626 4.5)."""


@dataclass(frozen=True, slots=True)
class RegistrationConfig:
    """One registration to keep. Seconds."""

    name: str
    registrar: Uri
    """The Request-URI: the domain, without a user (10.2)."""
    aor: Address
    """The address of record that is registered: To and From."""
    flow: Flow
    credentials: Credentials | None = None
    contact_user: str = ""
    line: str = ""
    """A parameter of the Contact by which calls that are for it are told from all others, as it comes back in their
    Request-URI (RFC 3261 16.6 step 6).
    """
    route: tuple[Address, ...] = ()
    """Through which proxies; ``flow`` leads to the first."""
    expires: int = 3600
    keep_alive: float = DATAGRAM_PAUSE
    """Between keep-alives in datagrams, at most: less than what the NATs on the way remember."""
    first_retry: float = 30.0
    longest_retry: float = 1800.0


class Registration:
    """Keeps one registration alive until :meth:`remove`, and the way on which it brings calls: while it stands,
    keep-alives hold the mappings of NATs on the way open, and if its connection breaks it is made anew.
    """

    def __init__(self, core: Core, config: RegistrationConfig, now: float) -> None:
        self.config = config
        self.registered = False
        self.service_route: tuple[Address, ...] = ()
        """The proxies by which the registrar wants our requests to come (RFC 3608)."""
        self.expires_at: float | None = None
        self._core = core
        self._digest = DigestClient(config.credentials, core.random) if config.credentials is not None else None
        self._call_id = core.token() + core.token()
        self._tag = core.token()
        self._cseq = 0
        self._expires = config.expires
        self._failures = 0
        self._removing = False
        self._raised = False
        self._exchange: Exchange | None = None
        self._timer: Timer | None = None
        self._expiry: Timer | None = None
        self._keep_alive_timer: Timer | None = None
        self._send(now)

    def __repr__(self) -> str:
        return f"<Registration {self.config.name} {'registered' if self.registered else 'not registered'}>"

    @property
    def removed(self) -> bool:
        """Whether :meth:`remove` was called."""
        return self._removing

    def refresh(self, now: float) -> None:
        """Register now, whatever the timers say."""
        if not self._removing and self._exchange is None:
            self._send(now)

    def remove(self, now: float) -> None:
        """Take the registration back (10.2.2). One last :class:`RegistrationChanged` follows."""
        if self._removing:
            return
        self._removing = True
        self._core.queue.cancel(self._timer)
        self._core.queue.cancel(self._expiry)
        self._release()
        if self._exchange is None:
            self._send(now)

    def on_link_lost(self, flow: Flow, now: float) -> None:
        """The registrar's way to us broke with the connection: register anew, over a new one.

        While a REGISTER is under way, or has failed, its own patience counts.
        """
        if self._exchange is None and not self._failures and not self._removing:
            self._core.queue.cancel(self._timer)
            self._timer = self._core.queue.at(now + self._core.random.uniform(0.2, 1.0) * RECOVERY, self._send)

    # --- within -----------------------------------------------------------------------------

    def _next_cseq(self) -> int:
        self._cseq += 1
        return self._cseq

    def _send(self, now: float) -> None:
        self._core.queue.cancel(self._timer)
        config, core = self.config, self._core
        headers = Headers()
        headers.add("Max-Forwards", "70")
        for address in config.route:
            headers.add("Route", str(address))
        headers.add("From", str(config.aor.with_tag(self._tag)))
        headers.add("To", str(config.aor))
        headers.add("Call-ID", self._call_id)
        headers.add("CSeq", f"{self._next_cseq()} REGISTER")
        expires = 0 if self._removing else self._expires
        headers.add("Contact", f"{self._contact()};expires={expires}")
        headers.add("Expires", str(expires))
        self._exchange = Exchange(
            core,
            Request("REGISTER", str(config.registrar.as_request_uri()), headers),
            config.flow,
            digest=self._digest,
            next_cseq=self._next_cseq,
            on_final=self._answered,
            now=now,
        )

    def _contact(self) -> str:
        user = self.config.contact_user or self.config.aor.uri.user
        return self._core.contact(self.config.flow, user, line=self.config.line)

    def _answered(self, status: int, response: Response | None, now: float) -> None:
        wanted_removal = self._exchange is not None and self._exchange.request.expires == 0
        self._exchange = None
        if self._removing:
            if wanted_removal:
                self._change(now, registered=False, status=status, reason=_reason(response), retry_at=None)
            else:
                self._send(now)  # it was asked for while a REGISTER was under way
        elif response is not None and status < 300:
            self._accepted(response, now)
        elif status == 423 and response is not None and self._raise_expiry(response):
            self._send(now)
        else:
            self._failed(status, response, now)

    def _accepted(self, response: Response, now: float) -> None:
        granted = self._granted(response)
        if granted <= 0:
            self._failed(response.status, response, now)
            return
        self._failures = 0
        self._raised = False
        self.service_route = _service_route(response)
        queue = self._core.queue
        self.expires_at = now + granted
        queue.cancel(self._expiry)
        self._expiry = queue.at(self.expires_at, self._expired)
        retry_at = now + refresh_after(granted)
        self._timer = queue.at(retry_at, self._send)
        self._hold(now)
        if not self.registered:
            self._change(now, registered=True, status=response.status, reason=response.reason, retry_at=retry_at)

    def _granted(self, response: Response) -> int:
        """The lifetime of our contact among those listed (10.2.4), in a header of its own if it does not say.

        Registrars write the address that they saw instead of ours. Then ours is the one with our user or the
        only one; of several the shortest-lived, as refreshing too early does no harm.
        """
        ours = Address.parse(self._contact()).uri
        listed = response.contacts
        found = [contact for contact in listed if _same_place(contact.uri, ours)]
        found = found or [contact for contact in listed if contact.uri.user == ours.user]
        found = found or list(listed if len(listed) == 1 else ())
        lifetimes = [read_seconds(contact.param("expires")) for contact in found]
        general = response.expires if response.expires is not None else self._expires
        return min(min((seconds for seconds in lifetimes if seconds is not None), default=general), LONGEST_EXPIRY)

    def _hold(self, now: float) -> None:
        """Watch over the flow, if that is not done yet."""
        if self._keep_alive_timer is None:
            self._core.links.attach(self.config.flow, self)
            self._schedule_keep_alive(now)

    def _release(self) -> None:
        self._core.links.detach(self.config.flow, self)
        self._core.queue.cancel(self._keep_alive_timer)
        self._keep_alive_timer = None

    def _schedule_keep_alive(self, now: float) -> None:
        due = next_keep_alive(self._core, self.config.flow, self.config.keep_alive, now)
        self._keep_alive_timer = self._core.queue.at(due, self._keep_alive)

    def _keep_alive(self, now: float) -> None:
        """RFC 5626 4.4.1 for streams; in datagrams its CRLFs are ignored by all (RFC 3261 7.5), NATs aside."""
        self._core.transmit(self.config.flow, KEEP_ALIVE)
        self._schedule_keep_alive(now)

    def _raise_expiry(self, response: Response) -> bool:
        """Take the Min-Expires of a 423 (10.2.8); once, and only if it asks for more than we did."""
        shortest = read_seconds(response.headers.get("Min-Expires"))
        if self._raised or shortest is None or not self._expires < shortest <= LONGEST_EXPIRY:
            return False
        self._raised = True
        self._expires = shortest
        return True

    def _failed(self, status: int, response: Response | None, now: float) -> None:
        """Try again after Retry-After, or after a pause that doubles; half of it is chance (RFC 5626 4.5)."""
        asked = _retry_after(response)
        if asked is not None:
            delay = min(max(asked, 1.0), LONGEST_RETRY_AFTER)
        else:
            longest = min(self.config.first_retry * 2 ** min(self._failures, 16), self.config.longest_retry)
            delay = longest * self._core.random.uniform(0.5, 1.0)
        self._failures += 1
        self._raised = False
        retry_at = now + delay
        self._timer = self._core.queue.at(retry_at, self._send)
        registered = self.expires_at is not None and now < self.expires_at
        self._change(now, registered=registered, status=status, reason=_reason(response), retry_at=retry_at)

    def _expired(self, now: float) -> None:
        self.expires_at = None
        self._release()
        retry_at = self._timer.deadline if self._timer is not None and self._timer.action is not None else None
        self._change(now, registered=False, status=408, reason="expired", retry_at=retry_at)

    def _change(self, now: float, *, registered: bool, status: int, reason: str, retry_at: float | None) -> None:
        self.registered = registered
        self._core.emit(RegistrationChanged(self, registered, status, reason, retry_at))


def _same_place(one: Uri, other: Uri) -> bool:
    return (one.user, one.host.lower(), one.port) == (other.user, other.host.lower(), other.port)


def refresh_after(granted: int) -> float:
    """When to refresh a registration of ``granted`` seconds: at nine tenths, and leaving room to try again."""
    return max(1.0, min(granted * 0.9, max(granted - 40.0, granted * 0.5)))


def _service_route(response: Response) -> tuple[Address, ...]:
    """RFC 3608 section 6: the last 2xx counts, whatever there was before; one that cannot be read counts as none."""
    try:
        found = [each for value in response.headers.all("Service-Route") for each in Address.parse_many(value)]
    except ValueError:
        return ()
    return tuple(found[:MOST_PROXIES]) if all(each.uri.is_sip for each in found) else ()


def _reason(response: Response | None) -> str:
    return response.reason if response is not None else "no answer"


def _retry_after(response: Response | None) -> float | None:
    if response is None:
        return None
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    seconds = read_seconds(value.partition(";")[0].partition("(")[0])
    return None if seconds is None else float(seconds)
