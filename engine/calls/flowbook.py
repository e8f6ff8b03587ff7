"""From configured numbers to plans: flow files are read, compiled, checked, and every prompt is rendered.

All of it happens before the first call, or on SIGHUP: whoever calls never waits for it. A
flow that cannot be used is an error with its findings; when an earlier version is in use,
that one stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.calls.numbers import NumberPlan
from engine.calls.services import PromptError, Renderer
from engine.calls.supervisor import CallPlan
from engine.config import Config, NumberConfig
from engine.flowcheck import knowledge
from engine.log import get_logger
from flows.check import check_compiled
from flows.dialects import compile_flow
from flows.executor import Settings
from flows.findings import Finding, has_errors
from flows.graph import Graph
from flows.prompts import Prompt
from media.tts.voices import known_language

log = get_logger(__name__)

MAX_FLOW_BYTES = 1024 * 1024


class FlowError(Exception):
    """A flow cannot be used; the text says which and why, a line for each finding."""


class FlowBook:
    """Compiled and rendered flows. :meth:`load` is all or nothing."""

    def __init__(self, render: Callable[[Path | None, str], Renderer]) -> None:
        """``render`` makes a renderer for a flow's folder (where its media lies; none: URLs only) and its voice."""
        self._render = render
        self._vosk_model = ""

    async def load(self, config: Config) -> NumberPlan[CallPlan]:
        """Plans for all numbers of ``config``. Raises :class:`FlowError` naming every flow that is not good."""
        self._vosk_model = config.speech.vosk_model
        settings = Settings(listen=config.calls.listen, repeats=config.calls.repeats)
        recordings = Path(config.store.recordings)
        made: dict[tuple[str, str], tuple[Graph, Mapping[Prompt, Path]]] = {}
        problems: list[str] = []
        entries: list[tuple[str, CallPlan]] = []
        for number in config.numbers:
            voice = number.voice or config.speech.voice
            key = (number.flow, voice)
            try:
                if key not in made:
                    made[key] = await self._make(number, voice)
            except FlowError as error:
                problems.append(str(error))
                continue
            graph, prompts = made[key]
            plan = CallPlan(
                number.flow, graph, prompts, settings, self._render(None, voice), recordings, record=number.record
            )
            entries.append((number.number, plan))
        if problems:
            raise FlowError("\n".join(dict.fromkeys(problems)))
        return NumberPlan(entries)

    async def _make(self, number: NumberConfig, voice: str) -> tuple[Graph, Mapping[Prompt, Path]]:
        path = Path(number.flow)
        text = await asyncio.to_thread(_read, path)
        language = voice if known_language(voice) else ""
        compiled = await asyncio.to_thread(
            compile_flow, text, name=path.name, dialect=number.dialect, language=language
        )
        known = knowledge(path.parent, vosk_model=self._vosk_model)
        findings = await asyncio.to_thread(check_compiled, compiled, known)
        _report(path, findings)
        if compiled.graph is None or has_errors(findings):
            raise FlowError("\n".join([f"{path}:", *(f"  {finding}" for finding in findings)]))
        render = self._render(path.parent, voice)
        prompts = compiled.graph.prompts()
        outcomes = await asyncio.gather(*(render(prompt) for prompt in prompts), return_exceptions=True)
        files: dict[Prompt, Path] = {}
        problems: list[str] = []
        for prompt, outcome in zip(prompts, outcomes, strict=True):
            match outcome:
                case Path():
                    files[prompt] = outcome
                case PromptError():
                    problems.append(f"  {prompt.media or prompt.text!r}: {outcome}")
                case BaseException():
                    raise outcome
        if problems:
            raise FlowError("\n".join([f"{path}:", *problems]))
        return compiled.graph, files


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FLOW_BYTES:
            raise FlowError(f"{path}: larger than 1 MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FlowError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FlowError(f"{path}: is not UTF-8 text ({error})") from None


def _report(path: Path, findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        if finding.severity == "warning":
            log.warning("flow_finding", flow=str(path), finding=str(finding))
