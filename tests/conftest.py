"""What holds for all tests: messages are English, settings are each test's own, and no example is timed."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

os.environ["ZOO_LANG"] = "en"

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
