"""``ivrea simulate``: who calls whom, and where the answers of web servers come from."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pki import Authority

ASKS = '<Response><Say>First.</Say><Redirect method="GET">{url}</Redirect></Response>'
NEXT = "<Response><Say>Second.</Say></Response>"

Run = Callable[..., Result]
Told = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a server that answers everything with a flow."""
    yield from serving()


def serving(certificate: Path | None = None) -> Iterator[str]:
    """A server, and its URL; with a ``certificate`` (PEM, key included) it speaks HTTPS."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.end_headers()
            self.wfile.write(NEXT.encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    http = HTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{http.server_port}/next"
    http.shutdown()
    thread.join()
    http.server_close()


def flow(folder: Path, url: str = "https://example.org/next") -> Path:
    path = folder / "flow.xml"
    path.write_text(ASKS.format(url=url))
    return path


def spoken(told: Any) -> list[str]:
    return [each["text"] for each in told["spoken"]]


def test_numbers_of_the_call(tmp_path: Path, told: Told) -> None:
    path = tmp_path / "flow.json"
    path.write_text('{"$api http://a/": {"_": "Hello"}}')
    result = told("simulate", path, "--from", "+4021", "--to", "1000")
    assert [(each["params"]["from"], each["params"]["to"]) for each in result["callbacks"]] == [("+4021", "1000")] * 2
    assert (result["call"]["from"], result["call"]["to"]) == ("+4021", "1000")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("replies.yaml", "https://example.org/next: {file: next.xml}"),
        (
            "replies.yaml",
            'GET https://example.org/next:\n  - "<Response><Say>Second.</Say></Response>"\n  - fail: down\n',
        ),
        ("replies.json", '{"https://example.org/next": {"body": "<Response><Say>Second.</Say></Response>"}}'),
    ],
)
def test_answers_from_a_file(tmp_path: Path, told: Told, name: str, text: str) -> None:
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "next.xml").write_text(NEXT)
    (tmp_path / "answers" / name).write_text(text)
    assert spoken(told("simulate", flow(tmp_path), "--replies", f"answers/{name}")) == ["First.", "Second."]


def test_without_an_answer_a_request_fails(tmp_path: Path, told: Told) -> None:
    result = told("simulate", flow(tmp_path))
    assert spoken(result) == ["First."]
    assert result["fetches"][0]["problem"].startswith("no answer from https://example.org/next?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "the replies are URLs"),
        ("https://a/: {status: 9}", "https://a/.status: 9 is no HTTP status"),
        ("a: [", "while parsing"),
        ("https://a/: {file: none.xml}", "none.xml: No such file"),
        ("!!python/name:os.system", "could not determine a constructor"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, run: Run, text: str, message: str) -> None:
    (tmp_path / "replies.yaml").write_text(text)
    result = run("simulate", flow(tmp_path), "--replies", "replies.yaml", status=2)
    assert "replies.yaml" in result.stderr
    assert message in result.stderr
    assert "No such file" in run("simulate", flow(tmp_path), "--replies", "other.yaml", status=2).stderr


def test_requests_are_really_made(tmp_path: Path, told: Told, server: str) -> None:
    (tmp_path / "ivrea.toml").write_text("[callbacks]\nallow_private = true\n")
    assert spoken(told("simulate", flow(tmp_path, server), "--fetch")) == ["First.", "Second."]
    (tmp_path / "replies.yaml").write_text(f"{server}: <Response><Say>Canned.</Say></Response>\n")
    result = told("simulate", flow(tmp_path, server), "--fetch", "--replies", "replies.yaml")
    assert spoken(result) == ["First.", "Canned."]


def test_certificates_are_believed_as_on_live_calls(tmp_path: Path, told: Told, run: Run) -> None:
    authority = Authority(tmp_path / "pki")
    pair = authority.sign("web", addresses=("127.0.0.1",))
    config = tmp_path / "ivrea.toml"
    with contextmanager(serving)(pair.both) as url:
        config.write_text("[callbacks]\nallow_private = true\n")
        result = told("simulate", flow(tmp_path, url), "--fetch")
        assert "certificate verify failed" in result["fetches"][0]["problem"]
        config.write_text('[callbacks]\nallow_private = true\ncertificates = {"127.0.0.1" = "pki/ca.pem"}\n')
        assert spoken(told("simulate", flow(tmp_path, url), "--fetch")) == ["First.", "Second."]
        authority.file.write_text("nothing")
        refused = run("simulate", flow(tmp_path, url), "--fetch", status=2)
        assert f"callbacks.certificates.127.0.0.1: {authority.file}: no certificate" in " ".join(refused.stderr.split())


def test_private_addresses_are_asked_only_where_that_is_allowed(tmp_path: Path, told: Told, server: str) -> None:
    result = told("simulate", flow(tmp_path, server), "--fetch")
    assert spoken(result) == ["First."]
    assert "127.0.0.1" in result["fetches"][0]["problem"]


def test_the_log_of_the_call_comes_with_it(tmp_path: Path, told: Told) -> None:
    result = told("simulate", flow(tmp_path))
    assert [entry["is"] for entry in result["log"]][:2] == ["Began", "Entered"]
    assert result["call"]["id"] == "simulated"
    assert result["end"]["by"] == "flow"


def test_settings_of_calls_are_those_of_the_configuration(tmp_path: Path, told: Told) -> None:
    (tmp_path / "menu.json").write_text('{"_": "Hello", "key:1": "One"}')
    (tmp_path / "my.toml").write_text("[calls]\nlisten = 1.0\nrepeats = 0\n")
    usual = told("simulate", "menu.json")
    quick = told("simulate", "menu.json", "--config", "my.toml")
    assert (len(usual["spoken"]), len(quick["spoken"])) == (3, 1)
    assert quick["duration"] == pytest.approx(quick["spoken"][0]["heard"] + 1.0)
    (tmp_path / "ivrea.toml").write_text("[calls]\nmax_duration = 2.0\n")
    assert told("simulate", "menu.json")["end"] == {"by": "limit", "reason": "the call lasted 2 s"}


def test_so_many_flows_are_asked_for(tmp_path: Path, told: Told) -> None:
    path = tmp_path / "flow.xml"
    path.write_text(ASKS.format(url="https://example.org/next"))
    (tmp_path / "replies.yaml").write_text(
        "https://example.org/next: <Response><Redirect method='GET'>next</Redirect></Response>\n"
    )
    (tmp_path / "my.toml").write_text("[calls]\nmax_fetches = 4\n")
    result = told("simulate", path, "--replies", "replies.yaml", "--config", "my.toml")
    assert (len(result["fetches"]), result["end"]["by"]) == (4, "limit")
    assert "calls.max_fetches" in result["end"]["reason"]


def test_a_call_that_was_made(tmp_path: Path, run: Run, told: Told) -> None:
    steps = [
        {"action": "say", "options": {"payload": "Hi.", "language": "en-gb", "voice": "male", "ifMachine": "hangup"}}
    ]
    (tmp_path / "flow.json").write_text(json.dumps({"title": "t", "steps": steps}))
    assert spoken(told("simulate", "flow.json", "--outbound", "-s", "human")) == ["Hi."]
    machine = told("simulate", "flow.json", "--outbound", "-s", "machine 5")
    assert (spoken(machine), machine["end"]["reason"], machine["not_reached"]) == ([], "a machine picked up", [])
    busy = told("simulate", "flow.json", "--outbound", "-s", "busy; press 1")
    assert (busy["end"], busy["not_reached"]) == ({"by": "caller", "reason": "refused: 486 USER_BUSY"}, ["press 1"])
    run("draw", "flow.json", "--outbound", "-s", "machine 5", "-o", "machine.svg")
    assert "a machine picked up" in (tmp_path / "machine.svg").read_text()


def test_what_of_the_script_was_not_used(tmp_path: Path, run: Run) -> None:
    (tmp_path / "flow.json").write_text('{"_": "Bye"}')
    shown = run("simulate", "flow.json", "-s", "machine; press 1").stdout
    assert "the flow never came to what the script says of others: machine 6" in shown
    assert "the caller never got to: press 1" in shown
