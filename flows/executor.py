"""The executor: walks a step graph on a :class:`~flows.call.Call`."""

from __future__ import annotations

from dataclasses import dataclass

from .call import Began, Call, CallEnded, EndedBy, Learned, Replaced
from .graph import Graph, Step
from .listening import Settings
from .requests import LastGood
from .verbs import VERBS
from .walk import LimitReached, Walk

__all__ = ["Ending", "Executor", "Settings"]

_DEFAULTS = Settings()


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call ended, seen from its flow. ``path`` is where it was."""

    by: EndedBy
    reason: str
    path: str
    step: str = ""


class Executor:
    """Walks ``graph``; one executor may serve any number of calls."""

    def __init__(self, graph: Graph, settings: Settings = _DEFAULTS, last_good: LastGood | None = None) -> None:
        """``last_good`` remembers fetched flows for when their servers fail; it may be shared."""
        self.graph = graph
        self.settings = settings
        self._last_good = last_good or LastGood()

    async def run(self, call: Call) -> Ending:
        """Walk the graph until the call has ended, whoever ended it.

        Raises nothing (a cancelled task aside). Every subscribed URL has been told ``close`` when it returns.
        """
        walk = Walk(self.graph, self.settings, call, self._last_good)
        by: EndedBy = "flow"
        reason = ""
        try:
            try:
                await _go(walk)
            except LimitReached as limit:
                by, reason = "limit", str(limit)
                await call.hangup(reason)
            except CallEnded:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong, the caller must not be left in the line
                by, reason = "error", f"internal error: {type(error).__name__}: {error}"
                await call.hangup("internal error")
        except CallEnded as ended:
            if by == "flow":
                by, reason = ended.by, ended.reason
            await _say_farewell(walk)
        except Exception as error:  # noqa: BLE001 - not even hanging up worked; the supervisor will
            by, reason = "error", reason or f"internal error: {type(error).__name__}: {error}"
        finally:
            if learned := walk.learned():
                call.tell(Learned(learned))
            walk.tell(walk.narrator.close(call.answered_at, call.now()))
        return Ending(by, reason or walk.because, walk.narrator.path, walk.step.id)


async def _go(walk: Walk) -> None:
    """Step after step until the flow ends; then hang up."""
    call, settings = walk.call, walk.settings
    call.tell(Began(walk.graph.name, dict(call.facts), settings.listen, settings.repeats))
    step: Step | None = walk.step
    while step is not None:
        walk.begin(step)
        walk.count()
        try:
            if not walk.opened:
                await walk.ready(step.needs)
            exit_name = await VERBS[type(step)](walk, step)
        except Replaced as new:
            call.stop()
            walk.replace(new.graph)
            exit_name = ""
        step = walk.after(exit_name)
    await call.hangup(walk.because or "end of the flow")


async def _say_farewell(walk: Walk) -> None:
    """Tell what is owed although the call is over. None of these steps needs the call."""
    where = walk.step
    try:
        for step in walk.farewell():
            await VERBS[type(step)](walk, step)
    except Exception as error:  # noqa: BLE001 - the end of the call is told all the same
        walk.trouble(f"internal error: {type(error).__name__}: {error}")
    walk.step = where
