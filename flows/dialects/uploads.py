"""Recordings that are sent to a folder on somebody's server, by the names that Kazoo gives them (CONTRACTS §3.4)."""

from __future__ import annotations

from typing import Literal

from flows.findings import Findings
from flows.orders import Upload
from flows.targets import url_problem
from flows.templates import Template, Var

_TRANSFER = ("ftp://", "ftps://")


def upload_to(folder: str, form: str, *, method: Literal["PUT", "POST"] = "PUT", name: str = "") -> Upload:
    """An upload to ``<folder>/call_recording_<call id>.<form>``, later ones of the call numbered; or by a ``name``."""
    folder = folder.rstrip("/")
    if name:
        return Upload(folder, method, name)
    return Upload(folder, method, Template(("call_recording_", Var("call.id"), f".{form}")), numbered=True)


def is_for_files(url: str) -> bool:
    """Whether a URL is of FTP."""
    return url.lower().startswith(_TRANSFER)


def check_folder(url: str, name: str, where: str, findings: Findings) -> None:
    """Put among the findings what is wrong with ``url``, of http, https, ftp or ftps, in the option ``name``."""
    by_ftp = is_for_files(url)
    if problem := url_problem(f"http://{url.partition('://')[2]}" if by_ftp else url):
        findings.error("bad-url", where, f"{name}: nothing can be sent to {url[:200]!r}: {problem}")
    elif by_ftp:
        message = f"{name}: recordings are not sent by FTP on live calls yet: it stays here"
        findings.warning("unsupported", where, message, "a folder of http or https")
