"""What the OpenAPI document says of credentials: a scheme for each API, and which endpoints ask for it."""

from __future__ import annotations

from typing import Any

from engine.api.doors import by_beginning
from engine.api.kwebbl.scopes import SCOPES

Json = dict[str, Any]

SCHEMES: dict[str, dict[str, Json]] = {
    "ivrea": {
        "Token": {"type": "http", "scheme": "bearer", "description": "A token of `ivrea token` or `/api/v1/tokens`."},
    },
    "brombler": {
        "BromblerToken": {"type": "http", "scheme": "bearer", "description": "The `access_token` of `auth.cas`."},
    },
    "verboice": {
        "Basic": {"type": "http", "scheme": "basic", "description": "Mail address and password of a user."},
    },
    "kazoo": {
        "XAuthToken": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Auth-Token",
            "description": "A token as for our own API.",
        },
        "Token": {"type": "http", "scheme": "bearer"},
    },
    "kwebbl": {
        "OAuth2": {
            "type": "oauth2",
            "flows": {
                "authorizationCode": {
                    "authorizationUrl": "/authorize",
                    "tokenUrl": "/token",
                    "refreshUrl": "/token",
                    "scopes": {name: scope.meaning for name, scope in SCOPES.items()},
                }
            },
        },
    },
    "messagebird": {
        "AccessKey": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "AccessKey {accessKey}",
        },
    },
}
"""By API and name. Of several of an API any will do."""

OPEN = ("/auth.cas", "/token", "/authorize", "/v100/token", "/v100/authorize")
"""What gives credentials."""


def secured(document: Json) -> Json:
    """The document with the schemes, and with those of each endpoint."""
    schemes: Json = {}
    for of_system in SCHEMES.values():
        for name, scheme in of_system.items():
            schemes.setdefault(name, scheme)
    document.setdefault("components", {})["securitySchemes"] = schemes
    for path, item in document["paths"].items():
        names = () if path in OPEN else SCHEMES.get(by_beginning(path), {})
        for operation in item.values():
            operation["security"] = [{name: []} for name in names]
    return document
