"""Steps that talk to web servers: a flow to go on with, or a word that nobody answers."""

from __future__ import annotations

from dataclasses import replace

from flows import graph as g
from flows.call import Fetched, FetchFailed, RecordOwed, Request
from flows.findings import has_errors
from flows.requests import answered, fetch_request, kept, read_reply, tell_request, with_query
from flows.targets import url_problem
from flows.templates import Text, UnsafeUrl, fill, fill_url
from flows.walk import Walk


async def fetch(walk: Walk, step: g.Fetch) -> str:
    walk.keeps_fetches = walk.keeps_fetches or step.kept
    if step.record_to:
        _owe_record(walk, step.record_to)
    request, unfit = None, ""
    try:
        request, shown = fetch_request(step, walk.variables), fetch_request(step, walk.shown)
        shown = replace(shown, url=walk.secrets.shown_url(shown.url))
        unfit = url_problem(request.url)  # variables may have made it so
    except UnsafeUrl as error:
        unfit = str(error)
    if request is None or unfit:
        walk.because = f"no flow can come from {str(step.url) if request is None else shown.url!r}: {unfit}"
        walk.trouble(walk.because)
        return g.FAILED
    walk.count_fetch()
    graph, told = await _ask(walk, step, request, shown)
    walk.call.tell(told)
    account = walk.call.facts.get("call.account", "")
    if graph is not None:
        if step.last_good:
            walk.last_good.keep(account, request.url, graph, told.size)
    elif step.last_good and (graph := walk.last_good.get(account, request.url)) is not None:
        walk.trouble(f"{shown.url}: {told.problem}; the last good flow from there is used")
    if graph is None:
        walk.because = f"no flow came from {shown.url}: {told.problem}"
        walk.trouble(walk.because)
        return g.FAILED
    for name in step.clear:
        walk.forget(name)
    walk.enter(graph, back_to=g.NEXT if step.returns else None)
    return g.NEXT


async def _ask(walk: Walk, step: g.Fetch, request: Request, shown: Request) -> tuple[g.Graph | None, Fetched]:
    """The flow that comes, if one does, and the note of it; ``shown`` is the request as it may be put down."""
    graph, problem = None, ""
    told = Fetched(with_query(shown.url, shown.query), shown.method)
    if walk.keeps_fetches:
        told = kept(told, shown)
    try:
        reply = await walk.call.fetch(request)
    except FetchFailed as error:
        problem = str(error)
    else:
        if shown != request:
            walk.secrets.note_url(reply.url, told.url)
        told = answered(told, reply if shown == request else replace(reply, url=told.url))
        if not 200 <= reply.status < 300:
            problem = f"the server answered {reply.status}"
        else:
            compiled = await walk.call.compute(lambda: read_reply(step, reply), len(reply.body))
            graph = None if has_errors(compiled.findings) else compiled.graph
            if graph is None:
                told = replace(told, unreadable=True)
                problem = next((str(each) for each in compiled.findings if each.severity == "error"), "no flow in it")
    return graph, replace(told, problem=problem)


def _owe_record(walk: Walk, to: Text) -> None:
    try:
        url = fill_url(to, walk.variables)
        unfit = url_problem(url)
    except UnsafeUrl as error:
        url, unfit = str(to), str(error)
    if unfit:
        walk.trouble(f"the record of the call cannot be told to {url!r}: {unfit}")
    elif url not in walk.records_owed:
        walk.records_owed.add(url)
        walk.call.tell(RecordOwed(url))


async def jump(walk: Walk, step: g.Jump) -> str:
    flow = fill(step.flow, walk.variables)
    graph = await walk.call.stored_flow(flow)
    if graph is None:
        walk.because = f"there is no flow {fill(step.flow, walk.shown)!r}"
        walk.trouble(walk.because)
        return g.FAILED
    walk.enter(graph, back_to=g.NEXT if step.returns else None)
    return g.NEXT


async def tell(walk: Walk, step: g.Tell) -> str:
    try:
        told, shown = tell_request(step, walk.variables), tell_request(step, walk.shown)
        unfit = url_problem(told.url)
    except UnsafeUrl as error:
        walk.trouble(f"nothing can be told to {str(step.url)!r}: {error}")
        return g.NEXT
    if unfit:
        walk.trouble(f"nothing can be told to {shown.url!r}: {unfit}")
    else:
        walk.call.tell(replace(told, secret=told != shown))
    return g.NEXT
