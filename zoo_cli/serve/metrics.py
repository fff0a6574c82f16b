"""What `/metrics` shows, in Prometheus' text format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable with the folder in which several worker processes keep their numbers; each has its own files."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
_SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75)


class Metrics:
    """All numbers of one process.

    Attributes:
        requests: HTTP requests by endpoint, model and status.
        refused: requests that were not answered, by reason.
        seconds: HTTP latency by endpoint.
        stage: time of an input in each stage: prepare (tokenise), queue, compute, finish (postprocess).
        batch_rows: sequences in a batch.
        batch_padding: share of padding in a batch.
        tokens: tokens computed, by kind (text or padding).
        queue_items: inputs in work.
        queue_tokens: tokens waiting for the model.
        restarts: compute workers that failed and were started again.
        cache: lookups in the answer cache, by result.
        ready: 1 while the model answers.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        shared = SHARED_FOLDER in os.environ

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"zoo_{name}", text, labels, registry=self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"zoo_{name}", text, labels, registry=self.registry, multiprocess_mode="livesum")

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"zoo_{name}", text, labels, registry=self.registry, buckets=buckets)

        self.requests = counter("requests", "HTTP requests.", "endpoint", "model", "status")
        self.refused = counter("refused", "Requests that were not answered.", "reason")
        self.seconds = histogram("request_seconds", "Latency of HTTP requests.", _SECONDS, "endpoint")
        self.stage = histogram("stage_seconds", "Time of an input in a stage.", _SECONDS, "model", "stage")
        self.batch_rows = histogram("batch_rows", "Sequences in a batch.", _ROWS, "model")
        self.batch_padding = histogram("batch_padding_ratio", "Share of padding in a batch.", _SHARES, "model")
        self.tokens = counter("tokens", "Tokens computed.", "model", "kind")
        self.queue_items = gauge("queue_items", "Inputs in work.", "model")
        self.queue_tokens = gauge("queue_tokens", "Tokens waiting for the model.", "model")
        self.restarts = counter("worker_restarts", "Compute workers that failed and were started again.", "model")
        self.cache = counter("cache_lookups", "Lookups in the answer cache.", "model", "result")
        self.ready = gauge("model_ready", "Processes in which the model answers.", "model")
        self._shared: Callable[[], CollectorRegistry] | None = None
        if shared:
            self._shared = _shared_registry
        else:
            PlatformCollector(registry=self.registry)
            ProcessCollector(registry=self.registry)

    def page(self) -> bytes:
        """All numbers as text; of all worker processes where there are several."""
        return generate_latest(self._shared() if self._shared else self.registry)


def _shared_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry


class ModelMetrics:
    """The numbers of one model; the same names as in `Metrics`."""

    def __init__(self, metrics: Metrics, model: str) -> None:
        self.stages = {name: metrics.stage.labels(model, name) for name in ("prepare", "queue", "compute", "finish")}
        self.batch_rows = metrics.batch_rows.labels(model)
        self.batch_padding = metrics.batch_padding.labels(model)
        self.text_tokens = metrics.tokens.labels(model, "text")
        self.padding_tokens = metrics.tokens.labels(model, "padding")
        self.queue_items = metrics.queue_items.labels(model)
        self.queue_tokens = metrics.queue_tokens.labels(model)
        self.restarts = metrics.restarts.labels(model)
        self.cache_hits = metrics.cache.labels(model, "hit")
        self.cache_misses = metrics.cache.labels(model, "miss")
        self.ready = metrics.ready.labels(model)

    def count_batch(self, lengths: Sequence[int]) -> None:
        """Count what the model read at once: sequences of so many tokens, padded to the longest."""
        tokens, padded = sum(lengths), len(lengths) * max(lengths)
        self.batch_rows.observe(len(lengths))
        self.batch_padding.observe(1 - tokens / padded)
        self.text_tokens.inc(tokens)
        self.padding_tokens.inc(padded - tokens)
