"""One server for all tests that do not stop or overload theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serve.bundles import make_bundle
from tests.serve.live import Live, serving

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Fast bundles by name, and `slow`, which takes a tenth of a second for thirty tokens."""
    folder = tmp_path_factory.mktemp("bundles")
    schema = ["人物", "地点"]
    return {
        "uie": make_bundle(folder / "uie", "extraction", schema=schema, max_length=64, overlap=16),
        "single": make_bundle(folder / "single", "sequence_classification", max_length=32),
        "multi": make_bundle(folder / "multi", "sequence_classification", kind="multi_label", max_length=32),
        "slow": make_bundle(folder / "slow", "sequence_classification", layers=1000, max_length=64),
    }


@pytest.fixture(scope="session")
def server(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with the fast bundles."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "admin").write_text("# who may load models\nroot-key\n")
    names = [str(bundles[name]) for name in ("uie", "single", "multi")]
    with serving(folder, *names, "serve.admin_keys=admin", "serve.body_timeout=2", "serve.header_timeout=2") as live:
        yield live
