"""The pages that a person sees on the way to a consent: login, consent, and what went wrong.

Pure: values in, a page out. Nothing comes from elsewhere and nothing runs in it: the style is in the page, and the
Content-Security-Policy allows that style and forms to ourselves, no more.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from fastapi.responses import HTMLResponse

from engine.api.kwebbl.scopes import SCOPES

_STYLE = files(__package__).joinpath("pages.css").read_text(encoding="utf-8")
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_BRAND = (
    '<p class="brand"><svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M5 4h4l1.5 4.5-2.2 1.6a12 12 0 0 0 5.6 5.6l1.6-2.2L20 15v4'
    'a1.5 1.5 0 0 1-1.6 1.5A15.5 15.5 0 0 1 3.5 5.6 1.5 1.5 0 0 1 5 4z"/></svg><span>{company}</span></p>'
)
_YES = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" '
    'stroke-linejoin="round" aria-hidden="true"><path d="M5 12.5l4.5 4.5L19 7.5"/></svg>'
)
_NO = (
    '<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round" '
    'aria-hidden="true"><path d="M6 12h12"/></svg>'
)

Fields = Sequence[tuple[str, str]]
"""Names and values that a form sends along unseen."""


def login(
    application: str, company: str, hidden: Fields, origin: str, *, email: str = "", problem: str = ""
) -> HTMLResponse:
    """Asks who is there. ``problem``: what was wrong with what was sent; ``origin``: where a form may lead."""
    wrong = ' aria-invalid="true" aria-describedby="problem"' if problem else ""
    first, second = ("", " autofocus") if email else (" autofocus", "")
    body = (
        f"<h1>Sign in</h1><p class=soft>to go on to <strong>{escape(application)}</strong></p>{_problem(problem)}"
        f"<form method=post>{_hidden(hidden)}"
        f"<label for=email>E-mail address</label><input id=email name=email type=email autocomplete=username required "
        f'maxlength=254 spellcheck=false autocapitalize=none value="{escape(email)}"{wrong}{first}>'
        f"<label for=password>Password</label><input id=password name=password type=password "
        f"autocomplete=current-password required maxlength=1024{wrong}{second}>"
        f"<div class=buttons><button name=action value=login>Sign in</button></div></form>"
        f"<form method=post>{_hidden(hidden)}<div class=buttons>"
        f"<button class=other name=action value=deny>Cancel</button></div></form>"
    )
    return page("Sign in", company, body, origin=origin, status=400 if problem else 200)


def consent(
    application: str,
    company: str,
    person: str,
    granted: Iterable[str],
    refused: Iterable[str],
    hidden: Fields,
    origin: str,
) -> HTMLResponse:
    """Asks whether the application may. ``refused`` are scopes that this person may not grant."""
    granted, refused = list(granted), list(refused)
    rows = "".join(_scope(name, _YES) for name in granted)
    body = (
        f"<h1>Allow <strong>{escape(application)}</strong>?</h1>"
        f"<p class=soft>You are signed in as <strong>{escape(person)}</strong>.</p>"
    )
    if granted:
        body += f"<h2>It will be able to</h2><ul>{rows}</ul>"
    if refused:
        rows = "".join(_scope(name, _NO, "not") for name in refused)
        body += f"<h2>It asked for more than your role may allow</h2><ul>{rows}</ul>"
    allow = "<button name=action value=allow>Allow</button>" if granted else ""
    body += (
        f"<form method=post>{_hidden(hidden)}<div class=buttons>{allow}"
        f"<button class=other name=action value=deny>{'Refuse' if granted else 'Go back'}</button>"
        f"<button class=other name=action value=leave>Use another account</button></div></form>"
        f"<p class='soft small'>You are taken back to {escape(origin)}.</p>"
    )
    return page(f"Allow {application}?", company, body, origin=origin)


def problem(title: str, text: str, *, status: int = 400, retry_after: int = 0) -> HTMLResponse:
    """Something that cannot go on; the person is told, and nobody is sent anywhere."""
    answer = page(title, "Sign in", f"<h1>{escape(title)}</h1><p role=alert>{escape(text)}</p>", status=status)
    if retry_after:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def page(title: str, company: str, body: str, *, origin: str = "", status: int = 200) -> HTMLResponse:
    """A whole page. ``origin``: browsers check redirects after a form by ``form-action`` too."""
    text = (
        "<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport "
        'content="width=device-width, initial-scale=1"><meta name=robots content=noindex>'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main>{_BRAND.format(company=escape(company))}{body}</main></body></html>"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{f' {origin}' if origin else ''}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return HTMLResponse(
        text,
        status_code=status,
        headers={
            "Content-Security-Policy": policy,
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cache-Control": "no-store",
        },
    )


def _problem(text: str) -> str:
    return f"<p class=bad id=problem role=alert>{escape(text)}</p>" if text else ""


def _hidden(fields: Fields) -> str:
    return "".join(f'<input type=hidden name="{escape(name)}" value="{escape(value)}">' for name, value in fields)


def _scope(name: str, icon: str, kind: str = "") -> str:
    return f'<li class="{kind}">{icon}<span>{escape(SCOPES[name].meaning)}<code>{escape(name)}</code></span></li>'
