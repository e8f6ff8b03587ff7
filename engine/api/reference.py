"""``/docs``: the reference of all APIs as one page, made of their OpenAPI document; ``/openapi.json`` is that document.

No scripts and nothing from elsewhere: the page is there where the daemon is, in networks that reach nothing else too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

_METHODS = ("get", "post", "put", "patch", "delete")
_MARKS = re.compile(r"``([^`]+)``")

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee6;--page:#fff;--box:#f5f7fa;--go:#0b7f61}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf2;--soft:#a3aebd;--line:#333d4a;--page:#12161c;--box:#1b212a;--go:#3fcfa3}}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);display:flex}
nav{position:sticky;top:0;height:100vh;overflow:auto;flex:0 0 17rem;padding:1.5rem 1rem}
nav{border-right:1px solid var(--line)}
nav a{display:block;color:inherit;text-decoration:none;padding:.15rem .5rem;border-radius:.3rem}
nav a:hover{background:var(--box)}
main{flex:1;min-width:0;max-width:60rem;padding:1.5rem 2rem 6rem}
h1{margin:0 0 .3rem;font-size:1.5rem}h2{margin:3rem 0 1rem;font-size:1.3rem}
details{border:1px solid var(--line);border-radius:.5rem;margin:.5rem 0;background:var(--box)}
summary{cursor:pointer;padding:.6rem .9rem;display:flex;flex-wrap:wrap;gap:.2rem .8rem;align-items:baseline}
summary b{font:600 .8rem ui-monospace,monospace;color:var(--go);min-width:3.6rem}
summary code{overflow-wrap:anywhere}summary span{color:var(--soft)}
details>div{padding:0 .9rem .9rem;border-top:1px solid var(--line)}
table{border-collapse:collapse;width:100%;font-size:.9rem}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}
th{color:var(--soft);font-weight:500}tr+tr td{border-top:1px solid var(--line)}
pre{overflow:auto;padding:.7rem;border:1px solid var(--line);border-radius:.4rem;background:var(--page)}
@media(max-width:50rem){
body{display:block}main{padding:1rem}
nav{position:static;height:auto;border:0;border-bottom:1px solid var(--line)}
}
"""


def add_reference(app: FastAPI) -> None:
    """Serve the page, and the document that it is made of. To be called when all routes are there."""
    page: list[str] = []

    async def docs() -> HTMLResponse:
        if not page:
            page.append(render(app.openapi()))
        return HTMLResponse(
            page[0], headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        )

    app.add_api_route("/docs", docs, methods=["GET"], include_in_schema=False)


def render(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document: a section for each tag, in the order in which they come."""
    groups: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                operation = item[method]
                (tag, *_) = operation.get("tags", ["Operation"])
                groups.setdefault(tag, []).append(_operation(method, path, operation, document))
    links = "".join(f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in groups)
    sections = "".join(f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>{"".join(parts)}' for tag, parts in groups.items())
    title = escape(str(document["info"]["title"]))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}: APIs</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{_STYLE}</style></head>'
        f'<body><nav aria-label="APIs">{links}</nav><main><h1>{title}: APIs</h1>'
        f'<p>The same as OpenAPI: <a href="/openapi.json">openapi.json</a>.</p>{sections}</main></body></html>'
    )


def _anchor(tag: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", tag.lower()).strip("-")


def _operation(method: str, path: str, operation: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    parts = [_words(str(operation.get("description", "")))]
    rows = list(_parameters(operation, document))
    body, example = _body(operation, document)
    if body:
        rows += list(_properties(body, document))
    if rows:
        lines = ("".join(f"<td>{cell}</td>" for cell in (f"<code>{name}</code>", *rest)) for name, *rest in rows)
        table = "".join(f"<tr>{line}</tr>" for line in lines)
        parts.append(f"<table><tr><th>name</th><th>in</th><th>kind</th><th></th></tr>{table}</table>")
    if example is not None:
        parts.append(f"<pre>{escape(json.dumps(example, ensure_ascii=False, indent=2))}</pre>")
    answers = " ".join(f"<code>{escape(status)}</code>" for status in operation.get("responses", {}))
    parts.append(f"<p>Answers {answers}</p>")
    head = f"<b>{method.upper()}</b><code>{escape(path)}</code><span>{escape(str(operation.get('summary', '')))}</span>"
    return f"<details><summary>{head}</summary><div>{''.join(parts)}</div></details>"


def _words(text: str) -> str:
    return f"<p>{_marked(text)}</p>" if text else ""


def _marked(text: str) -> str:
    return _MARKS.sub(r"<code>\1</code>", escape(text))


def _parameters(operation: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for parameter in operation.get("parameters", []):
        schema = _resolved(parameter.get("schema", {}), document)
        must = " (required)" if parameter.get("required") else ""
        about = parameter.get("description") or schema.get("description", "")
        yield escape(parameter["name"]), escape(parameter["in"]) + must, _kind(schema, document), escape(str(about))


def _body(operation: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """Schema and example of the body, of the first media type that has them."""
    content = operation.get("requestBody", {}).get("content", {})
    for media in content.values():
        schema = _resolved(media.get("schema", {}), document)
        return schema, media.get("example", schema.get("example"))
    return {}, None


def _properties(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    required = set(schema.get("required", []))
    own = {**document, "$defs": schema.get("$defs", {})}
    for name, each in schema.get("properties", {}).items():
        found = _resolved(each, own)
        default = f" Default: {json.dumps(found['default'])}." if found.get("default") not in (None, "", [], {}) else ""
        must = "body (required)" if name in required else "body"
        about = _marked(str(found.get("description", "")) + default)
        yield escape(name), must, _kind(found, own), about


def _resolved(schema: Mapping[str, Any], document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the document leads to."""
    reference = schema.get("$ref", "")
    if not reference.startswith("#/"):
        return schema
    found: Any = document
    for step in reference[2:].split("/"):
        found = found.get(step, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _kind(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The type of a value in a few words."""
    schema = _resolved(schema, document)
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(each)) or '&quot;&quot;'}</code>" for each in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_kind(each, document) for each in choices))
    kind = str(schema.get("type", "any"))
    return f"list of {_kind(schema.get('items', {}), document)}" if kind == "array" else escape(kind)
