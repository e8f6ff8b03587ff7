"""What whoever runs the daemon asks it: ``/healthz`` and ``/metrics``."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.api.answers import Responses, told


class Observed(Protocol):
    """What the daemon lets itself be asked."""

    def health(self) -> dict[str, Any]:
        """``{"status": "ok" | "draining" | "degraded", …}``."""

    def gauges(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """Name, help, labels, value of what goes up and down."""

    def counts(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """Name, help, labels, value of what only grows."""

    def histograms(self) -> Iterable[tuple[str, str, list[tuple[str, float]], float]]:
        """Name, help, (upper bound, count up to it), sum of what is distributed."""


def make_app(daemon: Observed) -> FastAPI:
    """The web application with the operator's endpoints."""
    app = FastAPI(
        title="Ivrea",
        version=importlib.metadata.version("ivrea"),
        openapi_url="/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    registry = CollectorRegistry()
    registry.register(_DaemonCollector(daemon))

    @app.get("/healthz", tags=["Operation"], summary="Whether the daemon is well", responses=_HEALTH)
    async def healthz() -> JSONResponse:
        health = daemon.health()
        return JSONResponse(health, status_code=200 if health["status"] == "ok" else 503)

    @app.get("/metrics", tags=["Operation"], summary="Figures for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


_STATE: dict[str, Any] = {
    "type": "object",
    "required": ["status", "calls"],
    "properties": {"status": {"enum": ["ok", "draining", "degraded"]}, "calls": {"type": "integer"}},
}
_HEALTH: Responses = {
    200: told(_STATE, "It is."), 503: told(_STATE, "It takes no more calls, or lacks something.")
}  # fmt: skip


class _DaemonCollector(Collector):
    """Reads the daemon's own counters when asked: nothing is counted twice, nothing on the way of a call."""

    def __init__(self, daemon: Observed) -> None:
        self._daemon = daemon

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from _families(GaugeMetricFamily, self._daemon.gauges())
        yield from _families(CounterMetricFamily, self._daemon.counts())
        for name, text, buckets, total in self._daemon.histograms():
            yield HistogramMetricFamily(name, text, buckets=buckets, sum_value=total)


def _families(kind: Any, samples: Iterable[tuple[str, str, dict[str, str], float]]) -> Iterator[Metric]:
    families: dict[str, Any] = {}
    for name, text, labels, value in samples:
        family = families.setdefault(name, kind(name, text, labels=list(labels)))
        family.add_metric(list(labels.values()), value)
    yield from families.values()
