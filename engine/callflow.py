"""A number whose callflow a web server tells, call by call (Kazoo's "advanced callflow"): its keys, in the file and in
the API, and the flow that comes of them: one step that asks for the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flows.targets import url_problem

DIALECT = "kazoo"
PREFIX = "callflow_"


def _url(text: str) -> str:
    if text and (problem := url_problem(text)):
        raise ValueError(f"no request can be made to {text!r}: {problem}")
    return text


def _small(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Url = Annotated[str, Field(max_length=2000), AfterValidator(_url)]


class CallflowKeys(BaseModel):
    """The keys. Without a ``callflow_url`` the others mean nothing."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    callflow_url: Url = ""
    """Instead of a flow: the URL that is asked for the callflow of each call."""
    callflow_method: Annotated[Literal["get", "post"], BeforeValidator(_small)] = "get"
    """Ask with GET (parameters behind the URL) or POST (in the body)."""
    callflow_format: Literal["kazoo", "twiml"] = "kazoo"
    """Which names the parameters have; callflows in JSON and TwiML are understood either way."""
    callflow_body: Literal["form", "json"] = "form"
    """Form of the body of a POST."""
    callflow_timeout: Annotated[float, Field(ge=0.001, le=5.0, allow_inf_nan=False)] = 5.0
    """Seconds to wait for the callflow."""
    callflow_debug: bool = False
    """Keep requests and answers for ``/v2/accounts/…/pivot/debug``."""
    callflow_cdr_url: Url = ""
    """Where the record of each call is sent, with ``callflow_format`` ``twiml``."""

    @model_validator(mode="after")
    def _record_in_one_format_only(self) -> CallflowKeys:
        if self.callflow_cdr_url and self.callflow_format != "twiml":
            raise ValueError('callflow_cdr_url needs callflow_format "twiml"')
        return self

    def callflow(self) -> dict[str, Any] | None:
        """The keys as they are stored, without their prefix; ``None`` without a URL."""
        if not self.callflow_url:
            return None
        return {name.removeprefix(PREFIX): getattr(self, name) for name in CallflowKeys.model_fields}


def document_of(callflow: Mapping[str, Any]) -> str:
    """The flow of stored keys, in :data:`DIALECT`."""
    post = callflow["method"] == "post"
    data = {
        "voice_url": callflow["url"],
        "method": callflow["method"],
        "req_format": callflow["format"],
        "req_timeout_ms": max(1, round(callflow["timeout"] * 1000)),
        "debug": callflow["debug"],
    }
    if post:
        data["req_body_format"] = callflow["body"]
    if callflow["cdr_url"]:
        data["cdr_url"] = callflow["cdr_url"]
    return json.dumps({"module": "pivot", "data": data}, ensure_ascii=False)
