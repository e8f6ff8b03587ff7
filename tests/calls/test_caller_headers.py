"""Headers of a caller that flows see."""

from __future__ import annotations

from engine.calls.inbound import MAX_HEADER, MAX_HEADERS, custom_headers
from engine.sip.headers import Headers


def test_headers_that_begin_with_x_are_seen() -> None:
    headers = Headers([("From", "<sip:a@b>"), ("X-Shop", "12"), ("x-table", "four"), ("Max-Forwards", "70")])
    assert custom_headers(headers) == {"header.X-Shop": "12", "header.x-table": "four"}


def test_of_several_with_one_name_the_first_is_seen() -> None:
    assert custom_headers([("X-Shop", "1"), ("x-shop", "2")]) == {"header.X-Shop": "1"}


def test_no_caller_can_fill_the_memory_with_them() -> None:
    assert len(custom_headers((f"X-{number}", "1") for number in range(1000))) == MAX_HEADERS
    assert custom_headers([("X-Long", "a" * 9000)]) == {"header.X-Long": "a" * MAX_HEADER}
    assert custom_headers([("X-" + "a" * 9000, "1")]) == {}
