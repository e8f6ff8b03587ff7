"""The configuration: one TOML file, and the environment over it (``IVREA_SECTION__KEY``); unknown keys are refused."""

from engine.addresses import Address, parse_address, plain_number, split_host
from engine.config.loading import Config, load
from engine.config.rows import DeviceConfig, MailboxConfig, NumberConfig, TrunkConfig
from engine.config.sections import (
    AccountsConfig,
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
from engine.config.values import DEVICE_REDIRECTS, ConfigError

__all__ = [
    "DEVICE_REDIRECTS",
    "AccountsConfig",
    "Address",
    "CallConfig",
    "CallbackConfig",
    "Config",
    "ConfigError",
    "DeviceConfig",
    "HttpConfig",
    "MailboxConfig",
    "NumberConfig",
    "QueueConfig",
    "RealtimeConfig",
    "RtpConfig",
    "SipConfig",
    "SpeechConfig",
    "StoreConfig",
    "TrunkConfig",
    "load",
    "parse_address",
    "plain_number",
    "split_host",
]
