"""The configuration: what the file says, what the environment overrides, and how errors read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from engine.config import Config, ConfigError, NumberConfig, load, parse_address, plain_number, split_host
from flows.listening import Settings

FULL = """
[sip]
listen = ["udp:0.0.0.0:5060", "tcp:[::1]:5061"]
advertise = "sip.example.net:5062"
open = true
[rtp]
ports = "20000-20999"
advertise = "203.0.113.5"
workers = 3
timeout = 30
codecs = ["g722", "PCMA"]
[http]
listen = "[::1]:8081"
public_url = "https://ivr.example.net/"
trusted_proxies = ["10.0.0.0/8", "::1"]
[store]
url = "sqlite:///data/calls.db"
recordings = "rec"
[speech]
voice = "ro"
max_listening = 7
[callbacks]
allow_private = true
timeout = 2.5
keep = 60
[callbacks.certificates]
"Hooks.example" = "ca.pem"
"[::1]:8443" = "SHA256:AB:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A:0A"
"10.0.0.1" = "any"
[calls]
max_duration = 60
settle_ms = 0
listen = 3
repeats = 0
[[numbers]]
number = "+39 (1) 23-45"
flow = "flows/a.json"
dialect = "brombler"
record = true
voice = "it"
[[numbers]]
number = "+391*"
flow = "/abs/b.json"
[[trunks]]
name = "t"
host = "tcp:trunk.example.net"
register = true
username = "u"
password = "geheim"
numbers = ["1", "2"]
number_from = "to"
[[devices]]
name = "desk"
password = "dev-secret"
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("IVREA_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir(exist_ok=True)
    (folder / "ca.pem").touch()
    file = folder / "ivrea.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    config = load()
    assert config.sip.listen == ["udp:127.0.0.1:5060", "tcp:127.0.0.1:5060"]
    assert (config.sip.advertise, config.sip.open, config.sip.advertised) == ("", False, None)
    assert (config.rtp.port_range, config.rtp.workers, config.rtp.timeout) == ((16384, 32767), 0, 60.0)
    assert config.rtp.worker_count >= 1
    assert config.rtp.codecs == ["PCMU", "PCMA", "G722", "L16"]
    assert config.http.address == ("127.0.0.1", 8080)
    assert config.store.url == f"sqlite+aiosqlite:///{tmp_path}/ivrea.db"
    assert config.store.recordings == str(tmp_path / "recordings")
    assert (config.speech.vosk_model, config.speech.voice, config.speech.max_listening) == ("", "en", 100)
    assert (config.callbacks.allow_private, config.callbacks.timeout, config.callbacks.keep) == (False, 5.0, 86400)
    calls = config.calls
    assert (calls.max_duration, calls.settle_ms, calls.listen, calls.repeats) == (7200, 100, 5.0, 2)
    assert (calls.max_fetches, calls.settings) == (1000, Settings())
    assert (config.numbers, config.trunks, config.devices) == ((), (), ())


def test_every_key_of_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, FULL)
    folder = file.parent
    config = load(file)
    assert [tuple(each) for each in config.sip.addresses] == [("udp", "0.0.0.0", 5060), ("tcp", "::1", 5061)]
    assert config.sip.advertised == ("sip.example.net", 5062)
    assert config.rtp.worker_count == 3
    assert config.rtp.codecs == ["G722", "PCMA"]
    assert config.http.public_url == "https://ivr.example.net"
    assert config.http.trusted_proxies == ["10.0.0.0/8", "::1/128"]
    assert config.store.url == f"sqlite+aiosqlite:///{folder}/data/calls.db"
    assert config.store.recordings == str(folder / "rec")
    assert config.callbacks.certificates == {
        "hooks.example": str(folder / "ca.pem"),
        "[::1]:8443": f"sha256:ab{'0a' * 31}",
        "10.0.0.1": "any",
    }
    assert config.numbers[0] == NumberConfig(
        number="+3912345", flow=str(folder / "flows/a.json"), dialect="brombler", record=True, voice="it"
    )
    assert config.numbers[1].flow == "/abs/b.json"
    trunk = config.trunks[0]
    assert trunk.registers
    assert trunk.password.get_secret_value() == "geheim"
    assert tuple(trunk.address) == ("tcp", "trunk.example.net", 5060)
    assert (trunk.numbers, trunk.number_from) == (["1", "2"], "to")
    assert config.devices[0].password.get_secret_value() == "dev-secret"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    config = load(write(tmp_path, FULL))
    shown = str(config.shown()) + repr(config)
    assert "geheim" not in shown
    assert "dev-secret" not in shown
    database = Config(store={"url": "postgresql://ivrea:hush@db/x"})  # type: ignore[arg-type]
    assert database.shown()["store"]["url"] == "postgresql+asyncpg://ivrea:***@db/x"


def test_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IVREA_SIP__LISTEN", "udp:127.0.0.1:7000, tcp:[::1]:7000")
    monkeypatch.setenv("IVREA_CALLBACKS__ALLOW_PRIVATE", "false")
    monkeypatch.setenv("IVREA_CALLBACKS__TIMEOUT", "1.5")
    monkeypatch.setenv("IVREA_RTP__CODECS", "L16,PCMU")
    monkeypatch.setenv("IVREA_HTTP__TRUSTED_PROXIES", '["192.0.2.1"]')
    monkeypatch.setenv("IVREA_REQUIRE_PEERS", "1")  # not a key: has no section
    config = load(write(tmp_path, FULL))
    assert config.sip.listen == ["udp:127.0.0.1:7000", "tcp:[::1]:7000"]
    assert config.sip.open, "other keys of the section stay as the file has them"
    assert (config.callbacks.allow_private, config.callbacks.timeout, config.callbacks.keep) == (False, 1.5, 60)
    assert config.http.trusted_proxies == ["192.0.2.1/32"]
    assert config.rtp.codecs == ["L16", "PCMU"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sip]\nlissen = []", "sip.lissen: there is no such key"),
        ("[spi]\n", "spi: there is no such key"),
        ("[sip]\nlisten = []", "sip.listen"),
        ('[sip]\nlisten = ["sctp:1.2.3.4:5061"]', "sip.listen[0]: 'sctp:1.2.3.4:5061': must begin with udp:, tcp: or"),
        ('[sip]\nlisten = ["tls:1.2.3.4:5061"]', "sip: tls_cert and tls_key are needed to listen on a tls: address"),
        ('[sip]\ntls_cert = "x.pem"', "sip: tls_cert and tls_key belong together"),
        ('[sip]\ntls_cert = "x.pem"\ntls_key = "x.key"', "sip.tls_cert: there is no file"),
        ("[sip]\ntls_verify_clients = true", "sip: tls_ca is needed to verify clients"),
        ('[rtp]\nsrtp = "maybe"', "rtp.srtp"),
        ("[[trunks]]\nname = 'a'\nhost = 'tls:b'\ntls_verify = 'no'", "trunks[0].tls_verify"),
        ("[[trunks]]\nname = 'a'\nhost = 'tls:b'\ntls_ca = 'x.pem'", "trunks[0].tls_ca: there is no file"),
        ("[[trunks]]\nname = 'a'\nhost = 'b'\nsrtp = 'required'", "'a': srtp is required: host must begin with tls:"),
        ('[sip]\nlisten = ["udp:1.2.3.4"]', "sip.listen[0]: '1.2.3.4': a port from 0 to 65535 must follow the host"),
        ('[sip]\nlisten = ["udp:::1:5060"]', "an IPv6 address is written in brackets"),
        ('[sip]\nadvertise = "0.0.0.0"', "sip.advertise: '0.0.0.0' cannot be reached by anyone"),
        ('[rtp]\nadvertise = "::"', "rtp.advertise: '::' cannot be reached by anyone"),
        ('[rtp]\nadvertise = "host.example"', "rtp.advertise"),
        ('[rtp]\nports = "5000"', "rtp.ports: '5000': written as LOW-HIGH"),
        ('[rtp]\nports = "9-9"', "rtp.ports"),
        ('[rtp]\nports = "10001-10002"', "at least one even port"),
        ('[rtp]\nports = "60000-70000"', "rtp.ports"),
        ("[rtp]\nworkers = -1", "rtp.workers"),
        ('[rtp]\ncodecs = ["PCMU", "opus"]', "rtp.codecs[1]: 'opus': one of PCMU, PCMA, G722, L16"),
        ("[rtp]\ncodecs = []", "rtp.codecs"),
        ("[rtp]\ntimeout = nan", "rtp.timeout"),
        ('[http]\ntls_cert = "x.pem"', "http: tls_cert and tls_key belong together"),
        ('[http]\ntls_cert = "x.pem"\ntls_key = "x.key"', "http.tls_cert: there is no file"),
        ('[http]\npublic_url = "ftp://x"', "http.public_url"),
        ('[http]\ntrusted_proxies = ["here"]', "http.trusted_proxies[0]"),
        ('[store]\nurl = "mysql://x"', "store.url: must begin with sqlite+aiosqlite:// or postgresql+asyncpg://"),
        ('[speech]\nvosk_model = "nowhere"', "speech.vosk_model: there is no folder"),
        ("[callbacks]\ntimeout = 0", "callbacks.timeout"),
        ("[callbacks.certificates]\na = 'x.pem'", "callbacks.certificates.a: there is no file"),
        ("[callbacks.certificates]\na = ''", "callbacks.certificates.a"),
        (
            "[callbacks.certificates]\na = 'sha256:12'",
            "certificates.a: the SHA-256 fingerprint of a certificate has 64",
        ),
        ("[callbacks.certificates]\n'https://a' = 'any'", "'https://a'"),
        ("[calls]\nrepeats = 1.5", "calls.repeats"),
        ("[[numbers]]\nnumber = 1000\nflow = 'x'", 'numbers[0].number: must be text, in quotes: "…"'),
        ("[[numbers]]\nnumber = '1000'", "numbers[0]: flow or callflow_url is needed"),
        ("[[numbers]]\nnumber = '1*0'\nflow = 'x'", "numbers[0].number: '1*0': a number, a prefix that ends in *"),
        ("[[numbers]]\nnumber = '10'\nflow = 'x'\n[[numbers]]\nnumber = '1-0'\nflow = 'y'", "'10' is there twice"),
        ("[[numbers]]\nnumber = '10'\nflow = 'x'\ndialect = 'klingon'", "numbers[0].dialect"),
        ("[[trunks]]\nname = 'a'\nhost = 'b'\nregister = true", "trunks[0]: username is needed to register"),
        ("[[trunks]]\nname = 'a'\nhost = 'b c'", "trunks[0].host"),
        ("[[devices]]\nname = 'a'", "devices[0].password: is missing"),
        ("[[devices]]\nname = 'a'\npassword = ''", "devices[0].password"),
        ("[sip\n", "line 1"),
    ],
)
def test_errors_name_file_and_field(tmp_path: Path, text: str, expected: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert expected in str(caught.value)
    assert "pydantic" not in str(caught.value)
    if not expected.startswith(
        ("http.tls", "speech.vosk", "callbacks.certificates.a: there", "sip.tls_cert: ", "trunks[0].tls_ca")
    ):
        assert str(file) in str(caught.value)


def test_every_wrong_field_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, "[sip]\nx = 1\n[rtp]\nworkers = -1\n"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("IVREA_SIP__OPN", "1", "sip.opn: there is no such key"),
        ("IVREA_SPI__OPEN", "1", "environment variable IVREA_SPI__OPEN: there is no section [spi]"),
        ("IVREA_RTP__WORKERS", "many", "environment variable IVREA_RTP__WORKERS: rtp.workers"),
        ("IVREA_NUMBERS", "[", "environment"),
    ],
)
def test_errors_name_the_variable(name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as caught:
        load()
    assert expected in str(caught.value)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load(tmp_path / "none.toml")


def test_the_file_in_the_current_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "ivrea.toml").write_text("[calls]\nrepeats = 7\n")
    assert load().calls.repeats == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", ("host", 5060)),
        ("a_b.example:0", ("a_b.example", 0)),
        ("[2001:db8::1]", ("2001:db8::1", 5060)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_split_host(text: str, expected: tuple[str, int]) -> None:
    assert split_host(text, 5060) == expected


@pytest.mark.parametrize("text", ["", "h:65536", "h:-1", "h:１", "[::1", "[::1]x", "[zz]", "-h", "a b", "h:5:6"])
def test_split_host_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        split_host(text, 5060)


def test_addresses_round_trip() -> None:
    for text in ("udp:127.0.0.1:5060", "tcp:[::1]:5061"):
        assert str(parse_address(text)) == text


@pytest.mark.parametrize(("host", "expected"), [("udp", ("udp", "udp", 5060)), ("tcp:5070", ("udp", "tcp", 5070)),
                                                ("tcp:10.1.2.3", ("tcp", "10.1.2.3", 5060)),
                                                ("10.1.2.3:99", ("udp", "10.1.2.3", 99))])  # fmt: skip
def test_trunk_hosts(host: str, expected: tuple[str, str, int], tmp_path: Path) -> None:
    config = load(write(tmp_path, f"[[trunks]]\nname = 'a'\nhost = '{host}'\n"))
    assert tuple(config.trunks[0].address) == expected


def test_visual_separators_only() -> None:
    assert plain_number(" +39 (011) 2-3.4 ") == "+39011234"


def test_every_key_says_what_it_is() -> None:
    for section in Config.model_fields.values():
        annotation = section.annotation
        kind = (
            annotation
            if isinstance(annotation, type) and hasattr(annotation, "model_fields")
            else annotation.__args__[0]
        )  # type: ignore[union-attr]
        for name, field in kind.model_fields.items():
            assert field.description, f"{kind.__name__}.{name} has no docstring"


@pytest.mark.parametrize(
    ("trunk", "problem"),
    [
        ({"inbound": "digest", "username": "a"}, "username and password are needed to know it by digest"),
        ({"rewrite_dialled_in": ["0039"]}, "written as OLD=NEW"),
        ({"rewrite_caller_out": ["+39=0 11;x"]}, "written as OLD=NEW"),
        ({"from_domain": "a b"}, "neither an IP address nor a host name"),
        ({"outbound_proxy": "tcp:x:y"}, "a port from 0 to 65535"),
        ({"channels": -1}, "greater than or equal to 0"),
        ({"redirects": "inside"}, "'no', 'same' or 'any'"),
    ],
)
def test_what_a_trunk_may_not_say(trunk: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        Config.given({"trunks": [{"name": "t", "host": "t.example", **trunk}]})


def test_a_trunk_cannot_prove_itself_by_the_name_of_a_telephone() -> None:
    trunk = {"name": "t", "host": "t.example", "inbound": "digest", "username": "desk", "password": "x"}
    with pytest.raises(ValidationError, match="'desk' is there twice"):
        Config.given({"trunks": [trunk], "devices": [{"name": "desk", "password": "y"}]})
