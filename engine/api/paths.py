"""A kind of path parameter that takes everything that is left, line breaks too: for answers to paths that are none."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor

ANYTHING = "anything"
"""As in ``/{rest:anything}``; Starlette's ``path`` ends at a line break."""


class _Anything(Convertor[str]):
    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(ANYTHING, _Anything())
