"""The whole configuration: read from a TOML file, overridden by the environment, errors told by their field."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import (
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from engine.config.rows import (
    AccountConfig,
    DeviceConfig,
    ExtensionConfig,
    GroupConfig,
    MailboxConfig,
    NumberConfig,
    TrunkConfig,
    UserConfig,
)
from engine.config.sections import (
    AccountsConfig,
    ApiConfig,
    CallbackConfig,
    CallConfig,
    HttpConfig,
    QueueConfig,
    RealtimeConfig,
    RtpConfig,
    SipConfig,
    SpeechConfig,
    StoreConfig,
)
from engine.config.values import DEFAULT_FILE, ENVIRONMENT_PREFIX, ConfigError, refuse_repeats


class Config(BaseSettings):
    """The whole configuration. Made by :func:`load`."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter="__",
        nested_model_default_partial_update=False,
    )

    sip: SipConfig = SipConfig()
    rtp: RtpConfig = RtpConfig()
    http: HttpConfig = HttpConfig()
    store: StoreConfig = StoreConfig()
    speech: SpeechConfig = SpeechConfig()
    callbacks: CallbackConfig = CallbackConfig()
    calls: CallConfig = CallConfig()
    api: ApiConfig = ApiConfig()
    queue: QueueConfig = QueueConfig()
    realtime: RealtimeConfig = RealtimeConfig()
    account: AccountConfig = AccountConfig()
    accounts: AccountsConfig = AccountsConfig()
    numbers: tuple[NumberConfig, ...] = ()
    trunks: tuple[TrunkConfig, ...] = ()
    devices: tuple[DeviceConfig, ...] = ()
    users: tuple[UserConfig, ...] = ()
    groups: tuple[GroupConfig, ...] = ()
    extensions: tuple[ExtensionConfig, ...] = ()
    mailboxes: tuple[MailboxConfig, ...] = ()

    @classmethod
    def given(cls, data: dict[str, Any]) -> Config:
        """The configuration that ``data`` says, whatever the environment says. Raises pydantic's ValidationError."""
        return _Given(**data)

    @model_validator(mode="after")
    def _nothing_twice(self) -> Config:
        refuse_repeats("numbers", (each.number for each in self.numbers))
        refuse_repeats("trunks", (each.name for each in self.trunks))
        refuse_repeats("devices", (each.name for each in self.devices))
        refuse_repeats("users", (each.name for each in self.users))
        refuse_repeats("groups", (each.name for each in self.groups))
        refuse_repeats("extensions", (each.number for each in self.extensions))
        refuse_repeats("mailboxes", (each.id for each in self.mailboxes))
        proving = [each.username for each in self.trunks if each.inbound == "digest"]
        refuse_repeats("usernames of trunks and names of devices", (*proving, *(each.name for each in self.devices)))
        return self

    @model_validator(mode="after")
    def _srtp_has_secrets(self) -> Config:
        """Keys that everybody on the way can read protect nothing: that has to be asked for."""
        for trunk in self.trunks:
            policy = trunk.srtp or self.rtp.srtp
            if policy == "required" and trunk.hop[0] != "tls" and not self.rtp.srtp_without_tls:
                raise ValueError(f"trunks: {trunk.name!r}: srtp is required: host must begin with tls:")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment comes before the file, whose content :func:`load` passes in."""
        return env_settings, init_settings

    def shown(self) -> dict[str, Any]:
        """The configuration in effect, as plain data, with its secrets masked."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        data["store"]["url"] = re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", data["store"]["url"])
        return data


class _Given(Config):
    """Reads what it is given and nothing else."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load(path: Path | str | None = None) -> Config:
    """Read the configuration from ``path``.

    Without a path: from ``ivrea.toml`` in the current folder if there is one, otherwise the
    defaults. Relative paths in it are resolved against the file's folder (or the current one).
    Raises :class:`ConfigError`.
    """
    if path is None:
        file = Path(DEFAULT_FILE)
        data = _read(file) if file.is_file() else {}
    else:
        file = Path(path)
        data = _read(file)
    _refuse_unknown_variables()
    try:
        config = Config(**data)
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(file, error))) from error
    except SettingsError as error:
        raise ConfigError(f"environment: {error}") from error
    return _with_resolved_paths(config, file.resolve().parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from error


def _refuse_unknown_variables() -> None:
    """Pydantic refuses unknown keys of known sections; a section misspelt it would overlook."""
    for variable in os.environ:
        section, delimiter, _ = variable.upper().removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if variable.upper().startswith(ENVIRONMENT_PREFIX) and delimiter and section.lower() not in Config.model_fields:
            raise ConfigError(f"environment variable {variable}: there is no section [{section.lower()}]")


def _explain(file: Path, error: ValidationError) -> Iterable[str]:
    for problem in error.errors(include_url=False, include_input=False):
        place = ""
        for part in problem["loc"]:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        variable = ENVIRONMENT_PREFIX + "__".join(str(part) for part in problem["loc"][:2]).upper()
        known = {name.upper(): name for name in os.environ}
        source = f"environment variable {known[variable]}" if variable in known else str(file)
        message = {
            "extra_forbidden": "there is no such key",
            "missing": "is missing",
            "string_type": 'must be text, in quotes: "…"',
        }.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        yield f"{source}: {place}: {message}" if place else f"{source}: {message}"


def _with_resolved_paths(config: Config, folder: Path) -> Config:
    """Every path of ``config`` made absolute. Raises :class:`ConfigError` for files that must be there and are not."""

    def resolve(text: str) -> str:
        return str(folder / Path(text).expanduser()) if text else text

    store = config.store.model_copy(
        update={
            "url": _resolve_database(config.store.url, folder),
            "recordings": resolve(config.store.recordings),
            "state": resolve(config.store.state),
        }
    )
    http = config.http.model_copy(
        update={"tls_cert": resolve(config.http.tls_cert), "tls_key": resolve(config.http.tls_key)}
    )
    sip, trunks = _with_resolved_certificates(config, resolve)
    callbacks = config.callbacks.model_copy(update={"certificates": _found_certificates(config.callbacks, resolve)})
    speech = config.speech.model_copy(update={"vosk_model": resolve(config.speech.vosk_model)})
    calls = config.calls.model_copy(update={"music": resolve(config.calls.music)})
    numbers = tuple(each.model_copy(update={"flow": resolve(each.flow)}) for each in config.numbers)
    extensions = tuple(each.model_copy(update={"flow": resolve(each.flow)}) for each in config.extensions)
    mailboxes = tuple(each.model_copy(update={"greeting": resolve(each.greeting)}) for each in config.mailboxes)
    for place, needed in (("http.tls_cert", http.tls_cert), ("http.tls_key", http.tls_key)):
        if needed and not Path(needed).is_file():
            raise ConfigError(f"{place}: there is no file {needed}")
    if speech.vosk_model and not Path(speech.vosk_model).is_dir():
        raise ConfigError(f"speech.vosk_model: there is no folder {speech.vosk_model}")
    sections = {"store": store, "http": http, "speech": speech, "callbacks": callbacks, "calls": calls, "sip": sip}
    rows = {"trunks": trunks, "numbers": numbers, "extensions": extensions, "mailboxes": mailboxes}
    return config.model_copy(update={**sections, **rows})


def _with_resolved_certificates(
    config: Config, resolve: Callable[[str], str]
) -> tuple[SipConfig, tuple[TrunkConfig, ...]]:
    """The sections with files for TLS. Raises :class:`ConfigError` for those that are not there."""

    def found(section: str, given: SipConfig | TrunkConfig) -> dict[str, str]:
        files = {key: resolve(getattr(given, key)) for key in ("tls_cert", "tls_key", "tls_ca")}
        for key, file in files.items():
            if file and not Path(file).is_file():
                raise ConfigError(f"{section}.{key}: there is no file {file}")
        return files

    sip = config.sip.model_copy(update=found("sip", config.sip))
    trunks = tuple(
        trunk.model_copy(update=found(f"trunks[{place}]", trunk)) for place, trunk in enumerate(config.trunks)
    )
    return sip, trunks


def _found_certificates(callbacks: CallbackConfig, resolve: Callable[[str], str]) -> dict[str, str]:
    """``callbacks.certificates`` with its files. Raises :class:`ConfigError` for those that are not there."""
    found = {}
    for server, what in callbacks.certificates.items():
        is_file = what != "any" and not what.startswith("sha256:")
        found[server] = resolve(what) if is_file else what
        if is_file and not Path(found[server]).is_file():
            raise ConfigError(f"callbacks.certificates.{server}: there is no file {found[server]}")
    return found


def _resolve_database(url: str, folder: Path) -> str:
    scheme, _, rest = url.partition(":///")
    path, question, query = rest.partition("?")
    if not scheme.startswith("sqlite") or not path or path == ":memory:" or path.startswith("file:"):
        return url
    return f"{scheme}:///{folder / path}{question}{query}"
