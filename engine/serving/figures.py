"""What whoever runs the daemon sees of it: health for ``/healthz``, figures for ``/metrics``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.serving.daemon import Daemon


class Figures:
    """Read from the parts of a daemon when asked: nothing is counted twice, nothing on the way of a call."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def health(self) -> dict[str, Any]:
        """For ``/healthz``."""
        daemon = self._daemon
        workers = sum(worker.ready.is_set() for worker in daemon.pool.workers)
        whole = workers == len(daemon.pool.workers) and not daemon.journal.backlog
        status = "draining" if daemon.switch.draining else "ok" if whole else "degraded"
        p50, p99, worst = daemon.lags.percentiles()
        return {
            "status": status,
            "calls": len(daemon.switch.calls),
            "loop_lag_ms": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(worst, 2)},
            "workers": workers,
            "journal_backlog": daemon.journal.backlog,
            "import_conflicts": len(daemon.directory.conflicts),
            **daemon.callbacks.health(),
        }

    def gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what goes up and down."""
        daemon = self._daemon
        yield "ivrea_calls", "Calls on this process now.", {}, len(daemon.switch.calls)
        yield "ivrea_tasks", "Tasks on the control process's loop now.", {}, len(asyncio.all_tasks())
        for what, number in daemon.transport.endpoint.held().items():
            yield "ivrea_sip_held", "What the SIP core remembers now.", {"what": what}, number
        conflicts = len(daemon.directory.conflicts)
        yield "ivrea_import_conflicts", "Rows of the configuration file that are not served.", {}, conflicts
        yield "ivrea_journal_backlog", "Records that the disk has not taken.", {}, daemon.journal.backlog
        for quantile, value in _quantiles(*daemon.lags.percentiles()):
            yield (
                "ivrea_loop_lag_ms",
                "Lateness of the control process's loop over the last minute; quantile 1 is the worst.",
                {"quantile": quantile},
                value,
            )
        yield "ivrea_prompts_bytes", "Rendered prompts on disk, as last looked at.", {}, daemon.trimmer.octets
        yield "ivrea_http_connections", "Connections to the web server now.", {}, daemon.web.connections
        used, down = daemon.switch.channels.used, daemon.probes.down
        for each in daemon.directory.trunks:
            yield "ivrea_trunk_channels", "Calls on the trunk now.", {"trunk": each.label}, used.get(each.label, 0)
            if each.config.probe:
                up = float(each.label not in down)
                yield "ivrea_trunk_up", "1 when the trunk answers OPTIONS.", {"trunk": each.label}, up
        for worker in daemon.pool.workers:
            labels = {"worker": worker.name}
            yield "ivrea_media_worker_up", "1 when the worker is ready.", labels, float(worker.ready.is_set())
            if worker.load is not None:
                load = worker.load
                yield "ivrea_media_streams", "Streams open.", labels, load.streams
                yield "ivrea_media_busy", "Share of a core that the worker used in the last second.", labels, load.busy
                for quantile, value in _quantiles(load.late_ms_p50, load.late_ms_p99, load.late_ms_max):
                    yield (
                        "ivrea_media_lateness_ms",
                        "Lateness of the tick over the last second; quantile 1 is the worst.",
                        {**labels, "quantile": quantile},
                        value,
                    )
        yield from daemon.callbacks.gauges()

    def counts(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """For ``/metrics``: what only grows."""
        daemon = self._daemon
        counters = daemon.switch.counters
        yield "ivrea_calls_offered", "INVITEs that reached the switch.", {}, counters.offered
        for why, number in counters.refused.items():
            yield "ivrea_calls_refused", "Calls refused, by reason.", {"reason": why}, number
        for why, number in daemon.web.refused.items():
            about = "Connections that the web server did not take or had no more patience with, by reason."
            yield "ivrea_http_refused", about, {"reason": why}, number
        for by, number in counters.ended.items():
            yield "ivrea_calls_ended", "Calls ended, by whom.", {"by": by}, number
        for name, number in daemon.transport.counts():
            yield "ivrea_sip", "SIP traffic.", {"what": name}, number
        for worker in daemon.pool.workers:
            labels = {"worker": worker.name}
            yield "ivrea_media_worker_restarts", "Times that the worker died.", labels, worker.restarts
            if worker.load is not None:
                yield "ivrea_media_kernel_drops", "Packets dropped by the kernel.", labels, worker.load.kernel_drops
                yield "ivrea_media_ring_drops", "Recording blocks lost.", labels, worker.load.ring_drops
                yield "ivrea_words_not_heard", "Utterances nobody had time for.", labels, worker.load.not_listening
        for number, process in enumerate(daemon.recognisers.processes):
            labels = {"recogniser": str(number)}
            yield "ivrea_recogniser_restarts", "Times that the recogniser died.", labels, process.restarts
            for outcome, count in process.outcomes():
                what = {**labels, "outcome": outcome}
                yield "ivrea_utterances", "Utterances that came to the recogniser.", what, count
        yield from daemon.callbacks.counts()

    def histograms(self) -> Iterable[tuple[str, str, list[tuple[str, float]], float]]:
        """For ``/metrics``: how ended calls sounded."""
        daemon = self._daemon
        return daemon.switch.counters.quality.samples()


def _quantiles(median: float, high: float, worst: float) -> tuple[tuple[str, float], ...]:
    """Values with the labels that Prometheus gives to quantiles."""
    return ("0.5", median), ("0.99", high), ("1", worst)
