"""Probes, metrics, the list of models, and loading and unloading them at run time."""

from __future__ import annotations

import os
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.responses import PlainTextResponse

from zoo_cli.recipe.schema import ServedModel as ServedModelSection
from zoo_cli.serve.exchange import host_of, json_response
from zoo_cli.serve.metrics import SHARED_FOLDER
from zoo_cli.serve.refusals import Refusal


class LoadRequest(ServedModelSection):
    """A model to load: the fields of `serve.models` in a recipe, and its name."""

    name: str = Field(min_length=1, pattern=r"^[\w./-]+$")
    """Name of the model; one of the same name is replaced when the new one has proven itself."""


class Readiness(BaseModel):
    """Whether the process should get requests, or why not."""

    status: str


def _one_process() -> None:
    if SHARED_FOLDER in os.environ:
        raise Refusal(
            "several-workers", "models are loaded at run time in servers of one process only; start the server again"
        )


def router() -> APIRouter:
    """Everything that is not about an input."""
    routes = APIRouter(tags=["server"])

    @routes.get("/livez")
    async def livez() -> dict[str, str]:
        """Whether the process runs; also while it is stopping."""
        return {"status": "alive"}

    @routes.get("/readyz", response_model=Readiness, responses={503: {"model": Readiness}})
    async def readyz(request: Request) -> Response:
        """Whether the process should get requests."""
        reason = host_of(request).unready
        return json_response({"status": "ready" if reason is None else reason}, 200 if reason is None else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        return Response(host_of(request).metrics.page(), media_type="text/plain; version=0.0.4")

    @routes.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        """The models, their versions, options and limits."""
        return {"object": "list", "data": host_of(request).describe()}

    @routes.post("/v1/admin/models")
    async def load(request: Request, body: LoadRequest) -> dict[str, str]:
        """Load a model or a new version of one, and switch to it once it answers its golden requests rightly."""
        _one_process()
        section = ServedModelSection.model_validate(body.model_dump(exclude={"name"}, exclude_unset=True))
        model = await host_of(request).load(body.name, section)
        return {"model": model.name, "version": model.version}

    @routes.delete("/v1/admin/models/{name:path}")
    async def unload(request: Request, name: str) -> dict[str, str]:
        """Stop serving a model; requests in work are finished."""
        _one_process()
        await host_of(request).unload(name)
        return {"model": name}

    return routes
