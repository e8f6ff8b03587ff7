"""What is secret on a call: keys and words of steps that say so, and the variables that have them.

A request that is told such a variable has its value, and so have prompts and conditions. What is put down of them, in
notes and in the reasons for what happened, has :data:`HIDDEN` in place of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .templates import Template, Text, Var, Variables

HIDDEN = "hidden"
"""What is read in place of a secret."""


class Secrets:
    """Which variables of a call have something secret in them."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._urls: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def note(self, name: str, *, secret: bool) -> None:
        """The variable ``name`` has got a value."""
        if secret:
            self._names.add(name)
        else:
            self._names.discard(name)

    def inside(self, text: Text) -> bool:
        """Whether ``text`` comes to something secret."""
        return isinstance(text, Template) and any(isinstance(part, Var) and part.name in self for part in text.parts)

    def shown(self, variables: Variables) -> Variables:
        """``variables`` as they may be read; the same where nothing is secret."""
        if not self._names:
            return variables
        hidden: Mapping[str, str] = {name: HIDDEN for name in self._names if variables.get(name)}
        return {**variables, **hidden}

    def note_url(self, url: str, shown: str) -> None:
        """A flow came from ``url``, in which is something secret: its steps may ask there again."""
        self._urls[url] = shown

    def shown_url(self, url: str) -> str:
        """``url`` as it may be read."""
        for secret, shown in self._urls.items():
            url = url.replace(secret, shown)
        return url
