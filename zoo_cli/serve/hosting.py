"""The models of one process: loading, switching and unloading them while requests go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from zoo_cli.base.errors import ZooError
from zoo_cli.recipe.schema import ServedModel as ServedModelSection
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve.metrics import Metrics
from zoo_cli.serve.refusals import Refusal, report
from zoo_cli.serve.served import ServedModel

_log = logging.getLogger(__name__)
DEFAULT_ROUTES = {
    "extraction": ("uie", "taskflow/uie", "taskflow/information_extraction"),
    "closed_extraction": ("uie", "taskflow/uie", "taskflow/information_extraction"),
    "sequence_classification": ("models/cls_multi_class", "models/cls_multi_label", "models/ernie_cls"),
    "token_classification": ("models/ernie_ner",),
}
"""Names in PaddleNLP's own examples of SimpleServing; the first model of a task answers to them."""


class Host:
    """The models by name; all methods belong to the event loop.

    Args:
        settings: of the server.
        metrics: of the process.
        started: called when each model of `start` is ready or has failed.
    """

    def __init__(self, settings: ServeSection, metrics: Metrics, started: Callable[[], None] = lambda: None) -> None:
        self.settings = settings
        self.metrics = metrics
        self._started = started
        self.models: dict[str, ServedModel] = {}
        self.pending: list[ServedModel] = []
        self.stopping = False
        self.draining = False
        self.failures: dict[str, ZooError] = {}  # by the name of the model
        self._loading = asyncio.Lock()
        self._background: set[asyncio.Task[None]] = set()

    # -- state ------------------------------------------------------------------------------------------------------

    @property
    def unready(self) -> str | None:
        """Why the process should get no requests, or None if it should."""
        if self.stopping:
            return "stopping"
        if self.failures:
            return str(next(iter(self.failures.values())))
        if self.pending:
            return "loading " + ", ".join(model.name for model in self.pending)
        return None if self.models else "no model is loaded"

    @property
    def items(self) -> int:
        """Inputs in work, of all models."""
        return sum(model.items for model in self.models.values())

    def find(self, name: str | None = None, *tasks: str) -> ServedModel:
        """The model of a name, or the one that was loaded first, for one of these tasks or for any.

        Raises:
            Refusal: there is none (`unknown-model`), or it is not ready yet (`not-ready`).
        """
        for model in self.models.values():
            if (name is None or model.name == name) and (not tasks or model.task.name in tasks):
                return model
        if any(name in (None, model.name) for model in self.pending):
            raise Refusal("not-ready", "the model is not ready yet", retry_after=1)
        if name is not None:
            raise Refusal("unknown-model", "there is no model {name!r} for this task", field="model", name=name)
        raise Refusal("unknown-model", "no model is loaded for this task")

    def find_route(self, route: str) -> ServedModel:
        """The model that answers to a route of SimpleServing: its own routes, its name, or a usual name for its task.

        Raises:
            Refusal: there is none (`not-found`).
        """
        route = route.strip("/")
        for model in self.models.values():
            if route in model.routes or route == model.name:
                return model
        for model in self.models.values():
            if route in DEFAULT_ROUTES.get(model.task.name, ()):
                return model
        if self.pending:
            raise Refusal("not-ready", "the models are not ready yet", retry_after=1)
        raise Refusal("not-found", "there is nothing at this address")

    def routes_of(self, model: ServedModel) -> list[str]:
        """All routes of SimpleServing that lead to a model."""
        names = [*model.routes, model.name, *DEFAULT_ROUTES.get(model.task.name, ())]
        return [route for route in dict.fromkeys(names) if self.find_route(route) is model]

    # -- loading ----------------------------------------------------------------------------------------------------

    def begin(self, models: list[ServedModel]) -> None:
        """Start open models in the background; `unready` says when that is done."""
        self.pending += models
        self._keep(self.start(models))

    async def start(self, models: list[ServedModel]) -> None:
        """Warm up and check models that are open; what fails keeps the process from being ready."""
        self.pending += [model for model in models if model not in self.pending]
        for model in models:
            try:
                await self._bring_up(model)
            except ZooError as error:
                self.failures[model.name] = error
                _log.error("model %s is not served: %s", model.name, error)
            else:
                self.models[model.name] = model
                _log.info("model %s (version %s) is ready", model.name, model.version)
            finally:
                self.pending.remove(model)
        self._started()

    async def load(self, name: str, section: ServedModelSection) -> ServedModel:
        """Load a model, or a new version of one; requests go to the old version until the new one has proven itself.

        Raises:
            ZooError: the bundle cannot be read or answers its golden requests differently; the old version stays.
        """
        async with self._loading:
            model = await asyncio.to_thread(ServedModel.open, name, section, self.settings, self.metrics)
            await self._bring_up(model)
            old = self.models.get(name)
            self.models[name] = model
            self.failures.pop(name, None)
            if old:
                self._retire(old)
            return model

    async def unload(self, name: str) -> None:
        """Stop serving a model, or waiting for one that could not be started; requests in work are finished.

        Raises:
            Refusal: there is none (`unknown-model`).
        """
        async with self._loading:
            if self.failures.pop(name, None) and name not in self.models:
                return
            model = self.find(name)
            del self.models[name]
            model.metrics.ready.set(0)
            self._retire(model)

    async def _bring_up(self, model: ServedModel) -> None:
        try:
            await asyncio.to_thread(model.start)
            await model.check()
        except Exception as error:
            await asyncio.to_thread(model.close)
            if isinstance(error, ZooError):
                raise
            report(_log, error, "a model could not be started")
            raise Refusal("fault", "the model {name!r} could not be started", name=model.name) from error

    def _retire(self, model: ServedModel) -> None:
        async def finish() -> None:
            while model.items:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(model.close)

        self._keep(finish())

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background; the event loop itself does not hold on to it."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def close(self) -> None:
        """End all threads, after what is in work."""
        await asyncio.gather(*self._background)
        for model in self.models.values():
            await asyncio.to_thread(model.close)

    def describe(self) -> list[dict[str, Any]]:
        """The models, for clients."""
        return [
            {
                "id": model.name,
                "object": "model",
                "task": model.task.name,
                "version": model.version,
                "backend": model.bundle.engine,
                "precision": model.bundle.precision,
                "endpoint": f"/v1/{model.task.name}",
                "simple_serving": [f"/{route}" for route in self.routes_of(model)],
                "options": model.task.options.model_dump(mode="json"),
                "limits": model.limits.model_dump(),
            }
            for model in self.models.values()
        ]
