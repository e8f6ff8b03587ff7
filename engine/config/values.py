"""Kinds of values in the configuration: how each is written, and what is wrong with what is not."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)
from pydantic_settings import (
    NoDecode,
)

from engine.addresses import (
    is_wildcard,
    parse_address,
    parse_peer,
    parse_rewrite,
    plain_number,
    split_host,
)
from engine.sip.offer_answer import CODECS
from flows.dialects import DIALECTS

ENVIRONMENT_PREFIX = "IVREA_"
DEFAULT_FILE = "ivrea.toml"

_NUMBER = re.compile(r"\+?[0-9A-Za-z_.~!$&=#-]*\*?")
_PORTS = re.compile(r"(\d{1,5})\s*-\s*(\d{1,5})")


class ConfigError(ValueError):
    """The configuration cannot be used; the text has one line per field that is wrong."""


def split_list(value: object) -> object:
    """A list in the environment: a JSON array, or items separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            pass  # an IPv6 literal in brackets
    return [item.strip() for item in value.split(",") if item.strip()]


def _listen_address(text: str) -> str:
    return str(parse_address(text))


def valid_http_address(text: str) -> str:
    split_host(text, None)
    return text


def valid_advertised_host(text: str) -> str:
    if text:
        host, _ = split_host(text, 0)
        if is_wildcard(host):
            raise ValueError(f"{text!r} cannot be reached by anyone; name the address that peers shall use")
    return text


def valid_advertised_address(text: str) -> str:
    if text and is_wildcard(str(ipaddress.ip_address(text))):
        raise ValueError(f"{text!r} cannot be reached by anyone; name the address that peers shall use")
    return text


def valid_port_range(text: str) -> str:
    match = _PORTS.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r}: written as LOW-HIGH, for example 16384-32767")
    low, high = int(match[1]), int(match[2])
    if not 1 <= low < high <= 65535 or high - low - (low & 1) < 1:
        raise ValueError(f"{text!r}: must hold at least one even port and the odd one after it, within 1-65535")
    return f"{low}-{high}"


def _codec(text: str) -> str:
    if (name := text.upper()) not in CODECS:
        raise ValueError(f"{text!r}: one of {', '.join(CODECS)}")
    return name


def valid_dialect(text: str) -> str:
    if text and text not in DIALECTS:
        raise ValueError(f"{text!r}: one of {', '.join(DIALECTS)}")
    return text


def _network(text: str) -> str:
    return str(ipaddress.ip_network(text, strict=False))


def valid_web_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", text):
        raise ValueError(f"{text!r}: must be an http or https URL without query, or empty")
    return text.rstrip("/")


def valid_database_url(text: str) -> str:
    """Complete the driver: ``sqlite:`` and ``postgresql:`` mean the asynchronous ones."""
    scheme, separator, rest = text.partition("://")
    driver = {
        "sqlite": "sqlite+aiosqlite",
        "sqlite+aiosqlite": "sqlite+aiosqlite",
        "postgres": "postgresql+asyncpg",
        "postgresql": "postgresql+asyncpg",
        "postgresql+asyncpg": "postgresql+asyncpg",
    }.get(scheme)
    if not separator or driver is None:
        raise ValueError("must begin with sqlite+aiosqlite:// or postgresql+asyncpg://")
    return f"{driver}://{rest}"


def valid_dialled_number(text: str) -> str:
    number = plain_number(text)
    if not number or not _NUMBER.fullmatch(number):
        raise ValueError(f"{text!r}: a number, a prefix that ends in *, or * alone")
    return number


def valid_name_server(text: str) -> str:
    host, _ = split_host(text, 53)
    ipaddress.ip_address(host)
    return text


def valid_trunk_host(text: str) -> str:
    parse_peer(text)
    return text


def valid_outbound_proxy(text: str) -> str:
    return valid_trunk_host(text) if text else ""


def valid_sip_host(text: str) -> str:
    if text:
        split_host(text, 0)
    return text


def _rewrite(text: str) -> str:
    parse_rewrite(text)
    return text


def valid_pin(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value() and not re.fullmatch(r"[0-9]{4,12}", secret.get_secret_value()):
        raise ValueError("4 to 12 digits")
    return secret


def valid_notify_url(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/?#]+([/?]\S*)?", text):
        raise ValueError(f"{text!r}: must be an http or https URL, or empty")
    return text


def valid_time_zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ValueError(f"{text!r} is no time zone; for example Europe/Rome") from error
    return text


TextList = Annotated[list[str], NoDecode, BeforeValidator(split_list)]
ListenAddresses = Annotated[
    list[Annotated[str, AfterValidator(_listen_address)]], NoDecode, BeforeValidator(split_list), Field(min_length=1)
]
Codecs = Annotated[
    list[Annotated[str, AfterValidator(_codec)]], NoDecode, BeforeValidator(split_list), Field(min_length=1)
]
Networks = Annotated[list[Annotated[str, AfterValidator(_network)]], NoDecode, BeforeValidator(split_list)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Rewrites = Annotated[list[Annotated[str, AfterValidator(_rewrite)]], NoDecode, BeforeValidator(split_list)]
DEVICE_REDIRECTS = ("no", "inside", "numbers", "any")
SrtpPolicy = Literal["", "off", "optional", "required"]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def refuse_half(certificate: str, key: str) -> None:
    if bool(certificate) != bool(key):
        raise ValueError("tls_cert and tls_key belong together: set both or neither")


def refuse_repeats(section: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{section}: {name!r} is there twice")
        seen.add(name)
