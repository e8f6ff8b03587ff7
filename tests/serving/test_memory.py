"""Threads that come and go leave no heaps behind, on glibc."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from pathlib import Path
from engine.serving.memory import share_heap

if sys.argv[1] == "shared":
    share_heap()
kept, barrier = [], threading.Barrier(6)


def work():
    barrier.wait()
    kept.append([bytes(5000) for _ in range(200)])
    barrier.wait()


threads = [threading.Thread(target=work) for _ in range(6)]
for each in threads:
    each.start()
for each in threads:
    each.join()
heaps = 0
for line in Path("/proc/self/maps").read_text().splitlines():
    words = line.split()
    begin, end = (int(part, 16) for part in words[0].split("-"))
    heaps += len(words) == 5 and begin % (64 << 20) == 0 and end - begin < 64 << 20 and words[1] == "rw-p"
print(heaps)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc, whose heaps these are")
def test_threads_share_one_heap() -> None:
    def heaps(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert heaps("apart") > 1
    assert heaps("shared") == 0
