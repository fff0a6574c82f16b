"""Where the shipped YAML files are found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zoo_cli
from zoo_cli.base.errors import PlatformError
from zoo_cli.base.resources import resource_folder

ROOT = Path(zoo_cli.__file__).parent.parent
ASK = "from zoo_cli.base.resources import resource_folder; print(resource_folder('configs'))"


def ask(cwd: Path, path: Path) -> Path:
    environment = {**os.environ, "PYTHONPATH": str(path)}
    result = subprocess.run([sys.executable, "-c", ASK], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return Path(result.stdout.strip())


@pytest.mark.skipif(not (ROOT / "setup.cfg").is_file(), reason="not a checkout")
def test_in_a_checkout(tmp_path: Path) -> None:
    assert ask(tmp_path, ROOT) == ROOT / "configs"


def test_installed(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(ROOT / "zoo_cli" / "base", site / "zoo_cli" / "base")
    shutil.copy(ROOT / "zoo_cli" / "__init__.py", site / "zoo_cli")
    (site / "zoo_cli" / "configs").mkdir()
    (site / "zoo_cli" / "configs" / "__init__.py").touch()
    (site / "configs").mkdir()  # of some other distribution
    assert ask(tmp_path, site) == site / "zoo_cli" / "configs"


def test_no_such_folder() -> None:
    with pytest.raises(PlatformError) as caught:
        resource_folder("nonsense")
    assert caught.value.code == "broken-installation"
