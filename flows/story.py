"""What happened on a call, in words: the one form of simulations, logs and pictures."""

from __future__ import annotations

from .call import Callback, Fetched, Note, Performed, Recorded, Trouble


def event_in_words(note: Note) -> str:
    """A note about others than the caller, in words; empty for those that say nothing to a reader."""
    match note:
        case Fetched(url=url, method=method, problem=problem):
            return f"{method} {url}" + (f" failed: {problem}" if problem else "")
        case Performed(story=story) | Trouble(what=story):
            return story
        case Recorded(duration=duration, reason=reason):
            return f"recorded {duration:.1f} s ({reason})"
        case Callback(url=url, params=params, method=method):
            return f"callback {params.get('e', method)} to {url}"
        case _:
            return ""
