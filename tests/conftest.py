"""What holds for all tests: messages are English, whatever the locale of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ["ZOO_LANG"] = "en"


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Settings that a command makes for its process, as `--offline` does, end with the test that ran it."""
    before = {name: value for name, value in os.environ.items() if name.startswith("ZOO_")}
    yield
    for name in [name for name in os.environ if name.startswith("ZOO_")]:
        del os.environ[name]
    os.environ.update(before)
