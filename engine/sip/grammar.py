"""The lexical ground of RFC 3261 section 25.1: tokens, quoted strings, parameters, lists.

All functions work on header values that are unfolded already: no CR or LF is left in them.
Regular expressions use possessive quantifiers, so that a hostile value costs linear time.
"""

from __future__ import annotations

import re
from functools import lru_cache

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order. ``None`` is a parameter without ``=``. Quoted values keep their quotes."""

# token = 1*(alphanum / "-" / "." / "!" / "%" / "*" / "_" / "+" / "`" / "'" / "~" )
TOKEN = r"[A-Za-z0-9\-.!%*_+`'~]++"  # noqa: S105 (the grammar's word)
# quoted-string = DQUOTE *(qdtext / quoted-pair ) DQUOTE
QUOTED = r'"(?:[^"\\]++|\\.)*+"'
# generic-param value = token / host / quoted-string. Wider than the grammar by what phones send in
# tags and branches (base64 with "=", "@", "/"); never a separator of an enclosing rule.
_VALUE = r"[!#-+\--:=?-~]++"

# SEMI may be doubled or stand at the end: what is between is no parameter.
_PARAM = re.compile(rf"(?:[ \t]*+;)++[ \t]*+({TOKEN})(?:[ \t]*+=[ \t]*+({QUOTED}|{_VALUE}))?", re.DOTALL)
_NO_PARAM = re.compile(r"(?:[ \t]*+;)++[ \t]*+")
_TOKEN_ONLY = re.compile(TOKEN)
_ITEM = re.compile(rf"(?:{QUOTED}|<[^<>]*+>|[^\",<]++)++", re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]++")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]++(?: [A-Za-z0-9\-.!%*_+`'~]++)*+")

MAX_PARAMS = 64
"""More parameters on one value than this are nobody's phone."""


def is_token(text: str) -> bool:
    return _TOKEN_ONLY.fullmatch(text) is not None


def read_params(text: str, position: int) -> tuple[Params, int]:
    """``*( SEMI generic-param )`` from ``position`` on: the parameters and where they end. Empty ones are skipped.

    Stops at what is no parameter; the caller decides whether that is an error.
    """
    params: list[tuple[str, str | None]] = []
    match = _PARAM.match(text, position)
    while match is not None:
        params.append((match[1], match[2]))
        if len(params) > MAX_PARAMS:
            raise ValueError("too many parameters")
        position = match.end()
        match = _PARAM.match(text, position)
    match = _NO_PARAM.match(text, position)
    return tuple(params), position if match is None else match.end()


def skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def find_param(params: Params, name: str) -> str | None:
    """Value of the first parameter called ``name`` (lower case), ``""`` when it has none, ``None`` when absent."""
    for key, value in params:
        if key == name or key.lower() == name:
            return "" if value is None else value
    return None


def set_param(params: Params, name: str, value: str | None) -> Params:
    """``params`` with ``name`` (lower case) set in its place, or appended."""
    if find_param(params, name) is None:
        return (*params, (name, value))
    return tuple((key, value if key.lower() == name else old) for key, old in params)


def write_params(params: Params) -> str:
    return "".join([f";{name}" if value is None else f";{name}={value}" for name, value in params])


def split_list(text: str) -> list[str]:
    """The elements of a comma-separated value; commas inside quotes and angle brackets do not count.

    Empty elements (``a,,b``) are skipped. Raises ``ValueError`` on an unfinished quote or bracket.
    """
    if "," not in text:
        return [text] if text and not text.isspace() else []
    items: list[str] = []
    position = 0
    while True:
        match = _ITEM.match(text, position)
        if match is not None:
            position = match.end()
            item = match[0].strip(" \t")
            if item:
                items.append(item)
        if position == len(text):
            return items
        if text[position] != ",":
            raise ValueError("unfinished quote or bracket")
        position += 1


def unquote(text: str) -> str:
    """The text that a quoted string (or a bare token) stands for, without control characters."""
    if text.startswith('"'):
        text = text[1:-1]
        if "\\" in text:
            text = _QUOTED_PAIR.sub(r"\1", text)
    return _CONTROLS.sub("", text)


def quote(text: str) -> str:
    """``text`` as a quoted string. Control characters cannot be said in one and are left out."""
    return '"' + _CONTROLS.sub("", text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def write_display_name(text: str) -> str:
    """display-name = *(token LWS) / quoted-string"""
    return text if _PLAIN_NAME.fullmatch(text) else quote(text)


_ESCAPED = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_BARE_PERCENT = re.compile(r"%(?!(?:[01][0-9A-Fa-f]|7[Ff]))")
_ESCAPED_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


def _unescape_run(match: re.Match[str]) -> str:
    octets = bytes.fromhex(match[0].replace("%", ""))
    octets = _ESCAPED_CONTROL.sub(lambda control: b"%%%02X" % control[0][0], octets)
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def unescape(text: str) -> str:
    """``%XX`` undone. Escaped control characters stay escaped: no file, log or database wants them."""
    if "%" not in text:
        return text
    return _ESCAPED.sub(_unescape_run, text)


def escape(text: str, allowed: re.Pattern[str]) -> str:
    """``text`` with everything ``%XX``-escaped that ``allowed`` (a character class) does not match."""
    text = _BARE_PERCENT.sub("%25", text)
    return "".join([char if char == "%" or allowed.match(char) else _escape_char(char) for char in text])


@lru_cache(maxsize=512)
def _escape_char(char: str) -> str:
    return "".join(f"%{octet:02X}" for octet in char.encode("utf-8", "replace"))
