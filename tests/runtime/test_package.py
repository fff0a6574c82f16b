"""`zoo package`: one file, the same bytes for the same bundle, and nothing unpacked that the manifest does not list."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import MANIFEST, read_json, sha256_file
from zoo_cli.runtime.package import SUFFIXES, opened, pack, unpack
from zoo_cli.runtime.verification import verify


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_bundles_make_equal_archives(exported: Path, tmp_path: Path, suffix: str) -> None:
    other = Path(shutil.copytree(exported, tmp_path / "elsewhere"))
    for path in other.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    report = pack(exported, one)
    pack(other, two)
    assert one.read_bytes() == two.read_bytes()
    assert report["sha256"] == sha256_file(one) and report["bytes"] == one.stat().st_size
    assert unpack(one, tmp_path / "back")["files"] == report["files"]
    assert files(tmp_path / "back") == files(exported)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_is_verified(exported: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    pack(exported, archive)
    with opened(archive) as folder:
        assert verify(folder)["ok"]
    assert not folder.exists()
    with opened(exported.parent) as folder:
        assert folder == exported


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_archives_are_refused(exported: Path, tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    pack(exported, archive)
    data = archive.read_bytes()
    for place in (0, len(data) // 3, len(data) // 2):
        archive.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with pytest.raises(ArtifactError):
            unpack(archive, tmp_path / "back")
    for size in (0, 100, len(data) // 2, len(data) - 30):
        archive.write_bytes(data[:size])
        with pytest.raises(ArtifactError):
            unpack(archive, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".partial")]


def small(folder: Path, **entries: bytes) -> dict[str, bytes]:
    """Entries of an archive whose manifest lists `a.txt` with two bytes."""
    digest = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"  # of "ab"
    manifest = {"format_version": 1, "files": {"a.txt": {"sha256": digest, "size": 2}}}
    return {f"bundle/{MANIFEST}": json.dumps(manifest).encode(), "bundle/a.txt": b"ab", **entries}


def write(archive: Path, entries: dict[str, bytes]) -> Path:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            for name, data in entries.items():
                zipped.writestr(name, data)
    else:
        with tarfile.open(archive, "w:gz") as tarred:
            for name, data in entries.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tarred.addfile(entry, io.BytesIO(data))
    return archive


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_entries_that_the_manifest_does_not_list(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    unpack(write(archive, small(tmp_path)), tmp_path / "whole")
    for name in ("bundle/more.txt", "../outside.txt", "/outside.txt", "other/a.txt", "bundle/../../outside.txt"):
        with pytest.raises(ArtifactError) as caught:
            unpack(write(archive, {**small(tmp_path), name: b"x"}), tmp_path / "back")
        assert caught.value.code == "unexpected-file"
        assert name in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "whole"}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_content_than_the_manifest_says(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a{suffix}"
    for data in (b"", b"xy", b"ab" * 1_000_000):
        with pytest.raises(ArtifactError) as caught:
            unpack(write(archive, {**small(tmp_path), "bundle/a.txt": data}), tmp_path / "back")
        assert caught.value.code == "damaged-file"
    escape = {"format_version": 1, "files": {"../outside.txt": {"sha256": "0" * 64, "size": 1}}}
    with pytest.raises(ArtifactError) as caught:
        entries = {f"bundle/{MANIFEST}": json.dumps(escape).encode(), "bundle/../outside.txt": b"x"}
        unpack(write(archive, entries), tmp_path / "back")
    assert caught.value.code == "path-escape"
    for manifest in (b"[]", b"{", b'{"files": {"a": 1}}'):
        with pytest.raises(ArtifactError) as caught:
            unpack(write(archive, {f"bundle/{MANIFEST}": manifest}), tmp_path / "back")
        assert caught.value.code == "broken-manifest"
    with pytest.raises(ArtifactError) as caught:
        unpack(write(archive, {"bundle/a.txt": b"ab"}), tmp_path / "back")
    assert caught.value.code == "broken-archive"


def test_links_are_not_followed(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tarred:
        for name, data in small(tmp_path).items():
            entry = tarfile.TarInfo(name)
            if name.endswith("a.txt"):
                entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/hostname"
                tarred.addfile(entry)
            else:
                entry.size = len(data)
                tarred.addfile(entry, io.BytesIO(data))
    with pytest.raises(ArtifactError):
        unpack(archive, tmp_path / "back")


def test_a_damaged_bundle_is_not_packed(exported: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(exported, tmp_path / "copy"))
    (copy / "task.json").write_text("{}")
    with pytest.raises(ArtifactError) as caught:
        pack(copy, tmp_path / "a.zip")
    assert caught.value.code == "damaged-file"
    with pytest.raises(UsageError):
        pack(exported, tmp_path / "a.rar")
    assert {path.name for path in tmp_path.iterdir()} == {"copy"}


def test_commands(exported: Path, tmp_path: Path) -> None:
    def zoo(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "zoo_cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    archive = tmp_path / "uie.tar.gz"
    done = zoo("package", str(exported.parent), "-o", str(archive), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == len(read_json(exported / MANIFEST)["files"]) + 1
    assert zoo("verify", str(archive)).returncode == 0
    assert zoo("package", str(archive), "--extract", "-o", str(tmp_path / "back")).returncode == 0
    assert files(tmp_path / "back") == files(exported)
    again = zoo("package", str(archive), "--extract", "-o", str(tmp_path / "back"))
    assert again.returncode == 2 and "folder-exists" in again.stderr
