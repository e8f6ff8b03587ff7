"""Devices that register by hand."""

from __future__ import annotations

from itertools import count
from random import Random

from sip_network import ALICE, BOB, Phone

from engine.sip.digest import Credentials, DigestClient
from engine.sip.flow import Flow
from engine.sip.headers import Headers
from engine.sip.message import Request, Response
from engine.sip.parser import parse

CONTACT = "<sip:desk@192.0.2.2:5060>"
DEVICES = {"desk": "one", "door": "two"}


branches = count(1)


class Desk:
    """A device that registers by hand."""

    def __init__(self, registrar: Phone, remote: tuple[str, int] = BOB, name: str = "desk", password: str = "one"):
        self.phone = registrar
        self.flow = Flow("udp", ALICE, remote)
        self.name = name
        self.cseq = 0
        self.call_id = f"{name}@{remote[0]}"
        self.digest = DigestClient(Credentials(name, password), Random(3))
        self.now = 0.0
        self.more: list[tuple[str, str]] = []
        """Headers of all its requests."""

    def once(self, contacts: list[str], expires: str = "", to: str = "") -> Response | None:
        self.cseq += 1
        headers = Headers()
        host, port = self.flow.remote
        headers.add("Via", f"SIP/2.0/UDP {host}:{port};branch=z9hG4bK{next(branches)}")
        headers.add("From", f"<sip:{to or self.name}@ivrea>;tag={next(branches)}")
        headers.add("To", f"<sip:{to or self.name}@ivrea>")
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{self.cseq} REGISTER")
        for contact in contacts:
            headers.add("Contact", contact)
        if expires:
            headers.add("Expires", expires)
        for header, value in self.more:
            headers.add(header, value)
        self.request = Request("REGISTER", "sip:ivrea", headers)
        self.digest.authorize(self.request)
        self.phone.endpoint.receive_message(self.request, self.flow, self.now)
        sent = self.phone.endpoint.outgoing()
        self.phone.seen += self.phone.endpoint.events()
        if not sent:
            return None
        response = parse(sent[0][1])
        assert isinstance(response, Response)
        return response

    def register(self, *contacts: str, expires: str = "", to: str = "") -> Response:
        response = self.once(list(contacts), expires, to)
        assert response is not None
        if response.status == 401 and self.digest.challenged(response, self.request):
            response = self.once(list(contacts), expires, to)
            assert response is not None
        return response
