"""The MessageBird compiler: a call flow, a list of steps as JSON, becomes a step graph.

The format is that of the Voice Calling API (version 20170314) with the additions that its client libraries show:
``onKeypressGoto``, ``onKeypressVar``, ``endKey``, ``maxNumKeys`` and ``conditions`` of a step, the action ``sendKeys``,
the options ``mask``, ``timeout`` and ``ifMachine`` of a transfer, lists of media, ``loop``. It is strict: what is
missing or has a bad value is an error that names the parameter; what has no effect is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from flows import graph as g
from flows.documents import MAX_BYTES, parse_json
from flows.findings import Finding, Findings, has_errors

from .compiling import Compiled
from .messagebird_document import read
from .messagebird_steps import emit

MISSING = 11
BAD_VALUE = 12
UNPARSABLE = 16

_CODES = {"missing-parameter": MISSING, "bad-json": UNPARSABLE, "not-utf8": UNPARSABLE}
_STEPS = re.compile(r'"steps"\s*:\s*\[')


def compile_messagebird(document: object, *, name: str = "", language: str = "", base: str = "") -> Compiled:
    """Compile a call flow. Never raises: what is wrong with ``document`` is among the findings.

    ``document`` is JSON (``str`` or ``bytes``) or a structure of dicts and lists. ``name`` is for people; without it
    the title is. ``language`` and ``base`` have no meaning here: every ``say`` names its language, URLs are absolute.
    """
    findings = Findings()
    flow = read(document, findings)
    if flow is None:
        return Compiled(None, findings.all())
    steps, start = emit(flow, findings)
    return Compiled(g.Graph(steps, start, name=name or flow.title), findings.all())


def errors(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """The errors among ``findings`` as the API tells them: 11 missing, 12 bad value, 16 not parsed.

    The API's table calls the text ``description``, its sample ``message``: there are both.
    """
    return [
        {
            "code": _CODES.get(finding.code, BAD_VALUE),
            "message": finding.message,
            "description": finding.message,
        }
        for finding in findings
        if finding.severity == "error"
    ]


def looks_like_messagebird(document: object) -> bool:
    """Whether a document is meant to be a call flow: an object with a list of ``steps``, parsable or not."""
    if isinstance(document, bytes | bytearray | memoryview):
        document = bytes(document).decode("utf-8", "replace")
    if isinstance(document, str):
        if not _STEPS.search(document) or not document.lstrip("\ufeff \t\r\n").startswith("{"):
            return False
        findings = Findings()
        document = parse_json(document.removeprefix("\ufeff"), findings) if len(document) <= MAX_BYTES else None
        if document is None or has_errors(findings):
            return True
    return isinstance(document, dict) and isinstance(document.get("steps"), list | tuple)
