"""What a document may name as a callback URL, a transfer target or a sound."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

MAX_LENGTH = 4096

_SEPARATORS = str.maketrans("", "", " \u00a0-.()/")
_NUMBER = re.compile(r"\+?[0-9*#]{1,32}\Z")
_URI = re.compile(r"(?i:sips?):[^\s<>\"@]+(@[^\s<>\"@]+)?\Z|(?i:tel):\+?[0-9*#.()\-]+(;[^\s<>\"]*)?\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MEDIA = re.compile(r"\.(wav|mp3|ogg|oga|opus|flac|m4a)\Z", re.IGNORECASE)
_HOST = re.compile(r"[^\s\[\]<>\"%@:/\\]+\Z")


def transfer_target(text: str) -> str:
    """The number (separators removed) or SIP URI to transfer to. ``ValueError`` says why it is none."""
    text = text.strip()
    if len(text) > MAX_LENGTH or _CONTROL.search(text):
        raise ValueError("it is too long or has control characters")
    if _URI.match(text):
        return text
    if _NUMBER.match(number := text.translate(_SEPARATORS)):
        return number
    if "@" in text and _URI.match(f"sip:{text}"):
        raise ValueError(f"a SIP URI begins with sip:, as in sip:{text}")
    raise ValueError("neither a telephone number nor a SIP URI")


def url_problem(url: str) -> str:
    """Why no HTTP request can be made to ``url``; empty when one can. Host names may contain ``_``."""
    if len(url) > MAX_LENGTH:
        return f"it is longer than {MAX_LENGTH} characters"
    if _CONTROL.search(url):
        return "it has control characters"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https"):
        return "it does not begin with http:// or https://"
    if not host or port == 0:
        return "it names no host" if not host else "port 0 cannot be reached"
    if "[" not in parts.netloc and not _HOST.match(host):
        return f"{host!r} is not a host name"
    return ""


def is_url(text: str) -> bool:
    """Whether ``text`` is one HTTP URL and nothing else."""
    return text[:8].lower().startswith(("http://", "https://")) and not any(c.isspace() for c in text)


def is_media(text: str) -> bool:
    """Whether a prompt is a sound to play: a URL or file name that ends as sound files do."""
    if "\n" in text:
        return False
    if text[:8].lower().startswith(("http://", "https://")):
        without_query = text.partition("#")[0].partition("?")[0]
        return bool(_MEDIA.search(text) or _MEDIA.search(without_query)) and " " not in text
    # A sentence may well end in ".wav"; a file name with spaces must show that it is one.
    looks_like_a_path = text.startswith(("/", "./", "../")) or not any(c.isspace() for c in text)
    return bool(_MEDIA.search(text)) and looks_like_a_path
