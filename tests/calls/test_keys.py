from __future__ import annotations

from engine.calls.keys import KeyArbiter


def deliver(arbiter: KeyArbiter, *presses: tuple[str, str, float]) -> str:
    return "".join(arbiter.press(method, digit, at) for method, digit, at in presses)  # type: ignore[arg-type]


def test_one_press_by_three_methods_is_one_digit():
    for seconds in (0.06, 0.25, 2.0):
        arbiter = KeyArbiter()
        assert (
            deliver(
                arbiter,
                ("rfc4733", "5", 0.0),
                ("inband", "5", 0.04),
                ("info", "5", seconds),
            )
            == "5"
        )


def test_the_detector_may_come_before_the_owner():
    arbiter = KeyArbiter()
    deliver(arbiter, ("rfc4733", "1", 0.0), ("inband", "1", 0.05))
    assert deliver(arbiter, ("inband", "2", 1.0), ("rfc4733", "2", 1.02)) == "2"
    assert deliver(arbiter, ("inband", "3", 2.0), ("rfc4733", "3", 2.02)) == "3"
    assert arbiter.owner == "rfc4733"


def test_the_same_key_twice_quickly_is_two_digits():
    arbiter = KeyArbiter()
    heard = deliver(
        arbiter,
        ("rfc4733", "1", 0.0),
        ("inband", "1", 0.05),
        ("rfc4733", "1", 0.2),
        ("inband", "1", 0.25),
        ("info", "1", 0.3),
        ("info", "1", 0.4),
    )
    assert heard == "11"


def test_the_owner_loses_the_leg_after_two_misses_and_nothing_is_lost():
    arbiter = KeyArbiter()
    assert deliver(arbiter, ("rfc4733", "1", 0.0), ("inband", "1", 0.05)) == "1"
    assert deliver(arbiter, ("inband", "2", 1.0)) == ""
    assert deliver(arbiter, ("inband", "3", 2.0)) == "23"
    assert arbiter.owner == "inband"
    assert deliver(arbiter, ("inband", "4", 3.0)) == "4"


def test_a_single_false_detection_is_forgotten():
    arbiter = KeyArbiter()
    deliver(arbiter, ("rfc4733", "1", 0.0), ("inband", "1", 0.05))
    assert deliver(arbiter, ("inband", "7", 1.0)) == ""
    assert deliver(arbiter, ("inband", "7", 20.0)) == ""
    assert arbiter.owner == "rfc4733"


def test_a_method_that_misses_digits_itself_is_still_paired():
    arbiter = KeyArbiter()
    heard = deliver(
        arbiter,
        ("rfc4733", "1", 0.0),
        ("rfc4733", "2", 0.3),
        ("rfc4733", "3", 0.6),
        ("inband", "3", 0.65),
        ("rfc4733", "4", 0.9),
        ("inband", "4", 0.95),
    )
    assert heard == "1234"


def test_a_new_negotiation_frees_the_leg():
    arbiter = KeyArbiter()
    deliver(arbiter, ("rfc4733", "1", 0.0))
    arbiter.release_owner()
    assert deliver(arbiter, ("inband", "2", 1.0)) == "2"
    assert arbiter.owner == "inband"
