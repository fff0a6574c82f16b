"""The wheel: complete, and at work from another folder without a network."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

NO_NETWORK = """
import socket, sys
def refuse(*arguments, **keywords):
    raise AssertionError("the network was used")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["zoo", *sys.argv[1:]]
from zoo_cli.cli.app import main
main()
"""


def _packages() -> list[str]:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser["options"]["packages"].split()


def test_every_package_is_listed() -> None:
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "zoo_cli").rglob("__init__.py")
        if "__pycache__" not in path.parts
    }
    assert set(_packages()) == found | {"zoo_cli.recipes", "zoo_cli.configs"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)
    wheel = next(folder.glob("*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"zoo_cli"}
    assert "zoo_cli/recipes/uie/msra.yaml" in names
    ours = (path for path in (ROOT / "zoo_cli").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert {path.relative_to(ROOT).as_posix() for path in ours} <= set(names)  # the server's page, the samples
    target = folder / "site"
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel)], check=True)
    return target


def _zoo(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "ZOO_OFFLINE")}
    environment |= {"PYTHONPATH": str(installed), "ZOO_HOME": str(folder / "home"), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", NO_NETWORK, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_recipes_come_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    done = _zoo(installed, tmp_path, "recipes", "list", "--json")
    assert done.returncode == 0, done.stderr
    assert "uie/msra.yaml" in done.stdout


def test_tiny_run_from_another_folder_without_a_network(installed: Path, tmp_path: Path) -> None:
    done = _zoo(installed, tmp_path, "finetune", "--recipe", "uie/msra.yaml", "--tiny", "--json", "train.max_steps=4")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "uie" / "msra.tiny" / "finetune" / "best" / "MANIFEST.json").is_file()
