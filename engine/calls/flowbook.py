"""Flows made ready for calls: documents are compiled, checked, and every prompt is rendered.

For numbers all of it happens before the first call, or on SIGHUP: whoever calls never waits for it. A flow that cannot
be used is an error with its findings.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from engine.accounts import repository
from engine.accounts.entities import FlowVersion
from engine.accounts.media import MediaShelf
from engine.accounts.repository import Unknown
from engine.calls.services import FlowError, PromptError, Ready, Renderer, StoredFlow
from engine.config import Config
from engine.flowcheck import knowledge
from engine.log import get_logger
from engine.store import Store
from engine.store.accounts import DEFAULT_ACCOUNT
from flows.check import check_compiled
from flows.dialects import compile_flow
from flows.executor import Settings
from flows.findings import Finding, has_errors
from flows.graph import Graph
from flows.prompts import Prompt
from media.tts.voices import known_language

__all__ = ["Document", "FlowBook", "FlowError", "Ready", "StoredFlow", "read_flow_files"]

log = get_logger(__name__)

MAX_FLOW_BYTES = 1024 * 1024
MOST_READY = 1000
"""Flows that are kept ready; those not used for longest are made again when they are needed."""

LOOK_UP_PATIENCE = 3.0
"""Seconds that a call waits for the database to say what a stored flow is."""


@dataclass(frozen=True, slots=True)
class Document:
    """A flow as it was written. ``folder``: where its media lies; none: it may name URLs and stored media of
    ``account`` only.
    """

    name: str
    text: str
    dialect: str = ""
    folder: Path | None = None
    account: str = DEFAULT_ACCOUNT

    @classmethod
    def at(cls, path: str, text: str, dialect: str) -> Document:
        """The document of a flow file."""
        return cls(path, text, dialect, Path(path).parent)

    @classmethod
    def of(cls, version: FlowVersion) -> Document:
        """The document of a stored flow."""
        flow = version.flow
        if flow.source:
            return cls.at(flow.source, version.document, flow.dialect)
        return cls(flow.name, version.document, flow.dialect, account=flow.account_id)


class FlowBook:
    """Makes flows ready, and remembers them."""

    def __init__(self, render: Callable[[Path | None, str], Renderer], store: Store, media: MediaShelf) -> None:
        """``render`` makes a renderer for a flow's folder (where its media lies; none: URLs only) and its voice."""
        self._render = render
        self._media = media
        self.settings = Settings()
        self.voice = "en"
        self.recordings = Path()
        self._store = store
        self._vosk_model = ""
        self._made: OrderedDict[tuple[object, ...], Ready] = OrderedDict()
        self._known: dict[tuple[str, str, str], Ready] = {}
        """What stored flows were last, by account, reference and voice: for when the database is out of reach."""

    def configure(self, config: Config) -> None:
        """Take the settings of ``config``, and make everything anew: files of media may have changed."""
        self._vosk_model = config.speech.vosk_model
        self.voice = config.speech.voice
        self.settings = config.calls.settings
        self.recordings = Path(config.store.recordings)
        self._made.clear()

    async def ready(self, document: Document, voice: str = "", *, version: int = 0, render: bool = True) -> Ready:
        """``document`` made ready to be run. Raises :class:`FlowError`.

        Without ``render`` its prompts are made when they are needed.
        """
        voice = voice or self.voice
        digest = hashlib.sha256(document.text.encode("utf-8", "replace")).digest()
        key = (document.name, document.folder, document.account, document.dialect, digest, voice, render)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = await self._make(document, voice, render=render)
            while len(self._made) > MOST_READY:
                self._made.popitem(last=False)
        else:
            self._made.move_to_end(key)
        return replace(made, version=version)

    def sounds(self) -> set[Path]:
        """The files of all flows that are remembered."""
        ready = (*self._made.values(), *self._known.values())
        return {path for each in ready for path in each.prompts.values()}

    async def stored(self, account: str, wanted: str, voice: str = "") -> Ready:
        """The newest version of a stored flow of ``account``, by id or name. Raises :class:`FlowError`.

        When the database is out of reach, what the flow was last.
        """
        key = (account, wanted, voice)
        try:
            async with asyncio.timeout(LOOK_UP_PATIENCE), self._store.reading() as connection:
                version = await repository.flow_version(connection, account, wanted)
        except Unknown as error:
            self._known.pop(key, None)
            raise FlowError(str(error)) from None
        except (SQLAlchemyError, OSError) as error:  # TimeoutError is an OSError
            if (known := self._known.get(key)) is not None:
                log.warning("flow_not_looked_up", account=account, flow=wanted, error=str(error))
                return known
            raise FlowError(f"{wanted}: the database is out of reach") from error
        found = await self.ready(Document.of(version), voice, version=version.number, render=bool(version.flow.source))
        if len(self._known) >= MOST_READY:
            self._known.clear()
        self._known[key] = found
        return found

    def stored_for(self, account: str, voice: str = "") -> StoredFlow:
        """:meth:`stored` for the calls of one account."""

        async def find(wanted: str) -> Ready:
            return await self.stored(account, wanted, voice)

        return find

    def renderer(self, account: str, voice: str = "") -> Renderer:
        """Makes prompts that are known on a call only: texts, URLs, stored media of the account."""
        return self._media.renderer(account, lambda folder: self._render(folder, voice or self.voice))

    async def _make(self, document: Document, voice: str, *, render: bool) -> Ready:
        language = voice if known_language(voice) else ""
        name = Path(document.name).name if document.folder is not None else document.name
        compiled = await asyncio.to_thread(
            compile_flow, document.text, name=name, dialect=document.dialect, language=language
        )
        known = knowledge(document.folder, vosk_model=self._vosk_model)
        findings = await asyncio.to_thread(check_compiled, compiled, known)
        _report(document.name, findings)
        if compiled.graph is None or has_errors(findings):
            raise FlowError("\n".join([f"{document.name}:", *(f"  {finding}" for finding in findings)]), findings)
        prompts = await self._sounds(document, voice, compiled.graph) if render else {}
        return Ready(document.name, compiled.graph, prompts)

    async def _sounds(self, document: Document, voice: str, graph: Graph) -> dict[Prompt, Path]:
        folder = document.folder
        render = self._render(folder, voice) if folder is not None else self.renderer(document.account, voice)
        prompts, extra = graph.prompts(), graph.sounds()
        outcomes = await asyncio.gather(*(render(prompt) for prompt in (*prompts, *extra)), return_exceptions=True)
        files: dict[Prompt, Path] = {}
        problems: list[str] = []
        for prompt, outcome in zip((*prompts, *extra), outcomes, strict=True):
            match outcome:
                case Path():
                    files[prompt] = outcome
                case PromptError() if prompt not in prompts:
                    log.warning("sound_not_made", flow=document.name, media=prompt.media, error=str(outcome))
                case PromptError():
                    problems.append(f"  {prompt.media or prompt.text!r}: {outcome}")
                case BaseException():
                    raise outcome
        if problems:
            raise FlowError("\n".join([f"{document.name}:", *problems]))
        return files


async def read_flow_files(paths: Iterable[str]) -> dict[str, str]:
    """The content of flow files by path. Raises :class:`FlowError` that names every one that cannot be read."""
    texts: dict[str, str] = {}
    problems: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            texts[path] = await asyncio.to_thread(_read, Path(path))
        except FlowError as error:
            problems.append(str(error))
    if problems:
        raise FlowError("\n".join(problems))
    return texts


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FLOW_BYTES:
            raise FlowError(f"{path}: larger than 1 MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise FlowError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise FlowError(f"{path}: is not UTF-8 text ({error})") from None


def _report(name: str, findings: tuple[Finding, ...]) -> None:
    for finding in findings:
        if finding.severity == "warning":
            log.warning("flow_finding", flow=name, finding=str(finding))
