"""Flows in requests: a document is text (XML, JSON, words) or a JSON value, in a dialect that may be left to it."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator

from flows.dialects import DIALECTS


def _known(text: str) -> str:
    if text and text not in DIALECTS:
        raise ValueError(f"must be one of {', '.join(DIALECTS)}")
    return text


Dialect = Annotated[str, AfterValidator(_known)]
"""The name of a dialect; empty: found out from the document."""


def text_of(document: Any) -> str:
    """The document as text."""
    return document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
