"""From a step's parameters and a call's variables to an HTTP request, and from its answer to a graph."""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from .call import MAX_KEPT, Callback, Fetched, Reply, Request
from .dialects import compile_flow
from .dialects.compiling import Compiled
from .findings import Finding
from .graph import Fetch, Graph, Param, Tell
from .templates import Variables, fill, fill_url
from .uuids import uuid_of

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def parameters(params: Iterable[Param], variables: Variables) -> Iterator[tuple[str, str]]:
    """Names and values of those parameters that are to be sent; a variable gives none a value that has its own name."""
    params = tuple(params)
    own = {param.name for param in params if not param.each}
    for param in params:
        for name, value in _named(param, variables):
            if (value or param.always) and not (param.each and name in own):
                yield name, value


def _named(param: Param, variables: Variables) -> Iterator[tuple[str, str]]:
    if not param.each:
        value = fill(param.value, variables).lstrip(param.strip or "\0")
        yield param.name, uuid_of(value) if param.kind == "uuid" else value
        return
    found = {name.removeprefix(param.each): value for name, value in variables.items() if name.startswith(param.each)}
    if param.kind == "object":
        yield param.name, json.dumps(found) if found else ""
    else:
        yield from ((param.name.replace("{}", name), value) for name, value in found.items())


def with_numbers(params: Iterable[Param], members: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON body, numbers as such."""
    numbers = {param.name for param in params if param.kind == "number"}
    return {name: int(value) if name in numbers and _is_whole(value) else value for name, value in members.items()}


def _is_whole(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 15


def fetch_request(step: Fetch, variables: Variables) -> Request:
    """The request that ``step`` makes of a call with these ``variables``. Raises :class:`~.templates.UnsafeUrl`."""
    body, content_type = _body(step, variables) if step.method == "POST" else (b"", "")
    query = tuple(parameters(step.query, variables))
    return Request(fill_url(step.url, variables), step.method, query, body, content_type, step.patience)


def _body(step: Fetch | Tell, variables: Variables) -> tuple[bytes, str]:
    """The body of a POST, and its content type."""
    pairs = list(parameters(step.params, variables))
    if step.encoding == "json":
        body, content_type = json.dumps(with_numbers(step.params, nested(pairs))).encode(), JSON
    else:
        body, content_type = urlencode(pairs).encode(), FORM
    if step.content_type:
        content_type = "" if step.content_type == "-" else step.content_type
    return body, content_type


_INNER = re.compile(r"([^\[\]]+)\[([^\[\]]*)\]\Z")


def nested(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Parameters as a JSON object: ``a[b]``, as forms have it, is the member ``b`` of the object ``a``."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        inner = _INNER.match(name)
        group = result.setdefault(inner.group(1), {}) if inner else None
        if inner and isinstance(group, dict):
            group[inner.group(2)] = value
        else:
            result[name] = value
    return result


def tell_request(step: Tell, variables: Variables) -> Callback:
    """The callback that ``step`` writes down. The query of a POST becomes part of its URL.

    Raises :class:`~.templates.UnsafeUrl`.
    """
    url = fill_url(step.url, variables)
    query = list(parameters(step.query, variables))
    if step.method == "GET":
        return Callback(url, dict(query + list(parameters(step.params, variables))), "GET")
    if step.content_type or any(param.kind == "number" for param in step.params):
        body, content_type = _body(step, variables)
        return Callback(with_query(url, query), {"content_type": content_type, "body": body.decode()}, "POST", "body")
    return Callback(with_query(url, query), dict(parameters(step.params, variables)), "POST", step.encoding)


def with_query(url: str, query: Iterable[tuple[str, str]]) -> str:
    """``url`` with ``query`` behind the query that it has, which stays as it is."""
    more = urlencode(list(query))
    if not more:
        return url
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{more}" if parts.query else more))


def readers_for(step: Fetch, content_type: str) -> tuple[str, ...]:
    """The compilers to try on an answer of this type (parameters after ``;`` do not count)."""
    kind = content_type.partition(";")[0].strip().casefold()
    readers = dict(step.readers)
    return readers.get(kind, readers.get("", ()))


def read_reply(step: Fetch, reply: Reply) -> Compiled:
    """The flow in an answer: that of the first compiler that makes a graph of it, else the findings of the first."""
    first: Compiled | None = None
    for dialect in readers_for(step, reply.content_type):
        compiled = compile_flow(reply.body, name=reply.url, dialect=dialect, base=reply.url)
        if compiled.graph is not None:
            return compiled
        first = first or compiled
    kind = reply.content_type or "an answer without a content type"
    return first or Compiled(None, (Finding("content-type", "error", "", f"{kind} is no flow"),))


MOST_HEADERS = 50
MAX_HEADER = 1000


def kept(fetched: Fetched, request: Request) -> Fetched:
    """The note of a request with all of it; so is what comes back (:func:`answered`)."""
    sent = request.body[:MAX_KEPT].decode("utf-8", "replace")
    return replace(fetched, kept=True, sent=sent, sent_type=request.content_type)


def answered(fetched: Fetched, reply: Reply) -> Fetched:
    """The note of a request with what came back."""
    body = ""
    if len(reply.body) <= MAX_KEPT:
        try:
            body = reply.body.decode()
        except UnicodeDecodeError:
            body = ""
    return replace(
        fetched,
        status=reply.status,
        content_type=reply.content_type,
        source=reply.url,
        body=body,
        size=len(reply.body),
        digest=hashlib.sha256(reply.body).hexdigest(),
        headers=_headers(reply) if fetched.kept else {},
    )


def _headers(reply: Reply) -> dict[str, str]:
    """Those of an answer, as many and as long as are kept."""
    first = list(reply.headers.items())[:MOST_HEADERS]
    return {name.lower(): value[:MAX_HEADER] for name, value in first}


class LastGood:
    """The last flow that came from each URL to each account, for when its server fails. Bounded; one for all calls.

    ``most`` flows are kept, and those whose documents come to ``most_octets``: for others the account that has most is
    the one that loses its oldest.
    """

    def __init__(self, most: int = 1000, most_octets: int = 32 << 20) -> None:
        self._most = most
        self._most_octets = most_octets
        self._octets = 0
        self._kept: dict[str, OrderedDict[str, _Kept]] = {}

    def keep(self, account: str, url: str, graph: Graph, octets: int) -> None:
        """A flow came, whose document has so many ``octets``."""
        self._drop(account, url)
        if octets > self._most_octets:
            return
        self._kept.setdefault(account, OrderedDict())[url] = _Kept(graph, octets)
        self._octets += octets
        while self._octets > self._most_octets or sum(map(len, self._kept.values())) > self._most:
            greedy = max(self._kept, key=lambda each: _weight(self._kept[each]))
            self._drop(greedy, next(iter(self._kept[greedy])))

    def get(self, account: str, url: str) -> Graph | None:
        """The last flow that came; it counts as used."""
        kept = self._kept.get(account)
        if kept is None or url not in kept:
            return None
        kept.move_to_end(url)
        return kept[url].graph

    def _drop(self, account: str, url: str) -> None:
        kept = self._kept.get(account)
        if kept is None or (gone := kept.pop(url, None)) is None:
            return
        self._octets -= gone.octets
        if not kept:
            del self._kept[account]


@dataclass(frozen=True, slots=True)
class _Kept:
    graph: Graph
    octets: int


def _weight(kept: Mapping[str, _Kept]) -> int:
    """How much of the room an account has: an empty document takes some, too."""
    return sum(each.octets + 1024 for each in kept.values())
