"""A minute of mixed load: memory stays flat. Off unless `ZOO_SOAK` names the seconds."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import serving

SECONDS = float(os.environ.get("ZOO_SOAK", "0"))


def resident(process: int) -> int:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


@pytest.mark.skipif(not SECONDS, reason="ZOO_SOAK=60 runs it")
def test_memory_stays_flat(bundles: dict[str, Path], tmp_path: Path) -> None:
    stop = threading.Event()
    statuses: set[int] = set()

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        with httpx.Client(base_url=live.url, timeout=30) as client:
            while not stop.is_set():
                text = "".join(draw.choices(WORDS, k=draw.randint(0, 300)))
                schema = [str(draw.random()) for _ in range(3)]  # prompts that no cache has seen
                kind = draw.random()
                if kind < 0.05:
                    statuses.add(client.post("/v1/extraction", content=b"{", headers=json).status_code)
                elif kind < 0.1:
                    try:
                        client.post("/v1/extraction", json={"text": text, "schema": schema}, timeout=0.005)
                    except httpx.TimeoutException:
                        continue
                else:
                    body = {"text": text, "schema": schema, "position_threshold": 0.9}
                    statuses.add(client.post("/v1/extraction", json=body).status_code)

    json = {"Content-Type": "application/json"}
    with serving(tmp_path, str(bundles["uie"])) as live:
        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS / 3)  # caches and arenas fill
        before = resident(live.process.pid)
        time.sleep(SECONDS * 2 / 3)
        after = resident(live.process.pid)
        stop.set()
        for thread in threads:
            thread.join()
        assert statuses <= {200, 400}
        assert after - before < 30_000_000, f"{before >> 20} MB became {after >> 20} MB"
        assert live.metric("zoo_queue_items") == 0
        assert live.stop() == 0
