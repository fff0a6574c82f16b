"""`zoo dev new-family`: what it writes is a family like the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo_cli.base.errors import UsageError
from zoo_cli.cli.app import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with a new family."""
    folder = tmp_path_factory.mktemp("checkout")
    ignored = shutil.ignore_patterns("__pycache__", "golden", ".*")
    for name in ("zoo_cli", "configs", "recipes", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    done = _python(folder, "-m", "zoo_cli", "dev", "new-family", "orca_net", "--title", "OrcaNet")
    assert done.returncode == 0, done.stderr
    return folder


def _python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "ZOO_LANG": "en"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_new_family_passes_the_conformance_tests(checkout: Path) -> None:
    files = [f"tests/conformance/test_{name}.py" for name in ("models", "training", "bundles")]
    # The server is the same for all families, and takes longest to start.
    done = _python(checkout, "-m", "pytest", *files, "-k", "orca_net and not server", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout


def test_new_family_is_clean_and_listed(checkout: Path) -> None:
    folder = "zoo_cli/models/orca_net"
    for arguments in (["ruff", "check", folder], ["ruff", "format", "--check", folder]):
        done = _python(checkout, "-m", *arguments)
        assert done.returncode == 0, done.stdout
    assert "    zoo_cli.models.orca_net\n" in (checkout / "setup.cfg").read_text()
    done = _python(checkout, "-m", "zoo_cli", "dev", "new-family", "orca_net")
    assert done.returncode == 2
    assert "[folder-exists]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["Orca"], "bad-name"),
        (["../orca"], "bad-name"),
        (["orca", "--title", "orca net"], "bad-name"),
        (["orca"], "not-a-checkout"),
    ],
)
def test_refusals_write_nothing(tmp_path: Path, arguments: list[str], code: str) -> None:
    result = CliRunner().invoke(app, ["dev", "new-family", *arguments, "--checkout", str(tmp_path)])
    assert isinstance(result.exception, UsageError)
    assert result.exception.code == code
    assert list(tmp_path.iterdir()) == []
