"""What the OpenAPI document says of answers: schemas of what is told, and the refusals that each endpoint may give."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from engine.api.noting import noted

Json = dict[str, Any]
Responses = dict[int | str, Json]

TEXT: Json = {"type": "string"}
WHOLE: Json = {"type": "integer"}
NUMBER: Json = {"type": "number"}
YES_OR_NO: Json = {"type": "boolean"}
ANYTHING: Json = {}


def shape(optional: Mapping[str, Json] | None = None, **properties: Json) -> Json:
    """The schema of an object: ``properties`` are always there, ``optional`` ones may be; others are not."""
    every = {**properties, **(optional or {})}
    return {"type": "object", "required": list(properties), "properties": every, "additionalProperties": False}


def many(schema: Json) -> Json:
    """That of a list."""
    return {"type": "array", "items": schema}


def table(schema: Json) -> Json:
    """That of an object whose keys are data."""
    return {"type": "object", "additionalProperties": schema}


def choice(*values: str) -> Json:
    """That of a text of which there are a few."""
    return {"type": "string", "enum": list(values)}


def or_null(schema: Json) -> Json:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def told(schema: Json, about: str = "Done.", *, media: str = "application/json") -> Json:
    """An answer with a body."""
    return {"description": about, "content": {media: {"schema": schema}}}


def binary(media: str, about: str = "The file.") -> Json:
    """An answer that is a file."""
    return told({"type": "string", "format": "binary"}, about, media=media)


def nothing(about: str = "Done.") -> Json:
    """An answer without a body."""
    return {"description": about}


class DocumentedRoute(APIRoute):
    """A route that has its refusals in the document, and what it changes in the audit log: an API has a class of its
    own that knows the refusals.
    """

    refused: ClassVar[Json] = {}
    """The schema of a refusal."""
    bare: ClassVar[frozenset[int]] = frozenset()
    """Statuses that come without a body."""

    @classmethod
    def refusals(cls, path: str, methods: frozenset[str]) -> Iterable[int]:
        """The statuses that the endpoint may refuse with."""
        raise NotImplementedError

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        return noted(super().get_route_handler(), self.summary or self.name.replace("_", " "))

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        methods: Iterable[str] | None = None,
        responses: Responses | None = None,
        **more: Any,
    ) -> None:
        known = frozenset(methods or ("GET",))
        found: Responses = {
            status: {"description": HTTPStatus(status).phrase}
            if status in self.bare
            else told(self.refused, HTTPStatus(status).phrase)
            for status in self.refusals(path, known)
        }
        if any(100 <= int(status) < 400 for status in responses or {}):
            more["response_model"] = None  # it stands there
        super().__init__(path, endpoint, methods=list(known), responses={**found, **(responses or {})}, **more)


def schema_of(model: type[BaseModel], *, mode: JsonSchemaMode = "validation") -> Json:
    """That of a model in one piece: where it stands, the document has no place for definitions of its own."""
    schema = model.model_json_schema(by_alias=True, mode=mode)
    found: Json = _inlined(schema, schema.pop("$defs", {}))
    return found


def schema_of_row(row: type[Any]) -> Json:
    """That of a dataclass as :func:`dataclasses.asdict` tells it."""
    schema = TypeAdapter(row).json_schema(mode="serialization")
    found = _inlined(schema, schema.pop("$defs", {}))
    return {**found, "required": list(found["properties"])}


def _inlined(schema: Any, definitions: Json) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            rest = {name: value for name, value in schema.items() if name != "$ref"}
            return {**_inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions), **rest}
        return {name: _inlined(value, definitions) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(value, definitions) for value in schema]
    return schema


def completed(document: Json, elsewhere: Mapping[int, Json]) -> Json:
    """The document without FastAPI's 422, which no API gives; ``elsewhere``: answers of endpoints that say nothing of
    such a status.
    """
    schemas = document.get("components", {}).get("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for item in document["paths"].values():
        for operation in item.values():
            answers = operation["responses"]
            if _is_supposed(answers.get("422", {})):
                del answers["422"]
            for status, answer in elsewhere.items():
                answers.setdefault(str(status), answer)
    return document


def _is_supposed(answer: Json) -> bool:
    schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).endswith("/HTTPValidationError")
