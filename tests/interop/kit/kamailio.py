"""Kamailio as a proxy in front of the daemon: it record-routes, over UDP, and over TLS towards the daemon if wanted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from kit.daemon import Daemon, poll
from pki import Pair

MODULES = Path("/usr/lib/x86_64-linux-gnu/kamailio/modules"), Path("/usr/lib/kamailio/modules")
CONFIG = """#!KAMAILIO
debug=1
log_stderror=yes
fork=yes
children=2
tcp_children=2
{listen}
mpath="{modules}"
loadmodule "tm.so"
loadmodule "tmx.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "maxfwd.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
{tls}
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (is_method("CANCEL")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
    if (has_totag()) {{
        if (loose_route()) {{
            xlog("L_ERR", "followed the route: $rm from $si:$sp over $proto to $ru\\n");
            t_relay();
            exit;
        }}
        if (is_method("ACK")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}
        sl_send_reply("404", "No Route In The Dialog");
        exit;
    }}
{edge}
    remove_hf("Route");
    if (is_method("INVITE")) {{ record_route(); }}
    $du = "{inward}";
    if ({from_daemon}) {{ $du = "{outward}"; }}
    xlog("L_ERR", "passed on: $rm from $si:$sp over $proto to $du\\n");
    t_relay();
}}
"""
EDGE = """    if (is_method("REGISTER")) {{ add_path(); $du = "{inward}"; t_relay(); exit; }}
    if ({from_daemon} && is_present_hf("Route")) {{
        loose_route();  # false outside of dialogs where no other Route is left, and done all the same
        if (is_method("INVITE")) {{ record_route(); }}
        xlog("L_ERR", "followed the path: $rm to $ru\\n");
        t_relay();
        exit;
    }}
"""
TLS = """loadmodule "tls.so"
modparam("tls", "tls_method", "TLSv1.2+")
modparam("tls", "private_key", "{key}")
modparam("tls", "certificate", "{cert}")
modparam("tls", "ca_list", "{authority}")
modparam("tls", "verify_certificate", 1)
modparam("tls", "require_certificate", 1)
"""


def module_folder() -> Path | None:
    """Where its modules are."""
    return next((folder for folder in MODULES if folder.is_dir()), None)


def lacks_tls() -> str:
    """Why it cannot speak TLS; empty when it can."""
    folder = module_folder()
    there = folder is not None and (folder / "tls.so").exists()
    return "" if there else "Kamailio's TLS module is not installed (Debian's kamailio-tls-modules)"


class Kamailio:
    """One Kamailio on 127.0.0.1: what is asked on UDP at ``port`` it passes on to ``house``, and what ``house`` asks on
    to ``outward``, a SIP URI. With ``tls`` (its certificate, and the file of the authority) it speaks TLS with
    ``house``, at ``tls_port``. At the ``edge`` telephones register through it, and it puts itself into their Path
    (RFC 3327).
    """

    def __init__(
        self,
        folder: Path,
        house: Daemon,
        *,
        port: int,
        outward: str,
        tls_port: int = 0,
        tls: tuple[Pair, Path] | None = None,
        edge: bool = False,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        listen = [f"listen=udp:127.0.0.1:{self.port}"]
        inward, from_daemon, module = f"sip:127.0.0.1:{house.sip_port}", f"$sp == {house.sip_port}", ""
        if tls is not None:
            pair, authority = tls
            listen += ["enable_tls=yes", f"listen=tls:127.0.0.1:{tls_port}"]
            inward, from_daemon = f"sip:127.0.0.1:{house.tls_port};transport=tls", '$proto == "tls"'
            module = TLS.format(key=pair.key, cert=pair.cert, authority=authority)
        config = folder / "kamailio.cfg"
        config.write_text(
            CONFIG.format(
                listen="\n".join(listen),
                modules=f"{module_folder()}/",
                tls=module + ('loadmodule "path.so"' if edge else ""),
                edge=EDGE.format(inward=inward, from_daemon=from_daemon) if edge else "",
                inward=inward,
                outward=outward,
                from_daemon=from_daemon,
            )
        )
        self._log_file = folder / "kamailio.log"
        self._forgotten = 0
        self._log = self._log_file.open("wb")
        program = shutil.which("kamailio") or "kamailio"
        memory = ["-m", "32", "-M", "4"]
        self.process = subprocess.Popen(
            [program, "-f", str(config), "-DD", "-E", *memory, "-w", str(folder), "-Y", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        poll(self._listens, 20, "Kamailio did not listen")

    def _listens(self) -> bool | None:
        if self.process.poll() is not None:
            raise AssertionError(f"Kamailio left with {self.process.returncode}:\n{self.log()}")
        sockets = Path("/proc/net/udp").read_text()
        return f"0100007F:{self.port:04X} " in sockets or None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()
        if kind is not None:
            print(f"--- Kamailio:\n{self.log()[-4000:]}")

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def log(self) -> str:
        return self._log_file.read_text(errors="replace")

    def followed(self) -> list[tuple[str, str]]:
        """Method and transport of the requests within dialogs that it passed on by their Route, in order."""
        found = re.findall(r"followed the route: (\w+) from \S+ over (\w+)", self.log())
        return [(method, transport.lower()) for method, transport in found[self._forgotten :]]

    def forget(self) -> None:
        """Begin anew with :meth:`followed`."""
        self._forgotten += len(self.followed())

    def wait_followed(self, method: str, patience: float = 10.0) -> None:
        """Wait until a request of this method went through."""
        poll(lambda: any(each == method for each, _ in self.followed()) or None, patience, f"no {method} came through")
