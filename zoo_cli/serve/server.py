"""One server process, from the socket to the last answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from zoo_cli.base.errors import GateError, Location, PlatformError, UsageError
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve.app import create_app
from zoo_cli.serve.hosting import Host
from zoo_cli.serve.metrics import Metrics
from zoo_cli.serve.protocol import timed
from zoo_cli.serve.served import ServedModel

_log = logging.getLogger(__name__)
SWITCH_INTERVAL = 0.001
"""Seconds that a thread may keep the interpreter; Python's 5 ms would be added to each hand-over between threads."""


class Server(uvicorn.Server):
    """uvicorn with a drain: after a stop signal it is unready, finishes what it has, and exits with 0.

    Args:
        config: uvicorn's settings.
        host: the models.
    """

    def __init__(self, config: uvicorn.Config, host: Host) -> None:
        super().__init__(config)
        self.host = host
        self._drain: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle the stop signals while the server runs, without raising them again afterwards as uvicorn does."""
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal stops at once."""
        if self._drain is None:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._begin_drain)
        else:
            self.should_exit = self.force_exit = True

    def _begin_drain(self) -> None:
        if self._drain is None:
            self._drain = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        settings = self.host.settings
        _log.info("stopping: %d inputs in work", self.host.items)
        self.host.stopping = True  # unready, while load balancers still send
        await asyncio.sleep(settings.drain_delay)
        self.host.draining = True  # refuses what is new
        end = time.monotonic() + settings.drain_timeout
        while self.host.items and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if self.host.items:
            _log.warning("%d inputs were not answered in time", self.host.items)
        self.should_exit = True


def open_models(settings: ServeSection, metrics: Metrics) -> list[ServedModel]:
    """Open all bundles of the settings.

    Raises:
        UsageError: there are none (`no-bundle`).
        ZooError: one cannot be read.
    """
    if not settings.models:
        raise UsageError("no-bundle", "there is no bundle to serve", fix="name one, or a recipe with --recipe")
    return [ServedModel.open(name, section, settings, metrics) for name, section in settings.models.items()]


def check(settings: ServeSection) -> list[dict[str, Any]]:
    """Load the models and answer their golden requests, without listening.

    Returns:
        Name, version, task and number of golden requests of each model.

    Raises:
        GateError: a model answers differently (`golden-mismatch`).
        MemoryLimitError: a model does not fit.
    """
    metrics = Metrics()
    models = open_models(settings, metrics)

    async def run() -> list[dict[str, Any]]:
        host = Host(settings, metrics)
        await host.start(models)
        await host.close()
        for failure in host.failures.values():
            if failure.code == "golden-mismatch":
                raise GateError(failure.code, "{reason}", at=failure.at, fix=failure.fix, reason=failure.message)
            raise failure
        return [
            {"model": model.name, "version": model.version, "task": model.task.name, "golden": len(model.golden)}
            for model in models
        ]

    return asyncio.run(run())


def bind(settings: ServeSection) -> socket.socket:
    """The listening socket.

    Raises:
        PlatformError: the address is taken or not this machine's (`cannot-listen`).
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # With its protocol, or asyncio does not know that connections are TCP and leaves Nagle's algorithm on: an answer is
    # written in two parts, of which the second would wait for the client's acknowledgement, which comes after 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as error:
        listening.close()
        raise PlatformError(
            "cannot-listen",
            "cannot listen on {host}:{port}: {reason}",
            fix="choose another with --host and --port",
            host=settings.host,
            port=settings.port,
            reason=error.strerror or str(error),
        ) from error
    listening.listen(2048)
    return listening


def serve(
    settings: ServeSection,
    listening: socket.socket,
    started: Callable[[], None] = lambda: None,
    ready_first: bool = False,
    models_started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a stop signal.

    Args:
        settings: with the models.
        listening: from `bind`.
        started: called when all files are read; the models are not ready yet.
        ready_first: accept nothing before the models are ready, since another process does.
        models_started: called when each model is ready or has failed.

    Raises:
        ZooError: a bundle or a file of keys cannot be read.
    """
    _log_to_stderr()
    metrics = Metrics()
    application, host = create_app(settings, open_models(settings, metrics), metrics, ready_first, models_started)
    _check_certificate(settings)
    sys.setswitchinterval(SWITCH_INTERVAL)
    config = uvicorn.Config(
        application,
        http=timed(settings),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive,
        timeout_graceful_shutdown=5,
        limit_concurrency=settings.connections,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    config.load()
    started()
    Server(config, host).run(sockets=[listening])


def _check_certificate(settings: ServeSection) -> None:
    """Refuse files of TLS that cannot be used.

    Raises:
        UsageError: a file is missing (`unreadable-file`), or they are no certificate with its key (`bad-certificate`).
    """
    for path in filter(None, (settings.tls_certificate, settings.tls_key)):
        if not Path(path).is_file():
            raise UsageError("unreadable-file", "there is no such file", at=Location.of(path))
    if settings.tls_certificate is None and settings.tls_key is None:
        return
    try:
        if settings.tls_certificate is None:
            raise ssl.SSLError(0, "serve.tls_certificate is not set")
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        place = Location.of(settings.tls_certificate or settings.tls_key or "")
        raise UsageError(
            "bad-certificate", "these are no certificate and its key: {reason}", at=place, reason=str(error)
        ) from error


def address(settings: ServeSection, listening: socket.socket) -> str:
    """What to type into a browser."""
    scheme = "https" if settings.tls_certificate else "http"
    host, port = listening.getsockname()[:2]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _log_to_stderr() -> None:
    """One JSON object a line for requests, plain lines for the rest."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    access = logging.getLogger("zoo.access")
    access.handlers, access.propagate = [handler], False
    access.setLevel(logging.INFO)
    logging.getLogger("zoo_cli.serve").setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
