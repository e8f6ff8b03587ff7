from __future__ import annotations

from engine.calls.admission import TrunkAddress, TrunkBook, plain_address


async def test_a_trunk_is_known_by_its_address():
    book = TrunkBook([TrunkAddress("carrier", "127.0.0.1", 5070, "to"), TrunkAddress("six", "::1")])
    assert await book.resolve()
    found = book.find("127.0.0.1")
    assert found is not None
    assert (found.name, found.kind, found.number_from, found.host) == ("carrier", "trunk", "to", "127.0.0.1:5070")
    assert book.find("::ffff:127.0.0.1") == found
    assert book.find("::1") is not None
    assert book.find("127.0.0.2") is None


async def test_a_name_that_does_not_resolve_is_no_error():
    book = TrunkBook([TrunkAddress("carrier", "no-such-host.invalid")])
    assert not await book.resolve()
    assert book.find("127.0.0.1") is None


async def test_a_trunk_delivers_its_own_numbers_only():
    book = TrunkBook([TrunkAddress("carrier", "127.0.0.1", numbers=("+39 011-1", "1000"))])
    await book.resolve()
    found = book.find("127.0.0.1")
    assert found is not None
    assert found.delivers("+390111")
    assert found.delivers("10 00")
    assert not found.delivers("+390112")
    everything = TrunkAddress("carrier", "::1").source()
    assert everything.delivers("anything")
    assert everything.host == "[::1]"


def test_addresses_have_one_spelling():
    assert plain_address("[fe80::1%eth0]") == "fe80::1"
    assert plain_address("::ffff:10.0.0.1") == "10.0.0.1"
    assert plain_address("pbx.example") == "pbx.example"
