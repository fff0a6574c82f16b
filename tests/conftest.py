"""What holds for all tests: English messages, one thread, settings of each test's own, no example timed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from zoo_cli.base.locks import exclusive

Shared = Callable[[str, Callable[[Path], object]], Path]

os.environ["ZOO_LANG"] = "en"
# As many workers as cores: more threads would only wait for each other, in each of the many small products.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Two workers on two cores: how long an example takes says nothing.
settings.register_profile("zoo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zoo")


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Settings that a command makes for its process, as `--offline` does, end with the test that ran it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("ZOO_")}
    yield
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Name of a folder, and what fills it -> the folder; the worker that comes first fills it, all workers read it."""
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if hasattr(request.config, "workerinput") else base) / "shared"

    def make(name: str, fill: Callable[[Path], object]) -> Path:
        folder, made = root / name, root / f"{name}.made"
        with exclusive(root / f"{name}.lock"):
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that was killed
                folder.mkdir(parents=True)
                fill(folder)
                made.touch()
        return folder

    return make
