"""What it costs to set a call up and take it down: SIPp's own ``uac`` scenario against the daemon.

    python benchmarks/call_setup.py [--calls 2000] [--rate 100]

Prints, per call, the CPU (user + system) of the control process and of the media worker, beside that of a
bare responder measured in the same run: a loop that answers every INVITE and BYE with fixed bytes on one
UDP socket. The ratio is what to compare between machines.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "interop"))

from kit import trees
from kit.daemon import Daemon, command_line, free_port

TICKS = os.sysconf("SC_CLK_TCK")


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def respond(port: int) -> None:
    """The floor: no parser, no transactions, no dialogs, no media."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))
    body = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\n"
    while True:
        data, source = sock.recvfrom(65535)
        lines = data.split(b"\r\n")
        if data.startswith(b"ACK"):
            continue
        kept = [line for line in lines if line.startswith((b"Via", b"From", b"To", b"Call-ID", b"CSeq"))]
        kept = [line + b";tag=1" if line.startswith(b"To") and b"tag=" not in line else line for line in kept]
        content = body if data.startswith(b"INVITE") else b""
        head = [b"SIP/2.0 200 OK", *kept, b"Contact: <sip:127.0.0.1:%d>" % port]
        head += [b"Content-Type: application/sdp"] if content else []
        sock.sendto(b"\r\n".join([*head, b"Content-Length: %d" % len(content), b"", content]), source)


def sipp(port: int, calls: int, rate: float, folder: Path) -> float:
    """Run the calls; how many failed is SIPp's exit status. Returns seconds."""
    started = time.monotonic()
    subprocess.run(
        ["sipp", "-sn", "uac", "-s", "1000", "-i", "127.0.0.1", "-p", str(free_port()), "-m", str(calls),
         "-r", str(rate), "-d", "200", "-nostdin", "-timeout", "300", f"127.0.0.1:{port}"],
        cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return time.monotonic() - started


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=2000)
    options.add_argument("--rate", type=float, default=100.0, help="calls a second")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="ivrea-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        port = free_port()
        floor = multiprocessing.get_context("spawn").Process(target=respond, args=(port,), daemon=True)
        floor.start()
        stack.callback(floor.kill)
        time.sleep(0.5)
        assert floor.pid is not None
        before = cpu(floor.pid)
        sipp(port, given.calls, given.rate, folder)
        bare = 1000 * (cpu(floor.pid) - before) / given.calls

        daemon = stack.enter_context(
            Daemon(
                folder / "daemon",
                {"1000": trees.two_levels(root="long.wav")},
                sounds=trees.SOUNDS,
                settings={"rtp": {"ports": "40000-47999"}},  # closed ports rest for 5 s
            )
        )
        sipp(daemon.sip_port, 100, given.rate, folder)  # everything imported, every cache warm
        worker = next(pid for pid in daemon.workers())
        pids = {"control process": daemon.pid, "media worker": worker}
        begun = {what: cpu(pid) for what, pid in pids.items()}
        seconds = sipp(daemon.sip_port, given.calls, given.rate, folder)
        spent = {what: 1000 * (cpu(pid) - begun[what]) / given.calls for what, pid in pids.items()}
        print(f"{given.calls} calls at {given.rate:g} a second, 0.2 s each, in {seconds:.1f} s: none failed")
        print(f"bare responder   {bare:6.2f} ms of CPU per call")
        for what, each in spent.items():
            print(f"{what:<16} {each:6.2f} ms of CPU per call, {each / max(bare, 0.001):5.1f} times the bare responder")
        print(f"worker: {command_line(worker).split('--ports')[0].strip()}")


if __name__ == "__main__":
    main()
