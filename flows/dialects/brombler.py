"""The Brombler compiler: a call tree, as JSON or plain text, becomes a step graph.

A node is an object. ``_`` is its prompt, keys that begin with ``$`` are actions and settings, all others
are patterns (:mod:`flows.keywords`) whose values are the next nodes. A text is a leaf:
it is spoken and the call hung up. ``$api`` and ``$forward`` keys are part of the node they stand
in: a text value is spoken after what stands before it, an object value continues the same node.

========================  ==================================================================
``$api URL``              callbacks to ``URL`` from here on (key or value)
``$forward URL``          the list of live calls to ``URL`` while this call lives (key or value)
``$redirect TARGET``      transfer the caller; as a key, its value is spoken first
``$fail``                 next to, or inside, a ``$redirect``: where a failed transfer goes on
``$nomatch``, ``$silence``  where to go on when the repeats are used up
``$timeout``              the same for whichever of the two is not there
``$voice``, ``$language`` of this node and everything below it
========================  ==================================================================
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from flows import graph as g
from flows.documents import MAX_DEPTH, MAX_NODES, MAX_POINTER, Number, decode, parse_json, well_formed
from flows.findings import Findings, has_errors, pointer
from flows.keywords import Choice, Choices, Pattern, parse_pattern
from flows.prompts import Prompt
from flows.shadow import report_shadowed
from flows.targets import is_media, is_url, transfer_target, url_problem

from .compiling import Chain, Compiled, kind_of, text_of

MAX_ALTERNATIVES_IN_ALL = 20_000
ACTIONS = ("$api", "$forward", "$redirect")
BRANCHES = ("$nomatch", "$silence", "$timeout", "$fail")
SETTINGS = ("$voice", "$language")


@dataclass(frozen=True, slots=True)
class _Scope:
    """Settings that a node hands down."""

    voice: str = ""
    language: str = ""

    def prompt(self, text: str) -> Prompt:
        if is_media(text):
            return Prompt(media=text)
        return Prompt(text=text, voice=self.voice, language=self.language)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A value to compile into a node of its own."""

    key: str
    value: Any
    where: str
    scope: _Scope
    pattern: Pattern | None = None


@dataclass(slots=True)
class _Redirect:
    target: str
    where: str
    prompts: list[Prompt] = field(default_factory=list)


@dataclass(slots=True)
class _Node:
    """What one node comes to, ``$api`` and ``$forward`` values merged into it."""

    where: str
    prompts: list[Prompt] = field(default_factory=list)
    asked: list[Prompt] = field(default_factory=list)  # those of `_`, which repeats speak
    urls: list[tuple[str, str]] = field(default_factory=list)  # (URL, where)
    forwards: list[tuple[str, str]] = field(default_factory=list)
    branches: dict[str, _Branch] = field(default_factory=dict)
    special: dict[str, _Branch] = field(default_factory=dict)
    redirect: _Redirect | None = None


def compile_brombler(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """Compile a call tree. Never raises: what is wrong with ``document`` is among the findings.

    ``document`` is JSON (``str`` or ``bytes``), text to say, or a structure of dicts and texts. What begins
    with ``{`` is JSON, and so is everything in a document whose ``name`` ends in ``.json``; other text is
    spoken as it is. ``language`` is that of the tree's texts and spoken words unless ``$language`` says otherwise.
    ``base`` has no meaning here: a call tree has no relative URLs.
    """
    findings = Findings()
    tree = _read(document, name, findings)
    if has_errors(findings):
        return Compiled(None, findings.all())
    compiler = _Compiler(findings)
    start = compiler.root(tree, _Scope(language=language))
    if has_errors(findings) or start is None:
        return Compiled(None, findings.all())
    return Compiled(g.Graph(compiler.steps, start, name=name), findings.all())


def _read(document: object, name: str, findings: Findings) -> Any:
    if isinstance(document, bytearray | memoryview):
        document = bytes(document)
    if not isinstance(document, str | bytes) or isinstance(document, Number):
        return document
    text = decode(document, findings)
    if text is None:
        return None
    start = text.lstrip()[:1]
    if start == "{" or name.lower().endswith(".json"):
        return parse_json(text, findings)
    if start in ('"', "["):  # a JSON text or list, or prose that happens to begin like one
        value = parse_json(text, Findings())
        return text if value is None else value
    return text


class _Compiler:
    """Walks the document once; ``steps`` is the graph in document order."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.steps: dict[str, g.Step] = {}
        self._nodes = 0
        self._alternatives = 0
        self._chains = 0

    def root(self, tree: Any, scope: _Scope) -> str | None:
        node = self._collect(tree, "", scope, depth=1)
        return self._emit(node, "", depth=1) if node is not None else None

    # --- reading a node -----------------------------------------------------------------

    def _collect(self, value: Any, where: str, scope: _Scope, depth: int) -> _Node | None:
        node = _Node(where)
        self._add(node, value, where, scope, depth)
        return node if self._nodes <= MAX_NODES else None

    def _add(self, node: _Node, value: Any, where: str, scope: _Scope, depth: int, *, asked: bool = False) -> None:
        """Put what a value says into ``node``: a text, an action, or an object that continues it."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self.findings.error("too-many-nodes", where, f"the tree has more than {MAX_NODES:,} nodes")
        elif len(where) > MAX_POINTER:
            self.findings.error("too-deep", where, f"the keys down to here have more than {MAX_POINTER:,} characters")
        elif depth > MAX_DEPTH:
            self.findings.error("too-deep", where, f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(value, Mapping):
            self._object(node, value, where, scope, depth)
        elif isinstance(value, list | tuple) and not value:
            hint = "PHP writes an empty array as []; write {} or a text"
            self.findings.warning("empty-node", where, "an empty list, taken as an empty node", hint)
        elif (text := text_of(value)) is not None:
            self._text(node, text, where, scope, asked=asked)
        else:
            hint = "PHP: use keys that are not 0, 1, 2 …, or JSON_FORCE_OBJECT" if isinstance(value, list) else ""
            self.findings.error("wrong-type", where, f"{kind_of(value)} where a text or an object should be", hint)

    def _object(self, node: _Node, value: Mapping[Any, Any], where: str, scope: _Scope, depth: int) -> None:
        for key in getattr(value, "repeated", ()):
            message = f"the key {well_formed(key)!r} is there twice, only the first counts"
            self.findings.error("duplicate-key", pointer(where, well_formed(key)), message, "merge the two")
        keys = [(well_formed(key).strip(), key) for key in value if isinstance(key, str)]
        if len(keys) < len(value):
            self.findings.error("wrong-type", where, "a key that is not a text")
        for key, raw in keys:
            if key in SETTINGS:
                scope = self._setting(scope, key, value[raw], pointer(where, well_formed(raw)))
        for key, raw in keys:
            if key not in SETTINGS:
                self._entry(node, key, value[raw], pointer(where, well_formed(raw)), scope, depth)

    def _setting(self, scope: _Scope, key: str, value: Any, where: str) -> _Scope:
        text = text_of(value)
        if text is None or not text.strip():
            self.findings.error("wrong-type", where, f"{key} needs a text")
            return scope
        text = well_formed(text).strip()
        return replace(scope, voice=text) if key == "$voice" else replace(scope, language=text)

    def _entry(self, node: _Node, key: str, value: Any, where: str, scope: _Scope, depth: int) -> None:
        if key == "_":
            self._prompt(node, value, where, scope)
        elif not key.startswith("$"):
            self._pattern(node, key, value, where, scope)
        elif key in BRANCHES:
            self._branch(node.special, _Branch(key, value, where, scope))
        else:
            self._action(node, key, value, where, scope, depth)

    def _branch(self, among: dict[str, _Branch], branch: _Branch) -> None:
        if branch.key in among:
            message = f"{branch.key!r} was there before, at {among[branch.key].where}: only that one counts"
            self.findings.warning("duplicate-key", branch.where, message, "merge the two")
        else:
            among[branch.key] = branch

    def _prompt(self, node: _Node, value: Any, where: str, scope: _Scope) -> None:
        text = text_of(value)
        if text is None:
            message = f"the prompt is {kind_of(value)}, not a text"
            self.findings.error("wrong-type", where, message, "choices stand next to _, not inside it")
        elif _verb(text.strip()) in ACTIONS:
            hint = f'write "{well_formed(text.strip())}" as a key of this node'
            self.findings.error("wrong-type", where, "the prompt is an action", hint)
        else:
            self._text(node, text, where, scope, asked=True)

    def _text(self, node: _Node, text: str, where: str, scope: _Scope, *, asked: bool) -> None:
        text = well_formed(text).strip()
        verb = _verb(text)
        if verb:
            self._action(node, text, "", where, scope, depth=1)
            return
        if not text:
            return
        prompt = scope.prompt(text)
        if prompt.text and is_url(text):
            hint = "what is played ends in .wav, .mp3 or .ogg"
            self.findings.warning("url-spoken", where, "this URL is spoken, letter by letter", hint)
        node.prompts.append(prompt)
        if asked:
            node.asked.append(prompt)

    def _pattern(self, node: _Node, key: str, value: Any, where: str, scope: _Scope) -> None:
        pattern, problems = parse_pattern(key, scope.language)
        for problem in problems:
            self.findings.add(problem.code, problem.severity, where, problem.message, problem.hint)
        before = self._alternatives
        self._alternatives += len(pattern.alternatives)
        if self._alternatives > MAX_ALTERNATIVES_IN_ALL >= before:
            message = f"more than {MAX_ALTERNATIVES_IN_ALL:,} alternatives in all patterns together"
            self.findings.error("too-large", where, message)
        self._branch(node.branches, _Branch(key, value, where, scope, pattern))

    def _action(self, node: _Node, text: str, value: Any, where: str, scope: _Scope, depth: int) -> None:
        """An action, as a key (then ``value`` belongs to it) or as a value (then ``value`` is empty)."""
        verb, argument = text.split(maxsplit=1) if len(text.split(maxsplit=1)) == 2 else (text, "")
        if verb not in ACTIONS:
            near = difflib.get_close_matches(verb, ACTIONS + BRANCHES + SETTINGS, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(ACTIONS + BRANCHES + SETTINGS)}"
            self.findings.error("unknown-key", where, f"{verb} is not known", hint)
        elif not argument:
            example = "$redirect +40212345678" if verb == "$redirect" else f"{verb} https://example.org/call"
            self.findings.error("missing-argument", where, f"{verb} of what?", f"as in {example}")
        elif verb == "$redirect":
            self._redirect(node, argument, value, where, scope, depth)
        else:
            if problem := url_problem(argument):
                self.findings.error("bad-url", where, f"no request can be made to {argument!r}: {problem}")
            (node.urls if verb == "$api" else node.forwards).append((argument, where))
            self._add(node, value, where, scope, depth + 1)

    def _redirect(self, node: _Node, argument: str, value: Any, where: str, scope: _Scope, depth: int) -> None:
        try:
            target = transfer_target(argument)
        except ValueError as error:
            self.findings.error("bad-target", where, f"no transfer can be made to {argument!r}: {error}")
            target = ""
        inner = self._collect(value, where, scope, depth + 1)
        if inner is None:
            return
        if node.redirect is not None:
            self.findings.warning("unreachable", where, "a second $redirect is never tried", "put it under $fail")
            return
        node.redirect = _Redirect(target, where, inner.prompts)
        node.urls += inner.urls
        node.forwards += inner.forwards
        for branch in inner.special.values():
            self._branch(node.special, branch)
        if inner.redirect is not None or inner.branches:
            message = "what stands here is not reached: only a prompt and $fail belong inside a $redirect"
            self.findings.warning("unreachable", where, message)

    # --- writing its steps --------------------------------------------------------------

    def _emit(self, node: _Node, path: str, depth: int) -> str:
        """Write the steps of a node and of everything below it; the first one's id."""
        chain = self._chain(node)
        chain.add(g.Enter, "enter", path=path)
        if path:
            chain.add(g.Notify, "notify")
        for number, (url, where) in enumerate(node.urls):
            chain.add(g.Subscribe, f"api{number or ''}", url=url, origin=where)
        for number, (url, where) in enumerate(node.forwards):
            chain.add(g.Forward, f"forward{number or ''}", url=url, origin=where)
        if not path:
            chain.add(g.Answer, "answer")
        if node.redirect is not None:
            self._emit_redirect(chain, node, node.redirect, path, depth)
        elif node.branches:
            self._emit_listen(chain, node, path, depth)
        else:
            self._unreachable(node, ("$nomatch", "$silence", "$timeout"), "there are no choices to wait for")
            if node.prompts:
                chain.add(g.Say, "say", prompts=tuple(node.prompts))
            elif not (node.urls or node.forwards):
                self.findings.info("says-nothing", node.where, "nothing is said here: the call just ends")
            chain.add(g.HangUp, "hangup")
        if node.redirect is None:
            self._unreachable(node, ("$fail",), "there is no $redirect that could fail")
        return chain.first

    def _chain(self, node: _Node) -> Chain:
        self._chains += 1
        return Chain(self.steps, node.where, self._chains)

    def _unreachable(self, node: _Node, keys: tuple[str, ...], why: str) -> None:
        for key in keys:
            if key in node.special:
                self.findings.warning("unreachable", node.special[key].where, f"{key} is never reached: {why}")

    def _emit_redirect(self, chain: Chain, node: _Node, redirect: _Redirect, path: str, depth: int) -> None:
        never = [*node.branches.values()]
        never += [node.special[key] for key in ("$nomatch", "$silence", "$timeout") if key in node.special]
        for branch in never:
            message = f"{branch.key!r} is never asked for: the call is redirected"
            self.findings.warning("unreachable", branch.where, message)
        if prompts := (*node.prompts, *redirect.prompts):
            chain.add(g.Say, "say", prompts=prompts)
        path = f"{path}/$redirect"  # at the root too
        chain.add(g.Enter, "redirect", path=path, origin=redirect.where)
        transfer = chain.add(g.Transfer, "transfer", target=redirect.target, origin=redirect.where)
        chain.add(g.HangUp, "hangup")
        failed = self._chain(node)
        failed.add(g.Notify, "failed", origin=redirect.where)
        chain.link(transfer, {g.FAILED: failed.first})
        if (fail := self._child(node.special.get("$fail"), path, depth)) is not None:
            failed.to(fail)
        else:
            failed.add(g.HangUp, "gaveup")

    def _emit_listen(self, chain: Chain, node: _Node, path: str, depth: int) -> None:
        if not node.prompts:
            message = "choices without a prompt: the caller waits in silence"
            self.findings.warning("missing-prompt", node.where, message, "say what there is to choose under _")
        branches = [branch for branch in node.branches.values() if branch.pattern is not None]
        choices = Choices(
            (Choice(branch.key, branch.pattern, branch.where) for branch in branches if branch.pattern is not None),
            branches[0].scope.language,
        )
        report_shadowed(choices, self.findings)
        prompts = tuple(node.prompts)
        listen = chain.add(g.Listen, "listen", choices=choices, prompts=prompts, again=tuple(node.asked) or prompts)
        exits = {branch.key: self._child(branch, path, depth) for branch in branches}
        timeout: str | None = None
        if node.special.keys() & {"$timeout"}:
            timeout = self._child(node.special["$timeout"], path, depth)
            if {"$nomatch", "$silence"} <= node.special.keys():
                self._unreachable(node, ("$timeout",), "$nomatch and $silence are both there")
        for exit_name in (g.NOMATCH, g.SILENCE):
            exits[exit_name] = self._child(node.special.get(exit_name), path, depth) or timeout
        chain.link(listen, {name: target for name, target in exits.items() if target is not None})
        chain.add(g.HangUp, "hangup")

    def _child(self, branch: _Branch | None, path: str, depth: int) -> str | None:
        if branch is None:
            return None
        node = self._collect(branch.value, branch.where, branch.scope, depth + 1)
        if node is None or depth >= MAX_DEPTH:
            return None
        return self._emit(node, _join(path, branch.key), depth + 1)


def _join(path: str, key: str) -> str:
    """``path`` with one more key: RFC 3986 unreserved characters and ``$`` stay, all others are percent-encoded."""
    segment = quote(key, safe="$")
    return f"{path}/{segment}" if path else segment


def _verb(text: str) -> str:
    """The ``$word`` that a text begins with; prices and variables in prose (``$5``) are not meant."""
    word = text.split(maxsplit=1)[0] if text.startswith("$") else ""
    return word if word[1:].isalpha() else ""
