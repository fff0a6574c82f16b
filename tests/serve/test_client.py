"""`zoo predict --server`: the answers and errors of `zoo predict`, from a real server; and parts of files."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serve.bundles import WORDS, make_bundle
from tests.serve.live import ROOT, Live, serving
from tests.serve.test_native import SCHEMAS, texts
from zoo_cli.base.errors import PlatformError, UsageError, ZooError
from zoo_cli.cli.lines import Shard
from zoo_cli.cli.predict import predict
from zoo_cli.runtime.client import RemoteModel
from zoo_cli.runtime.golden import same_answer


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path: Path, values: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(value, ensure_ascii=False)}\n" for value in values), encoding="utf-8")
    return path


def both(server: Live, bundle: Path, source: Path, target: Path, **options: Any) -> tuple[list[Any], list[Any]]:
    """Answers of the bundle and of the server."""
    predict(source=bundle, input_file=str(source), output=str(target), **options)
    here = lines_of(target)
    predict(server=server.url, model=bundle.name, input_file=str(source), output=str(target), **options)
    return here, lines_of(target)


def test_answers_are_the_same_and_in_order(server: Live, bundles: dict[str, Path], tmp_path: Path) -> None:
    rows = [
        {"text": text, "id": number, **({"schema": SCHEMAS[number % 5]} if number % 2 else {})}
        for number, text in enumerate(texts(200, 3))
    ]
    here, there = both(server, bundles["uie"], write_lines(tmp_path / "in", rows), tmp_path / "out")
    assert len(here) == 200 and same_answer(here, there, 1e-5)
    (tmp_path / "plain").write_text("\ufeff" + "\n".join([WORDS, "", WORDS[5:]]), encoding="utf-8")
    here, there = both(server, bundles["uie"], tmp_path / "plain", tmp_path / "out", schema='["地点", "时间"]')
    assert len(here) == 3 and same_answer(here, there, 1e-5)
    here, there = both(server, bundles["single"], tmp_path / "plain", tmp_path / "out")
    assert same_answer(here, there, 1e-5)


@pytest.mark.parametrize(
    ("lines", "number", "count"),
    [
        (b"ok\nok\n{broken\nok\n", 3, 2),
        (b"ok\n\xff\xfe\n", 2, 1),
        (b'{"no": "text"}\n', 1, 0),
        (b'{"text": null}\n', 1, 0),
        (b'ok\n{"text": 3}\n', 2, 1),
        (b'ok\nok\nok\n{"text": "x", "schema": [1]}\n', 4, 3),
        (b'ok\nok\n{"text": "x", "schema": "' + "名".encode() * 60 + b'"}\nok\n', 3, 2),
    ],
)
@pytest.mark.parametrize("shard", [None, "1/1"])
def test_errors_are_the_same(
    server: Live,
    bundles: dict[str, Path],
    lines: bytes,
    number: int,
    count: int,
    shard: str | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "in").write_bytes(lines)
    found = []
    for where in ({"source": bundles["uie"]}, {"server": server.url, "model": "uie"}):
        with pytest.raises(ZooError) as raised:
            predict(input_file=str(tmp_path / "in"), shard=shard, **where)
        error = raised.value
        found.append((error.code, error.exit_code, error.at and (error.at.file, error.at.line)))
        # What comes before it is answered.
        assert len(capsys.readouterr().out.splitlines()) == count
    assert found[0] == found[1]
    assert found[0][1:] == (3, (str(tmp_path / "in"), number))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_cli", "predict", *arguments]
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env, timeout=60)


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers questions."""
    return make_bundle(tmp_path_factory.mktemp("bundles") / "reading", "question_answering")


@pytest.fixture(scope="module")
def guarded(bundles: dict[str, Path], reading: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server with a key and hardly any queue."""
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys").write_text("sesame\n")
    settings = ["serve.api_keys=keys", "serve.limits.queue_items=1", "serve.threads=1"]
    with serving(folder, str(bundles["single"]), str(reading), *settings) as live:
        live.client.headers["X-API-Key"] = "sesame"
        yield live


def test_a_busy_server_is_asked_again(guarded: Live, bundles: dict[str, Path], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "in", [{"text": WORDS[start:]} for start in range(20)])
    predict(source=bundles["single"], input_file=str(source), output=str(tmp_path / "here"))
    done = run(
        "--server", guarded.url, "--input", str(source), "--output", str(tmp_path / "there"), ZOO_API_KEY="sesame"
    )
    assert done.returncode == 0, done.stderr
    assert same_answer(lines_of(tmp_path / "here"), lines_of(tmp_path / "there"), 1e-5)
    assert guarded.metric("zoo_refused_total", reason="queue-full") > 0


def test_a_context_may_be_called_text(guarded: Live, reading: Path, tmp_path: Path) -> None:
    rows = [{"question": "谁？", "text": WORDS}, {"question": "谁？", "context": WORDS[5:], "text": "a"}]
    source = write_lines(tmp_path / "in", rows)
    predict(source=reading, input_file=str(source), output=str(tmp_path / "here"))
    predict(
        server=guarded.url, model="reading", api_key="sesame", input_file=str(source), output=str(tmp_path / "there")
    )
    assert same_answer(lines_of(tmp_path / "here"), lines_of(tmp_path / "there"), 1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (["--server", "URL"], "no-key", 2),
        (["--server", "URL", "--api-key", "wrong"], "wrong-key", 2),
        (["--server", "URL", "--api-key", "sesame", "--model", "other"], "unknown-model", 2),
        (["--server", "URL", "--api-key", "sesame", "--from", "runs"], "bad-option", 2),
        (["--server", "example.org:80"], "bad-url", 2),
        (["--server", "http://127.0.0.1:x"], "bad-url", 2),
        (["--server", "http://127.0.0.1:9"], "unreachable", 5),
        (["--from", "nowhere", "--shard", "0/3"], "bad-shard", 2),
        (["--from", "nowhere", "--shard", "4/3"], "bad-shard", 2),
        (["--from", "nowhere", "--shard", "a"], "bad-shard", 2),
    ],
)
def test_what_cannot_be_asked(guarded: Live, arguments: list[str], code: str, status: int) -> None:
    words = [guarded.url if word == "URL" else word for word in arguments]
    options = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    if "from" in options:
        options["source"] = Path(options.pop("from"))  # type: ignore[assignment]
    with pytest.raises(ZooError) as raised:
        predict(text="a", **options)  # type: ignore[arg-type]
    assert (raised.value.code, raised.value.exit_code) == (code, status)


def test_answers_come_while_lines_do(server: Live) -> None:
    command = [sys.executable, "-m", "zoo_cli", "predict", "--server", server.url, "--model", "single", "--input", "-"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment, text=True, bufsize=1
    ) as process:
        assert process.stdin and process.stdout
        for _ in range(3):
            process.stdin.write(f"{WORDS}\n")
            assert "label" in json.loads(process.stdout.readline())  # before the next line is written
        process.stdin.close()
        assert process.wait(20) == 0


class _Other(http.server.BaseHTTPRequestHandler):
    """A server of something else."""

    replies: ClassVar[list[tuple[int, bytes]]] = []

    def do_GET(self) -> None:
        status, body = self.replies.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("replies", "code", "kind"),
    [
        ([(200, b"<html>")], "unreachable", PlatformError),
        ([(404, b"nothing")], "unreachable", UsageError),
        ([(500, b"")], "unreachable", PlatformError),
        ([(200, b'{"data": []}'), (503, b'{"status": "loading m"}')], "no-model", PlatformError),
    ],
)
def test_other_servers(replies: list[tuple[int, bytes]], code: str, kind: type[ZooError]) -> None:
    _Other.replies = list(replies)
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    with pytest.raises(kind) as raised:
        RemoteModel(f"http://127.0.0.1:{other.server_address[1]}")
    assert raised.value.code == code
    other.shutdown()
    other.server_close()


# -- parts of files ----------------------------------------------------------------------------------------------------


@given(total=st.integers(0, 100), count=st.integers(1, 12))
def test_parts_are_the_whole_and_of_like_size(total: int, count: int) -> None:
    parts = [Shard(number, count).lines(total) for number in range(1, count + 1)]
    assert [line for part in parts for line in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_outputs_of_parts_joined_are_the_output(bundles: dict[str, Path], end: str, count: int, tmp_path: Path) -> None:
    rows = ["", *texts(5, 4, 40), ""]
    (tmp_path / "in").write_text("\ufeff" + "\n".join(rows) + end, encoding="utf-8")
    predict(source=bundles["single"], input_file=str(tmp_path / "in"), output=str(tmp_path / "whole"))
    joined: list[Any] = []
    for number in range(1, count + 1):
        target = tmp_path / f"part{number}"
        options: dict[str, Any] = {"input_file": str(tmp_path / "in"), "shard": f"{number}/{count}"}
        predict(source=bundles["single"], output=str(target), **options)
        joined += lines_of(target)
    assert same_answer(joined, lines_of(tmp_path / "whole"), 1e-5) and len(joined) == 6 + len(end)


def test_standard_input_has_no_parts(bundles: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="part of a file"):
        predict(source=bundles["single"], input_file="-", shard="1/2")
