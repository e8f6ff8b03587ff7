"""Passwords, programs with secrets, tokens of several kinds."""

from __future__ import annotations

import pytest

from engine.accounts import clients, repository, tokens
from engine.accounts.entities import User
from engine.accounts.repository import Taken, Unknown
from engine.accounts.secrets import MOST_WRONG, WINDOW, Guesses, PasswordDesk, hashed, matches
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
