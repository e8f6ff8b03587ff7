"""How much the daemon takes: media workers and calls, by ports, file descriptors and cores."""

from __future__ import annotations

import contextlib
import os
import resource

from engine.config import Config
from media.commands import MAX_STREAMS

FILES_PER_CALL = 4
"""RTP, RTCP, and room for a recording and a connection."""

FILES_RESERVED = 200


def most_calls(config: Config) -> int:
    """Calls that fit into the port range and the file descriptors, whose limit is raised first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with contextlib.suppress(ValueError, OSError):
            wanted = hard if hard != resource.RLIM_INFINITY else max(soft, 1_048_576)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = config.rtp.port_range
    by_ports = (high + 1 - low) // 2
    by_files = media_workers(config) * max((soft - FILES_RESERVED) // FILES_PER_CALL, 1)
    return max(1, min(by_ports, by_files, media_workers(config) * MAX_STREAMS))


def media_workers(config: Config) -> int:
    """No more workers than there are port pairs."""
    low, high = config.rtp.port_range
    return min(config.rtp.worker_count, max((high + 1 - low - low % 2) // 2, 1))


def may_be_realtime(config: Config) -> bool:
    """Whether real-time workers, however busy, leave a core to this process."""
    return config.rtp.realtime and media_workers(config) < len(os.sched_getaffinity(0))
