"""Every task, mixed, shuffled and concurrent: the server answers as `zoo predict` does (`benchmarks/agreement.py`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.serve.bundles import KINDS, make_bundle
from tests.serve.live import ROOT
from tests.serve.writers import VOCABULARIES, make_writer
from zoo_cli import registry

REQUESTS = 264


def test_all_tasks_are_answered_as_by_predict(tmp_path: Path) -> None:
    folders = [make_bundle(tmp_path / task, task) for task in KINDS]
    folders += [make_writer(tmp_path / task, task) for task in VOCABULARIES]
    folders.append(make_bundle(tmp_path / "multi", "sequence_classification", kind="multi_label", max_length=32))
    folders.append(make_bundle(tmp_path / "ranks", "sequence_classification", kind="regression", labels=None))
    command = [sys.executable, str(ROOT / "benchmarks" / "agreement.py"), *map(str, folders)]
    command += ["--requests", str(REQUESTS), "--clients", "24", "--tolerance", "1e-5"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["requests"] == REQUESTS and report["different"] == 0
    assert set(report["tasks"]) == set(registry.TASKS)  # a new task needs a model here and requests in the script
    assert report["rows_in_a_batch"] > 1  # batches were shared
    assert all(counts["numbers"] > 0 for counts in report["tasks"].values())
    assert all(counts["requests"] >= REQUESTS // len(folders) for counts in report["tasks"].values())
