"""Passwords, programs with secrets, tokens of several kinds."""

from __future__ import annotations

import asyncio
import time

import pytest

from engine.accounts import clients, repository, tokens
from engine.accounts.entities import User
from engine.accounts.repository import Taken, Unknown
from engine.accounts.secrets import (
    LONGEST_DELAY,
    MOST_WRONG,
    MOST_WRONG_OF_ADDRESS,
    WINDOW,
    Guesses,
    PasswordDesk,
    delay_of,
    hashed,
    matches,
)
from engine.store import Store


async def _two_accounts(store: Store) -> tuple[User, User]:
    await store.migrate()
    async with store.writing() as connection:
        one = await repository.add_account(connection, "one")
        two = await repository.add_account(connection, "two")
        ann = await repository.add_user(connection, one.id, "ann", role="owner")
        bob = await repository.add_user(connection, two.id, "bob", role="agent")
    return ann, bob


def test_a_password_is_kept_so_that_it_cannot_be_read() -> None:
    kept = hashed("geheim")
    assert "geheim" not in kept
    assert kept != hashed("geheim")
    assert matches("geheim", kept)
    assert not any(matches(wrong, kept) for wrong in ("", "Geheim", "geheim ", "x" * 5000))
    assert not matches("", "")
    assert not matches("geheim", "scrypt$zz$00")


def test_wrong_guesses_are_counted_by_name_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.accounts.secrets.MOST_NAMES", 3)
    guesses = Guesses()
    for second in range(MOST_WRONG):
        guesses.wrong("ann", float(second))
    assert not guesses.may_try("ann", 20.0)
    assert guesses.may_try("bob", 20.0)
    assert guesses.may_try("ann", WINDOW + 20.0), "they are of long ago"
    for name in "abcd":
        guesses.wrong(name, 30.0)
    assert len(guesses._wrong) == 3


async def test_the_desk_remembers_who_was_right_and_stops_looking_after_many_guesses() -> None:
    desk, kept = PasswordDesk(), hashed("geheim")
    assert await desk.check("ann", "geheim", kept) is True
    for _ in range(MOST_WRONG):
        assert await desk.check("ann", "falsch", kept) is False
    assert await desk.check("ann", "falsch", kept) is None
    assert await desk.check("ann", "geheim", kept) is True, "her own programs go on"
    assert await desk.check("ann", "geheim", hashed("neu")) is None, "an old password is not remembered for a new one"
    assert await desk.check("bob", "", "") is False


async def test_nobody_is_locked_out_by_somebody_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guesses slow down those who were never here, and the right password is taken from them too."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr("engine.accounts.secrets.matches", lambda secret, kept: secret == kept)
    monkeypatch.setattr("engine.accounts.secrets.REMEMBER_SECONDS", -1.0)
    monkeypatch.setattr("engine.accounts.secrets.asyncio.sleep", sleep)
    desk = PasswordDesk()
    assert await desk.check("ann", "geheim", "geheim", "192.0.2.1") is True
    guesses = [await desk.check("ann", "falsch", "geheim", f"198.51.100.{n // MOST_WRONG}") for n in range(80)]
    assert guesses == [False] * 80
    assert await desk.check("ann", "geheim", "geheim", "198.51.100.1") is None, "no more guesses from there"
    slowest = max(waited)
    assert slowest == LONGEST_DELAY
    waited.clear()
    assert await desk.check("ann", "geheim", "geheim", "192.0.2.1") is True
    assert waited == [], "she was there before"
    assert await desk.check("ann", "geheim", "geheim", "203.0.113.9") is True
    assert waited == [LONGEST_DELAY]
    assert await desk.check("ann", "geheim", "geheim", "203.0.113.9") is True
    assert await desk.check("bob", "right", "right", "203.0.113.9") is True
    assert waited == [LONGEST_DELAY], "it is known now, and of others nothing was guessed"


async def test_guesses_that_come_at_once_count_and_so_do_those_for_many_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.accounts.secrets.matches", lambda secret, kept: secret == kept)
    desk = PasswordDesk()
    found = await asyncio.gather(*(desk.check("ann", f"{n}", "geheim", "192.0.2.1") for n in range(50)))
    assert (found.count(False), found.count(None)) == (MOST_WRONG, 50 - MOST_WRONG)
    for n in range(MOST_WRONG_OF_ADDRESS):
        assert await desk.check(f"user{n}", "Summer2026", "geheim", "192.0.2.2") is False
    assert await desk.check("bob", "geheim", "geheim", "192.0.2.2") is None
    assert await desk.check("bob", "geheim", "geheim", "192.0.2.3") is True
    assert [delay_of(n) for n in (0, 9, 10, 20, 30, 40, 50, 100)] == [0, 0, 0.25, 0.5, 1, 2, 4, 4]


async def test_an_address_takes_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those who guess at once one is looked at, so that somebody elsewhere does not wait for all of them."""
    began, order = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def look(secret: str, kept: str) -> bool:
        loop.call_soon_threadsafe(began.set)
        time.sleep(0.02)
        order.append(secret)
        return secret == kept

    monkeypatch.setattr("engine.accounts.secrets.matches", look)
    desk = PasswordDesk()
    flood = [asyncio.create_task(desk.check(f"u{n}", f"x{n}", "geheim", "198.51.100.1")) for n in range(10)]
    await began.wait()
    assert await desk.check("ann", "geheim", "geheim", "192.0.2.1") is True
    assert len(order) <= 3
    assert await asyncio.gather(*flood) == [False] * 10


async def test_somebody_logs_in_by_an_address_that_is_theirs_alone(store: Store) -> None:
    ann, bob = await _two_accounts(store)
    async with store.writing() as connection:
        await repository.set_login(connection, ann.account_id, "ann", email=" Ann@Example.com", password=hashed("a"))
        with pytest.raises(Taken, match=r"ann@example\.com"):
            await repository.set_login(connection, bob.account_id, "bob", email="ann@example.COM", password=None)
        with pytest.raises(Unknown):
            await repository.set_login(connection, bob.account_id, "ann", email="x@example.com", password=None)
        found = await repository.user_by_email(connection, "ANN@example.com")
        assert found is not None
        assert found.id == ann.id
        assert matches("a", found.password or "")
        await repository.set_login(connection, ann.account_id, ann.id, email=None, password=None)
        assert await repository.user_by_email(connection, "ann@example.com") is None


async def test_a_client_has_a_secret_and_its_tokens_go_with_it(store: Store) -> None:
    ann, bob = await _two_accounts(store)
    async with store.writing() as connection:
        client, secret = await clients.add(
            connection, ann.account_id, "crm", user_id=ann.id, redirect_uris=("https://crm.example/back",)
        )
        with pytest.raises(Unknown):
            await clients.add(connection, ann.account_id, "crm", user_id=bob.id)
        assert await clients.verify(connection, client.id, secret) == client == await clients.get(connection, client.id)
        assert await clients.verify(connection, client.id, secret + "x") is None
        assert await clients.verify(connection, "0" * 32, secret) is None
        token = await tokens.issue(
            connection, ann.account_id, ann.id, kind="oauth", scopes=("calls", "users"), client_id=client.id
        )
        caller = await tokens.verify(connection, token, "oauth")
        assert caller is not None
        assert (caller.scopes, caller.client_id) == (("calls", "users"), client.id)
        assert await tokens.verify(connection, token) is None, "a token is good for the API that issued it alone"
        with pytest.raises(Unknown):
            await clients.new_secret(connection, bob.account_id, client.id)
        other = await clients.new_secret(connection, ann.account_id, client.id)
        assert await clients.verify(connection, client.id, secret) is None
        assert await clients.verify(connection, client.id, other) == client
        assert await tokens.verify(connection, token, "oauth") is None
        with pytest.raises(Unknown):
            await clients.remove(connection, bob.account_id, client.id)
        await clients.remove(connection, ann.account_id, client.id)
        assert await clients.all_of(connection, ann.account_id) == []
