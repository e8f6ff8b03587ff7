from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from registrar_kit import DEVICES, Desk
from sip_network import ALICE, ANSWER, BOB, Network, Peer, Phone

from engine.sip.endpoint import Endpoint
from engine.sip.events import Event, Invited


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def alice(network: Network) -> Phone:
    return Phone(network, ALICE, seed=1)


@pytest.fixture
def bob(network: Network) -> Phone:
    return Phone(network, BOB, seed=2)


@pytest.fixture
def peer(network: Network) -> Peer:
    """A scripted peer in Bob's place."""
    return Peer(network, BOB)


@pytest.fixture
def answering() -> Callable[[Phone], Phone]:
    """Makes a phone answer every call at once."""

    def prepare(phone: Phone) -> Phone:
        def react(event: Event) -> None:
            if isinstance(event, Invited):
                event.session.accept(ANSWER, phone.now)

        phone.react = react
        return phone

    return prepare


@pytest.fixture
def registrar(network: Network) -> Phone:
    phone = Phone(network, ALICE)
    phone.endpoint = Endpoint(random=Random(1), contact_host=lambda flow: flow.local, devices=DEVICES, realm="ivrea")
    return phone


@pytest.fixture
def desk(registrar: Phone) -> Desk:
    return Desk(registrar)
