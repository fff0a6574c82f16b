"""Bundles: read when whole, refused when not, the same on every back end."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import artifacts
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import read_json, write_json
from zoo_cli.export.parity import random_batch
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.golden import differing, read_golden, same_answer
from zoo_cli.runtime.loading import load, open_bundle
from zoo_cli.runtime.pipeline import Pipeline


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def _names(exported: Path) -> list[str]:
    return sorted(read_json(exported / "MANIFEST.json")["files"])


def test_one_byte_in_any_file_is_found(exported: Path, copy: Path) -> None:
    for name in _names(exported):
        path = copy / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(ArtifactError) as caught:
            open_bundle(copy)
        assert (caught.value.code, caught.value.at.file) == ("damaged-file", str(path))  # type: ignore[union-attr]
        shutil.copyfile(exported / name, path)
    open_bundle(copy)


def test_any_missing_file_is_found(exported: Path, copy: Path) -> None:
    for name in [*_names(exported), "MANIFEST.json"]:
        (copy / name).unlink()
        with pytest.raises(ArtifactError) as caught:
            open_bundle(copy)
        assert (caught.value.code, caught.value.at.file) == ("missing-file", str(copy / name))  # type: ignore[union-attr]
        shutil.copyfile(exported / name, copy / name)


def test_an_extra_file_is_refused(copy: Path) -> None:
    (copy / "onnx" / "more.bin").write_bytes(b"x")
    with pytest.raises(ArtifactError) as caught:
        open_bundle(copy)
    assert caught.value.code == "unexpected-file"
    assert caught.value.at.file.endswith("more.bin")  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "onnx/../../outside.txt", "link/outside.txt"])
def test_paths_that_leave_the_bundle_are_refused(copy: Path, name: str) -> None:
    (copy.parent / "outside.txt").write_text("secret")
    (copy / "link").symlink_to(copy.parent)
    manifest = read_json(copy / "MANIFEST.json")
    manifest["files"][name] = {"sha256": "0" * 64, "size": 6}
    write_json(copy / "MANIFEST.json", manifest)
    with pytest.raises(ArtifactError) as caught:
        open_bundle(copy)
    assert caught.value.code == "path-escape"
    assert name in str(caught.value)


def _newer(manifest: dict[str, Any]) -> None:
    manifest["format_version"] += 1


def _older(manifest: dict[str, Any]) -> None:
    manifest["format_version"] = 0


def _unnumbered(manifest: dict[str, Any]) -> None:
    manifest["format_version"] = "1"


def _unlisted(manifest: dict[str, Any]) -> None:
    manifest["files"] = list(manifest["files"])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_newer, "format-version"),
        (_older, "format-version"),
        (_unnumbered, "format-version"),
        (_unlisted, "broken-manifest"),
    ],
)
def test_other_manifests_are_refused(copy: Path, change: Callable[[dict[str, Any]], None], code: str) -> None:
    manifest = read_json(copy / "MANIFEST.json")
    change(manifest)
    write_json(copy / "MANIFEST.json", manifest)
    with pytest.raises(ArtifactError) as caught:
        open_bundle(copy)
    assert caught.value.code == code
    assert caught.value.at.file.endswith("MANIFEST.json")  # type: ignore[union-attr]


def test_all_back_ends_answer_alike(exported: Path) -> None:
    golden = read_golden(exported)
    for backend, precision in graphs(exported):
        assert not differing(load(exported, backend, precision, threads=1), golden)
    assert next(backend for backend, _ in graphs(exported)) == "onnx"


def test_default_is_the_first_graph(exported: Path) -> None:
    bundle = open_bundle(exported)
    assert (bundle.engine, bundle.precision) == ("onnx", "fp32")


def test_graphs_that_are_not_there(exported: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        open_bundle(exported, precision="int8")
    assert caught.value.code == "no-graph"
    assert "onnx fp32" in str(caught.value)
    with pytest.raises(UsageError) as unknown:
        open_bundle(exported, backend="tensorrt")
    assert unknown.value.code == "unknown-backend"


def test_clones_compute_side_by_side(exported: Path) -> None:
    for name, precision in graphs(exported):
        bundle = open_bundle(exported, name, precision, 1)
        backend = bundle.backend
        inputs = [random_batch(bundle.task, 100, 2, 9 + number, number) for number in range(8)]
        expected = [backend(batch) for batch in inputs]
        wrong: list[int] = []

        def work(clone: Any, number: int, inputs: Any = inputs, expected: Any = expected, wrong: Any = wrong) -> None:
            for _ in range(10):
                found = clone(inputs[number])
                if not all(np.allclose(a, b, atol=1e-6) for a, b in zip(found, expected[number], strict=True)):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(backend.clone(), number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong, name


def test_onnx_needs_neither_paddle_nor_pickle(exported: Path) -> None:
    code = (
        "import pickle, sys\n"
        "def refuse(*arguments, **keywords):\n"
        "    raise AssertionError('something was unpickled')\n"
        "pickle.load = pickle.loads = refuse\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'paddle':\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "from pathlib import Path\n"
        "from zoo_cli.runtime.verification import verify\n"
        "report = verify(Path(sys.argv[1]))\n"
        "print({each['backend']: each['status'] for each in report['graphs']}, report['ok'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'onnx': 'same'" in done.stdout
    assert "'paddle': 'not installed'" in done.stdout
    assert done.stdout.endswith("True\n")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"score": 0.5}, {"score": 0.50005}, True),
        ({"score": 0.5}, {"score": 0.501}, False),
        ({"score": 0.5}, {"score": 0.5, "more": 1}, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        (1, 2, False),
        (1, True, False),
        (1.0, True, False),
        ("a", "b", False),
        (None, None, True),
        ({"p": float("nan")}, {"p": float("nan")}, False),
    ],
)
def test_same_answer(first: Any, second: Any, same: bool) -> None:
    assert same_answer(first, second, 1e-4) is same


def test_golden_answers_do_not_depend_on_the_batch(exported: Path) -> None:
    bundle = open_bundle(exported, threads=1)
    golden = read_golden(exported)
    together = list(Pipeline(bundle.task, bundle.runner()).stream([request for request, _ in golden]))
    for (_, expected), found in zip(golden, together, strict=True):
        assert same_answer(expected, found, 1e-4), json.dumps(found, ensure_ascii=False)


def test_requests_are_kept_as_they_were(exported: Path) -> None:
    assert [request for request, _ in read_golden(exported)] == artifacts.requests("uie")
