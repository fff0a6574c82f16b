"""Mixed load with rubbish in it and a worker killed: `benchmarks/soak.py`, for a few seconds.

`ZOO_SOAK=60` runs it for so many seconds instead, long enough to hold memory to two hundredths.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.serve.live import ROOT

SECONDS = float(os.environ.get("ZOO_SOAK", "0"))


def test_no_wrong_answer_and_flat_memory(bundles: dict[str, Path]) -> None:
    growth = "0.02" if SECONDS else "0.25"
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py")]
    for name in ("uie", "multi"):
        command += ["--bundle", str(bundles[name])]
    command += ["--minutes", str((SECONDS or 6) / 60), "--growth", growth, "--kills", "1", "--clients", "4"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=SECONDS + 600)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert (done.returncode, report["failed"], report["wrong"]) == (0, [], [])
    assert report["counts"]["answered"] > 20 and report["exit_code"] == 0
    assert len(report["seconds_until_replaced"]) == 1
