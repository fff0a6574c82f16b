"""Which models a process has, and whether it should get requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from zoo_cli.base.errors import ArtifactError
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve.hosting import Host
from zoo_cli.serve.metrics import Metrics, ModelMetrics
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.served import ServedModel

SECRET = "a text of a client"


class FakeModel:
    """A model that starts, or fails to."""

    def __init__(self, name: str, fault: Exception | None = None) -> None:
        self.name = name
        self.version = "1"
        self.items = 0
        self.fault = fault
        self.metrics = ModelMetrics(Metrics(), name)
        self.closed = False

    def start(self) -> None:
        if self.fault:
            raise self.fault

    async def check(self) -> None:
        """Nothing to ask."""

    def close(self) -> None:
        self.closed = True


def test_what_cannot_be_started_keeps_the_process_unready_until_it_is_replaced_or_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ArtifactError("golden-mismatch", "one of the golden requests is answered differently")
    models: Any = [FakeModel("a", RuntimeError(SECRET)), FakeModel("b"), FakeModel("c", broken)]
    monkeypatch.setattr(ServedModel, "open", lambda name, *rest: FakeModel(name))

    async def run() -> None:
        host = Host(ServeSection(), Metrics())
        await host.start(models)
        assert list(host.models) == ["b"] and {name: each.code for name, each in host.failures.items()} == {
            "a": "fault",
            "c": "golden-mismatch",
        }
        assert models[0].closed and models[2].closed and not models[1].closed
        section: Any = None
        await host.load("d", section)
        assert host.unready is not None and "'a'" in host.unready  # another model does not make up for it
        await host.load("a", section)
        assert host.unready is not None and "golden" in host.unready
        await host.unload("c")
        assert host.unready is None and list(host.models) == ["b", "d", "a"]
        with pytest.raises(Refusal) as raised:
            await host.unload("c")
        assert raised.value.code == "unknown-model"
        await host.close()

    asyncio.run(run())
    assert "RuntimeError" in caplog.text and SECRET not in caplog.text
