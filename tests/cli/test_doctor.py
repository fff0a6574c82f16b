"""`zoo doctor`: what it finds, what it calls broken, and what it never does."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import PlatformError
from zoo_cli.cli import doctor as module
from zoo_cli.cli.doctor import Check, doctor


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.setenv("ZOO_LANG", "en")
    monkeypatch.delenv("ZOO_MIRROR", raising=False)


def test_a_healthy_machine(capsys: pytest.CaptureFixture[str]) -> None:
    doctor(as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] is True
    checks = {check["name"]: check for check in report["checks"]}
    assert "zoo " in checks["versions"]["value"]
    assert "numpy " in checks["packages"]["value"]
    if "PaddlePaddle" in checks and checks["PaddlePaddle"]["level"] == "ok":
        assert checks["training"]["level"] == "ok"


def test_offline_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert "not tried" in module._network().value


def test_markdown_is_a_block_without_the_users_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_paddle", lambda: iter(()))
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("ZOO_HOME", "/home/somebody/somewhere")
    doctor(markdown=True)
    shown = capsys.readouterr().out
    assert shown.startswith("<details>")
    assert shown.rstrip().endswith("</details>")
    assert "| cache | ok | ~/somewhere" in shown
    assert str(Path.home()) not in shown


def test_what_is_broken_ends_with_5(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module, "_paddle", lambda: iter(()))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, 0))
    with pytest.raises(PlatformError, match="disk") as caught:
        doctor()
    assert (caught.value.code, caught.value.exit_code) == ("broken-environment", 5)
    assert "disk\terror" in capsys.readouterr().out


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file" / "home"))
    assert module._cache().level == "error"


def test_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUIRED", ("numpy", "no-such-package"))
    check = module._packages()
    assert check.level == "error"
    assert "no-such-package" in check.value


def test_package_that_does_not_load_is_an_error() -> None:
    def load() -> Check:
        raise ImportError("libfoo.so: cannot open\nmore")

    check = module._guarded("PaddlePaddle", load)
    assert (check.level, check.value) == ("error", "ImportError: libfoo.so: cannot open")


def test_too_many_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", str(2 * (os.cpu_count() or 1)))
    assert module._threads().level == "warning"


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    monkeypatch.setenv("ZOO_MIRROR", "http://me:secret@mirror")
    assert "secret" not in module._settings().value
    monkeypatch.delenv("ZOO_OFFLINE")
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("nobody there")))
    assert "secret" not in module._network().value


def test_network_through_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_OFFLINE")
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path))
    assert "folder" in module._network().value
    monkeypatch.setenv("ZOO_MIRROR", "ftp://example")
    assert module._network().level == "error"


@pytest.mark.parametrize(
    ("home", "path", "shown"),
    [
        ("/home/a", "/home/a/cache", "~/cache"),
        ("/home/a", "/home/ab", "/home/ab"),
        ("/", "/data/zoo", "/data/zoo"),  # users of containers
    ],
)
def test_paths_do_not_show_the_user(monkeypatch: pytest.MonkeyPatch, home: str, path: str, shown: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert module._short(path) == shown
