from __future__ import annotations

from engine.calls.admission import TrunkAddress, TrunkBook, host_only, plain_address


async def test_a_trunk_is_known_by_its_address():
    book = TrunkBook([TrunkAddress("carrier", "127.0.0.1:5070", "to"), TrunkAddress("six", "[::1]:5060")])
    await book.resolve()
    found = book.find("127.0.0.1")
    assert found is not None
    assert (found.name, found.kind, found.number_from) == ("carrier", "trunk", "to")
    assert book.find("::ffff:127.0.0.1") == found
    assert book.find("::1") is not None
    assert book.find("127.0.0.2") is None


async def test_a_name_that_does_not_resolve_is_no_error():
    book = TrunkBook([TrunkAddress("carrier", "no-such-host.invalid")])
    await book.resolve()
    assert book.find("127.0.0.1") is None


def test_hosts():
    assert host_only("[2001:db8::1]:5060") == "2001:db8::1"
    assert host_only("2001:db8::1") == "2001:db8::1"
    assert host_only("pbx.example:5060") == "pbx.example"
    assert plain_address("[fe80::1%eth0]") == "fe80::1"
    assert plain_address("pbx.example") == "pbx.example"
