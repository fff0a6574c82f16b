"""Start, readiness, switching of versions, stop signals, several processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.bundles import WORDS, make_bundle, write_golden
from tests.serve.live import ROOT, Live, serving
from zoo_cli.base.errors import ArtifactError, MemoryLimitError, UsageError, ZooError
from zoo_cli.base.files import sha256_file
from zoo_cli.cli.serve import settings_of
from zoo_cli.runtime.loading import default_name
from zoo_cli.serve.middleware import Keys
from zoo_cli.serve.server import check

PATH = "/v1/sequence_classification"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_cli", "serve", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=60)


# -- golden requests ---------------------------------------------------------------------------------------------------


def test_check_answers_the_golden_requests(bundles: dict[str, Path], tmp_path: Path) -> None:
    done = run(tmp_path, str(bundles["uie"]), str(bundles["single"]), "--check", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)["models"]
    assert [(entry["model"], entry["golden"]) for entry in report] == [("uie", 3), ("single", 3)]
    assert report[0]["version"] == sha256_file(bundles["uie"] / "MANIFEST.json")[:12]


def test_a_mismatch_keeps_it_unready(bundles: dict[str, Path], tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(bundles["single"], wrong)
    write_golden(wrong, [({"text": "a"}, {"label": "正向", "score": 0.123})])
    done = run(tmp_path, str(wrong), "--check")
    assert done.returncode == 6 and "golden" in done.stderr
    with serving(tmp_path, str(wrong), ready=False) as live:
        end = time.monotonic() + 20
        while "golden" not in (text := live.client.get("/readyz").text) and time.monotonic() < end:
            time.sleep(0.05)
        assert "golden" in text and live.client.get("/readyz").status_code == 503
        assert live.client.get("/livez").status_code == 200
        assert live.post(PATH, {"text": "a"}).status_code in (404, 503)
        assert live.stop() == 0


def test_broken_bundles_and_settings_end_with_their_codes(bundles: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundles["single"], broken)
    (broken / "vocab.txt").write_text("[UNK]\n")
    done = run(tmp_path, str(broken), "--port", "0")
    assert done.returncode == 4 and "vocab.txt" in done.stderr
    done = run(tmp_path, str(broken), "--port", "0", "--workers", "2")  # no use in starting them again
    assert done.returncode == 4 and "vocab.txt" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [
        ([], UsageError, "no-bundle"),
        (["nothing"], UsageError, "override-syntax"),
        (["single", "serve.prot=1"], UsageError, "wrong-value"),
        (["single", "serve.port=x"], UsageError, "wrong-value"),
        (["single", "train.epochs=1"], UsageError, "no-recipe"),
        (["single", "serve.precision=int3"], ArtifactError, "no-graph"),
        (["single", "serve.threads=999"], UsageError, "too-many-threads"),
        (["single", "serve.memory_limit=1000"], MemoryLimitError, "memory-limit"),
        (["single", "serve.limits.items=0"], UsageError, "wrong-value"),
    ],
)
def test_settings_that_cannot_be(
    bundles: dict[str, Path], arguments: list[str], error: type[ZooError], code: str
) -> None:
    places = [str(bundles[name]) for name in arguments if name in bundles]
    with pytest.raises(error) as raised:
        check(settings_of(places, [text for text in arguments if text not in bundles], None, None, False))
    assert raised.value.code == code


def test_keys_must_be_readable(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Keys(str(tmp_path / "missing"))
    (tmp_path / "empty").write_text("\n# nothing\n")
    with pytest.raises(UsageError, match="no key"):
        Keys(str(tmp_path / "empty"))


def test_models_are_named_after_their_folders(tmp_path: Path) -> None:
    assert default_name(tmp_path / "uie" / "msra.tiny" / "export" / "bundle") == "msra"
    assert default_name(tmp_path / "mine") == "mine"


# -- without paddle ----------------------------------------------------------------------------------------------------


def test_serving_imports_neither_paddle_nor_training_code(bundles: dict[str, Path], tmp_path: Path) -> None:
    code = """
import sys
from zoo_cli.recipe.schema import ServedModel, ServeSection
from zoo_cli.serve.server import bind, check
from zoo_cli.serve.workers import Supervisor
check(ServeSection(models={"m": ServedModel(bundle=sys.argv[1])}))
import zoo_cli.serve.workers
found = [n for n in sys.modules if n.split(".")[0] == "paddle" or n.startswith(("zoo_cli.engine", "zoo_cli.export"))]
assert not found, found
assert "zoo_cli.models.layers" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code, str(bundles["uie"])], check=True, cwd=ROOT)


# -- stop signals ------------------------------------------------------------------------------------------------------


def test_sigterm_finishes_what_is_in_work_and_exits_0(bundles: dict[str, Path], tmp_path: Path) -> None:
    inputs = [{"text": WORDS[index % 20 :] * 3} for index in range(12)]
    with serving(tmp_path, str(bundles["slow"]), "serve.batch_tokens=64") as live, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(live.post, PATH, {"inputs": inputs})
        while not live.metric("zoo_queue_items"):
            assert not answer.done()
            time.sleep(0.02)
        live.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert live.client.get("/readyz").status_code == 503
        assert live.client.get("/livez").status_code == 200
        refused = live.post(PATH, {"text": WORDS})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert answer.result().status_code == 200 and len(answer.result().json()["answers"]) == 12
        assert live.process.wait(10) == 0
    assert "Traceback" not in live.log.read_text()


def test_drain_delay_serves_on_while_unready(bundles: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, str(bundles["single"]), "serve.drain_delay=1") as live:
        live.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert live.client.get("/readyz").status_code == 503
        assert live.post(PATH, {"text": WORDS}).status_code == 200
        assert live.process.wait(10) == 0


def test_sigint_too_and_a_second_signal_is_impatient(bundles: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, str(bundles["single"]), "serve.drain_delay=30") as live:
        live.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert live.process.poll() is None
        assert live.stop(signal.SIGINT, seconds=5) == 0


# -- versions ----------------------------------------------------------------------------------------------------------


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def admin() -> dict[str, str]:
    return {"Authorization": "Bearer root-key"}


def test_a_new_version_takes_over_without_a_lost_request(
    server: Live, bundles: dict[str, Path], admin: dict[str, str], tmp_path: Path
) -> None:
    new = make_bundle(tmp_path / "new", "sequence_classification", max_length=16)
    name = "switched"
    load = {"name": name, "bundle": str(bundles["single"])}
    first = server.client.post("/v1/admin/models", json=load, headers=admin).json()["version"]
    stop = threading.Event()
    seen: list[tuple[int, str]] = []

    def ask() -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            while not stop.is_set():
                response = client.post(PATH, json={"text": WORDS, "model": name})
                seen.append((response.status_code, response.json().get("version", response.text)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(seen) > 3)
    second = server.client.post("/v1/admin/models", json={**load, "bundle": str(new)}, headers=admin).json()["version"]
    wait_for(lambda: (200, second) in seen)
    stop.set()
    for thread in threads:
        thread.join()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {first, second} and first != second
    assert server.client.delete(f"/v1/admin/models/{name}", headers=admin).status_code == 200
    assert server.post(PATH, {"text": "a", "model": name}).status_code == 404
    assert server.client.delete(f"/v1/admin/models/{name}", headers=admin).status_code == 404


def test_a_bad_version_is_refused_and_the_old_one_stays(
    server: Live, bundles: dict[str, Path], admin: dict[str, str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(bundles["single"], bad)
    write_golden(bad, [({"text": "a"}, {"label": "正向", "score": 0.1})])
    before = server.client.get("/v1/models").json()
    load = {"name": "single", "bundle": str(bad)}
    response = server.client.post("/v1/admin/models", json=load, headers=admin)
    assert response.json()["error"]["code"] == "golden-mismatch" and response.status_code == 422
    (bad / "vocab.txt").write_text("")
    response = server.client.post("/v1/admin/models", json=load, headers=admin)
    assert response.json()["error"]["code"] == "damaged-file"
    assert server.client.get("/v1/models").json() == before and server.client.get("/readyz").status_code == 200


def test_a_model_has_limits_of_its_own(server: Live, bundles: dict[str, Path], admin: dict[str, str]) -> None:
    load = {"name": "small", "bundle": str(bundles["single"]), "limits": {"characters": 5}, "routes": ["a/b"]}
    assert server.client.post("/v1/admin/models", json=load, headers=admin).status_code == 200
    assert server.post("/a/b", {"data": {"text": "123456"}}).status_code == 413
    assert server.post("/a/b", {"data": {"text": "12345"}}).status_code == 200
    assert server.post("/single", {"data": {"text": "123456"}}).status_code == 200
    server.client.delete("/v1/admin/models/small", headers=admin)


@pytest.mark.parametrize(("headers", "status"), [({}, 401), ({"X-API-Key": "wrong"}, 403), ({"X-API-Key": "é"}, 403)])
def test_administration_needs_its_key(server: Live, headers: dict[str, str], status: int) -> None:
    encoded = {name: value.encode() for name, value in headers.items()}
    assert server.client.delete("/v1/admin/models/uie", headers=encoded).status_code == status


def test_keys_and_cache(bundles: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("one\n\n# a comment\ntwo\n")
    with serving(tmp_path, str(bundles["single"]), "serve.api_keys=keys", "serve.cache_entries=2") as live:
        assert live.post(PATH, {"text": "a"}).status_code == 401
        assert live.post(PATH, {"text": "a"}, Authorization="Bearer three").status_code == 403
        assert live.client.get("/metrics").status_code == 401
        assert live.post("/v1/admin/models", {}, Authorization="Bearer one").json()["error"]["code"] == "admin-closed"
        live.client.headers["Authorization"] = "Bearer two"
        answers = [live.post(PATH, {"text": text}).json() for text in ("a", "a", "b", "c", "a")]
        assert answers[0] == answers[1] == answers[4]
        assert live.metric("zoo_cache_lookups_total", result="hit") == 1
        # The cache knows that other parameters are other questions.
        body: dict[str, Any] = {"data": {"text": "a" * 40}, "parameters": {}}
        whole = live.post("/single", body).json()
        assert live.post("/single", {**body, "parameters": {"max_seq_len": 5}}).json() != whole


# -- several processes -------------------------------------------------------------------------------------------------


def test_workers_share_a_port_and_are_replaced_when_they_die(bundles: dict[str, Path], tmp_path: Path) -> None:
    def counted(live: Live) -> float:
        text = httpx.get(live.url + "/metrics").text  # whichever answers knows the numbers of both
        lines = [line for line in text.splitlines() if line.startswith("zoo_requests_total") and PATH in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    with serving(tmp_path, str(bundles["single"]), "--workers", "2", "serve.threads=1") as live:
        children = _workers(live.process.pid, 2)
        for _ in range(20):
            with httpx.Client(base_url=live.url) as client:
                assert client.post(PATH, json={"text": WORDS}).status_code == 200
        end = time.monotonic() + 10
        while counted(live) < 20 and time.monotonic() < end:  # a request is counted after it is answered
            time.sleep(0.05)
        assert counted(live) == 20
        os.kill(children[0], signal.SIGKILL)
        _workers(live.process.pid, 2, killed=children[0])
        for _ in range(20):
            with httpx.Client(base_url=live.url, timeout=30) as client:
                assert client.post(PATH, json={"text": WORDS}).status_code == 200
        assert f"worker {children[0]} ended" in live.log.read_text()
        assert live.stop() == 0
        assert not _children(live.process.pid)


def test_a_server_that_has_been_ready_stays_so(bundles: dict[str, Path], tmp_path: Path) -> None:
    def ask(path: str) -> int:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)) as own:
            own.request("GET", path)  # to whichever process
            return own.getresponse().status

    def ask_until_ready(count: int) -> set[int]:
        end, found = time.monotonic() + 60, set()
        while live.log.read_text().count("is ready") < count:
            assert time.monotonic() < end
            found.add(ask("/readyz"))
            time.sleep(0.02)
        return found | {ask("/readyz") for _ in range(20)}

    with serving(tmp_path, str(bundles["slow"]), "--workers", "2", "serve.threads=1", ready=False) as live:
        assert ask("/livez") == 200
        assert ask("/readyz") == 503
        live.wait_ready()
        assert ask_until_ready(2) == {200}
        os.kill(_children(live.process.pid)[0], signal.SIGKILL)
        assert ask_until_ready(3) == {200}
        assert live.stop() == 0


def test_workers_end_with_their_parent(bundles: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, str(bundles["single"]), "--workers", "2", "serve.threads=1") as live:
        children = _workers(live.process.pid, 2)
        live.stop(signal.SIGKILL)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(Path(f"/proc/{child}/cmdline").exists() for child in children):
            time.sleep(0.05)
        assert not any(_alive(child) for child in children)


def _workers(parent: int, count: int, killed: int | None = None) -> list[int]:
    """The server's processes, as soon as there are so many."""
    end = time.monotonic() + 30
    while len(found := [child for child in _children(parent) if child != killed]) < count:
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
