"""Files and folders that are whole or absent, and manifests that notice every change."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.base import files
from zoo_cli.base.errors import ArtifactError
from zoo_cli.base.files import (
    MANIFEST,
    atomic_file,
    atomic_folder,
    contained,
    read_json,
    remove_partial,
    sha256_file,
    sha256_json,
    verify_manifest,
    write_json,
    write_manifest,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, version: str) -> None:
    for index in range(5):
        (folder / f"{index}.txt").write_text(version)


def versions(folder: Path) -> set[str]:
    return {(folder / f"{index}.txt").read_text() for index in range(5)}


def test_atomic_file_replaces(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "old")
    write_text(target, "new ☃")
    assert target.read_text(encoding="utf-8") == "new ☃"
    assert names(target.parent) == ["a.txt"]


def test_atomic_file_keeps_the_old_content_on_an_error(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(KeyError), atomic_file(target) as partial:
        partial.write_text("half")
        raise KeyError
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_atomic_folder(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    for version in ("one", "two"):
        with atomic_folder(target) as partial:
            fill(partial, version)
            (partial / "sub").mkdir()
            (partial / "sub" / version).touch()
            assert not target.exists() or versions(target) == {"one"}
        assert versions(target) == {version}
        assert names(target / "sub") == [version]
    assert names(target.parent) == ["model"]


def test_atomic_folder_keeps_the_old_one_on_an_error(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_folder(target) as partial:
        fill(partial, "old")
    with pytest.raises(KeyError), atomic_folder(target) as partial:
        fill(partial, "half")
        raise KeyError
    assert versions(target) == {"old"}
    assert names(tmp_path) == ["model"]


def test_a_reader_never_misses_the_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with atomic_folder(target) as partial:
        fill(partial, "0")
    if not _can_exchange(tmp_path):
        pytest.skip("the file system cannot swap names")
    missing, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            if not target.is_dir():
                missing.append(time.time())

    reader = threading.Thread(target=read)
    reader.start()
    for version in range(1, 60):
        with atomic_folder(target) as partial:
            fill(partial, str(version))
    done.set()
    reader.join()
    assert not missing


def _can_exchange(folder: Path) -> bool:
    (folder / "x").mkdir()
    (folder / "y").mkdir()
    swapped = files._exchange(folder / "x", folder / "y")
    (folder / "x").rmdir()
    (folder / "y").rmdir()
    return swapped


@pytest.mark.parametrize("swaps", [True, False])
def test_replacing_on_both_kinds_of_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: bool) -> None:
    if not swaps:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for version in ("one", "two"):
        with atomic_folder(tmp_path / "model") as partial:
            fill(partial, version)
    assert versions(tmp_path / "model") == {"two"}
    assert names(tmp_path) == ["model"]


WRITE = """
import sys
from pathlib import Path
from zoo_cli.base import files
from zoo_cli.base.files import atomic_folder
if sys.argv[2] == "no-swap":
    files._exchange = lambda one, other: False
version = 0
while True:
    with atomic_folder(Path(sys.argv[1])) as partial:
        for index in range(5):
            (partial / f"{index}.txt").write_text(str(version))
    version += 1
    print(version, flush=True)
"""


@pytest.mark.parametrize("way", ["swap", "no-swap"])
def test_kill_9_leaves_a_whole_folder(tmp_path: Path, way: str) -> None:
    target = tmp_path / "model"
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITE, str(target), way], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * attempt)
        process.kill()
        process.communicate()
        remove_partial(tmp_path)
        assert len(versions(target)) == 1
        assert names(tmp_path) == ["model"]


def test_killed_between_the_two_renames(tmp_path: Path) -> None:
    """Where names cannot be swapped, the old folder comes back."""
    script = WRITE.replace(
        "version = 0",
        "import os\nrename = Path.rename\n"
        "def one_rename(path, target):\n"
        "    rename(path, target)\n"
        "    if '-old-' in target.name: os._exit(9)\n"
        "Path.rename = one_rename\nversion = 0",
    )
    target = tmp_path / "model"
    assert subprocess.run([sys.executable, "-c", script, str(target), "no-swap"], capture_output=True).returncode == 9
    assert not target.exists()
    remove_partial(tmp_path)
    assert versions(target) == {"0"}
    assert names(tmp_path) == ["model"]


def test_remove_partial_touches_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".partial-00000000-a").mkdir()
    (tmp_path / ".partial-00000000-b.txt").touch()
    (tmp_path / ".partial-old-00000000-kept").mkdir()
    remove_partial(tmp_path)
    assert names(tmp_path) == ["kept"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(value=json_values)
def test_json_round_trip(value: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    try:
        write_json(path, value)
    except UnicodeEncodeError:  # a lone surrogate is not text
        return
    assert read_json(path) == value


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b'{"a": 1,\n "b": }', "broken-json", 2),
        (b"", "broken-json", 1),
        (b"\xff\xfe", "broken-json", None),
        (b"[" * 200_000, "broken-json", None),
        (b"1" * 5000, "broken-json", None),
    ],
)
def test_broken_json(tmp_path: Path, content: bytes, code: str, line: int | None) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        read_json(path)
    assert caught.value.code == code
    assert caught.value.at is not None
    assert caught.value.at.file == str(path)
    assert caught.value.at.line == line


def test_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "a.json") == {}


def test_json_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as missing:
        read_json(tmp_path / "a.json")
    assert missing.value.code == "missing-file"
    with pytest.raises(ArtifactError) as folder:
        read_json(tmp_path)
    assert folder.value.code == "unreadable-file"


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_json({"a": 1, "b": [2]}) == sha256_json({"b": [2], "a": 1})
    assert sha256_json({"a": 1}) != sha256_json({"a": 2})


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    """A folder with a manifest; one of its files is a folder with a manifest of its own."""
    folder = tmp_path / "model"
    for name in ("config.json", "sub/weights.bin", f"sub/{MANIFEST}"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    write_manifest(folder)
    return folder


def test_an_untouched_folder_passes(sealed: Path) -> None:
    assert set(verify_manifest(sealed)["files"]) == {"config.json", "sub/weights.bin", f"sub/{MANIFEST}"}


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        change(manifest)
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return edit


def _name(name: str) -> Callable[[Path], None]:
    return _edit(lambda manifest: manifest["files"].update({name: {"sha256": "0"}}))  # type: ignore[attr-defined]


def _link_outside(folder: Path) -> None:
    (folder.parent / "secret").write_text("config.json")  # the same content, so that only the place is wrong
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(folder.parent / "secret")


def _link_loop(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")


TAMPERINGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed": (lambda folder: (folder / "sub/weights.bin").write_text("sub/weights.biN"), "damaged-file"),
    "cut off": (lambda folder: (folder / "config.json").write_text("config.jso"), "damaged-file"),
    "missing": (lambda folder: (folder / "config.json").unlink(), "missing-file"),
    "extra": (lambda folder: (folder / "sub" / "extra").touch(), "unexpected-file"),
    "inner manifest changed": (lambda folder: (folder / "sub" / MANIFEST).write_text(""), "damaged-file"),
    "further inner manifest": (lambda folder: write_json(folder / "new" / MANIFEST, {}), "unexpected-file"),
    "no manifest": (lambda folder: (folder / MANIFEST).unlink(), "missing-file"),
    "manifest cut off": (lambda folder: (folder / MANIFEST).write_text('{"format'), "broken-json"),
    "manifest of another kind": (lambda folder: (folder / MANIFEST).write_text("[]"), "broken-manifest"),
    "newer format": (_edit(lambda manifest: manifest.update(format_version=2)), "format-version"),
    "no format": (_edit(lambda manifest: manifest.pop("format_version")), "format-version"),
    "entry of another kind": (_edit(lambda manifest: manifest["files"].update({"config.json": "x"})), "damaged-file"),  # type: ignore[attr-defined]
    "climbing out": (_name("../secret"), "path-escape"),
    "absolute": (_name("/etc/passwd"), "path-escape"),
    "NUL": (_name("a\0b"), "path-escape"),
    "link outside": (_link_outside, "path-escape"),
    "link loop": (_link_loop, "path-escape"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
def test_tampering_is_noticed(sealed: Path, kind: str) -> None:
    tamper, code = TAMPERINGS[kind]
    tamper(sealed)
    with pytest.raises(ArtifactError) as caught:
        verify_manifest(sealed)
    assert caught.value.code == code
    assert caught.value.at is not None
    assert str(sealed) in caught.value.at.file


@pytest.mark.parametrize("name", ["a", "a/b", "a/../b", "./a"])
def test_contained(tmp_path: Path, name: str) -> None:
    assert contained(tmp_path, name) == tmp_path / name
