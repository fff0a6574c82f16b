"""Packages whose code runs when something of theirs is wanted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from zoo_cli.base.later import loaded_later


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `heavy`, which writes a line for each time that its code runs."""
    package = tmp_path / "heavy"
    package.mkdir()
    (package / "part.py").write_text("size = 3\n")
    (package / "__init__.py").write_text(
        f"open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        "import time; time.sleep(0.05)\n"
        "from heavy import part\n"
        "value = part.size + 1\n"
        "def __getattr__(name):\n"
        "    if name == 'made': return 'made'\n"
        "    raise AttributeError(name)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "heavy"]:
        del sys.modules[name]


def heavy(name: str = "heavy") -> ModuleType:
    with loaded_later("heavy"):
        return import_module(name)


def test_code_runs_when_an_attribute_is_wanted_and_only_once(folder: Path) -> None:
    module = heavy()
    assert import_module("heavy.part").size == 3
    assert module.__name__ == "heavy" and Path(module.__file__ or "").parent == folder / "heavy"
    assert not hasattr(module, "__wrapped__")
    assert not (folder / "runs").exists()
    assert module.value == 4 and module.made == "made"
    with pytest.raises(AttributeError, match="nothing"):
        _ = module.nothing
    from heavy import value

    assert value == 4
    assert (folder / "runs").read_text() == "x"


def test_threads_wait_for_the_first_one(folder: Path) -> None:
    module = heavy()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: module.value, range(4))) == [4] * 4
    assert (folder / "runs").read_text() == "x"


def test_what_failed_is_tried_again(folder: Path) -> None:
    init = folder / "heavy" / "__init__.py"
    code = init.read_text()
    init.write_text("raise ImportError('a library is missing')\n")
    module = heavy()
    for _ in range(2):
        with pytest.raises(ImportError, match="a library"):
            _ = module.value
    init.write_text(code + "# of another size than before\n")
    assert module.value == 4


def test_others_are_imported_as_always(folder: Path) -> None:
    with loaded_later("another"):
        import_module("heavy")
    assert (folder / "runs").read_text() == "x"
    with loaded_later("nowhere"), pytest.raises(ModuleNotFoundError):
        import_module("nowhere")


def test_paddle_is_whole(tmp_path: Path) -> None:
    """What it imports later is there for those who want it, and nothing of it before."""
    code = """
import sys
from zoo_cli.base.environment import prepare_paddle
prepare_paddle("cpu")
print({"setuptools", "cv2", "httpx._client"} & set(sys.modules))
import paddle
from paddle.vision.transforms import Resize
import paddle.text, httpx
print(paddle.vision.models.LeNet.__name__, Resize.__name__, paddle.text.Imdb.__name__, paddle.audio.functional.__name__)
print(paddle.utils.cpp_extension.CppExtension.__name__, httpx.Client.__name__, paddle.dataset.common.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "set()",
        "LeNet Resize Imdb paddle.audio.functional",
        "CppExtension Client paddle.dataset.common",
    ]
