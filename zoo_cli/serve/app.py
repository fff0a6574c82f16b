"""The web application."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from zoo_cli import __version__, registry
from zoo_cli.base.errors import ZooError
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve import management, native, open_inference, openai_embeddings, openai_style, page, simple
from zoo_cli.serve.documents import OpenInferenceRefused, Refused, refusals
from zoo_cli.serve.exchange import ClientGone, gone_response, invalid_body, refusal_response
from zoo_cli.serve.hosting import Host
from zoo_cli.serve.metrics import Metrics
from zoo_cli.serve.middleware import Guarded, Keys, Observed
from zoo_cli.serve.refusals import Refusal, refusal_of
from zoo_cli.serve.served import ServedModel

_CODES = {400: "broken-json", 404: "not-found", 405: "method-not-allowed"}


class Zoo(FastAPI):
    """The endpoints; the documentation shows those of the tasks that are loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._documents: dict[frozenset[str], dict[str, Any]] = {}

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, which is made once for the tasks that are loaded."""
        loaded = frozenset(model.task.name for model in self.state.host.models.values())
        if loaded not in self._documents:
            self._documents[loaded] = self._document(loaded)
        return self._documents[loaded]

    def _document(self, loaded: frozenset[str]) -> dict[str, Any]:
        document = get_openapi(
            title="zoo", version=__version__, routes=self.routes, description="Answers of the loaded models."
        )
        tasks = {f"/v1/{name}": (name,) for name in registry.TASKS} | openai_style.TASKS
        tasks[openai_embeddings.PATH] = (openai_embeddings.TASK,)
        for path, names in tasks.items():
            if not loaded.intersection(names):
                document["paths"].pop(path, None)
        return document


def create_app(
    settings: ServeSection,
    models: list[ServedModel],
    metrics: Metrics,
    ready_first: bool = False,
    models_started: Callable[[], None] = lambda: None,
) -> tuple[ASGIApp, Host]:
    """The application for open models, which it starts by itself.

    Args:
        settings: of the server.
        models: open, not started.
        metrics: of the process.
        ready_first: start the models before the first request is accepted.
        models_started: called when each model is ready or has failed.

    Raises:
        UsageError: a file of keys cannot be read.
    """
    host = Host(settings, metrics, models_started)
    keys = Keys(settings.api_keys) if settings.api_keys else None
    admin = Keys(settings.admin_keys) if settings.admin_keys else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if ready_first:
            await host.start(models)
        else:
            host.begin(models)
        yield
        await host.close()

    app = Zoo(lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.host = host
    ours, protocols = refusals(Refused), refusals(OpenInferenceRefused)
    for part in (native, openai_style, openai_embeddings, management, open_inference, page, simple):
        app.include_router(part.router(), responses=protocols if part is open_inference else ours)
    app.add_exception_handler(ZooError, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientGone, _gone)
    return Observed(Guarded(app, host, keys, admin), metrics, settings.access_log), host


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, ZooError)
    return refusal_response(refusal_of(error), request.scope)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    details = [{**detail, "loc": detail["loc"][1:]} for detail in error.errors()]
    return refusal_response(invalid_body(details), request.scope)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "bad-request")
    response = refusal_response(Refusal(code, "{reason}", reason=str(error.detail)), request.scope)
    response.headers.update(error.headers or {})  # the methods that there are, with 405
    return response


async def _gone(request: Request, error: Exception) -> Response:
    return gone_response()
