"""The documentation: complete, linked, right about commands; and the quick start does what it says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.parsing import calls, commands, parse
from tools.docs import cli_reference, error_reference, fill, recipe_reference
from zoo_cli.base.explanations import explanations
from zoo_cli.base.resources import resource_folder
from zoo_cli.data.formats import FORMATS
from zoo_cli.recipe.loading import recipe_names
from zoo_cli.recipe.presets import preset_names
from zoo_cli.recipe.schema import Recipe
from zoo_cli.registry import TASKS

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
INDENTED = re.compile(r"(?:^    .*\n)+", re.M)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def shell_lines(page: str) -> list[str]:
    """Lines of code blocks, continued lines joined."""
    text = text_of(page)
    blocks = [body for kind, body in BLOCK.findall(text) if kind in ("bash", "text", "console", "sh", "")]
    blocks += INDENTED.findall(BLOCK.sub("", text))
    return [line.strip().removeprefix("$ ") for body in blocks for line in body.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_commands_in_pages_exist(page: str) -> None:
    for line in shell_lines(page):
        for words in calls(line):
            if not any(re.fullmatch(r"[A-Z]{2,}|\.\.\.", word) for word in words):  # FOLDER stands for something
                try:
                    parse(words)
                except Exception as error:
                    pytest.fail(f"{page}: {line}: {error}")
    names = {path[:length] for path, _ in commands() for length in range(1, len(path) + 1)}
    for text in re.findall(r"`zoo ([a-z][^`]*)`", BLOCK.sub("", text_of(page))):
        words = tuple(re.match(r"[a-z-]+( [a-z-]+)*", text)[0].split())  # type: ignore[index]
        assert words[:1] in names, f"{page}: zoo {text}"
        if any(len(path) > 1 and path[:1] == words[:1] for path in names) and len(words) > 1:
            assert words[:2] in names, f"{page}: zoo {text}"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    made = {"docs/reference/recipe.md", "docs/reference/cli.md", "docs/reference/errors.md"}
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(page)):
        if not re.match(r"\w+:", target):
            path = Path(os.path.normpath(Path(page).parent / target))
            assert path.as_posix() in made or (ROOT / path).exists(), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_recipes_and_checkpoints_in_pages_exist(page: str) -> None:
    recipes = {f"{name}.yaml" for name in recipe_names()}
    folders = {name.split("/")[0] for name in recipes}
    for name in re.findall(r"[\w.-]+/[\w-]+\.yaml", fill(text_of(page))):
        if name.split("/")[0] in folders and "NAME" not in name:
            assert name in recipes, f"{page}: {name}"
    for name in re.findall(r"model\.init[=:] ?([a-z][\w.-]+)(?![\w./-])", text_of(page)):  # no folders
        assert name in (*preset_names(), "scratch"), f"{page}: {name}"


def test_keys_in_the_migration_table_exist() -> None:
    rows = re.findall(r"^\| `.*\| (.*) \|$", text_of("docs/from-paddlenlp.md"), re.M)
    keys = {
        key for row in rows for key in re.findall(r"`((?:model|data|train|pretrain|prune|quantize|serve)\.\w+)`", row)
    }
    assert len(keys) > 25
    schema = Recipe.model_json_schema()
    sections = schema["$defs"]
    for key in keys:
        section, _, name = key.partition(".")
        assert name in sections[f"{section.capitalize()}Section"]["properties"], key


def test_references_are_complete() -> None:
    recipe, cli, errors = recipe_reference(), cli_reference(), error_reference()
    assert all(f"`{name}`" in recipe for name in (*Recipe.model_fields, *TASKS, *FORMATS))
    assert all(f"## `zoo {' '.join(path)}`" in cli for path, _ in commands())
    assert all(f"## `{code}`" in errors for code in explanations())


def test_every_recipe_folder_and_family_has_a_guide() -> None:
    folders = {
        path.name for path in resource_folder("recipes").iterdir() if path.is_dir() and path.name != "__pycache__"
    }
    marks = re.findall(r"<!-- recipes: (.+?) -->", "".join(text_of(page) for page in PAGES))
    assert folders == {folder for mark in marks for folder in mark.split()}
    assert "<!--" not in fill("".join(text_of(page) for page in PAGES if page.startswith("docs/families")))


def test_site_is_built_without_warnings(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference" / "recipe.html").is_file()


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="the quick start needs bash and curl")
def test_quick_start(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "zoo"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zoo_cli "$@"\n')
    shim.chmod(0o755)
    script = "".join(body for kind, body in BLOCK.findall(text_of("docs/quickstart.md")) if kind == "bash")
    with socket.create_server(("127.0.0.1", 0)) as free:  # the page's port may be taken
        script = script.replace("8123", str(free.getsockname()[1]))
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "ZOO_HOME": str(tmp_path / "home"),
        "ZOO_OFFLINE": "1",
        "ZOO_LANG": "en",
    }
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail\ntrap 'kill $(jobs -p) 2> /dev/null || true' EXIT\n{script}"],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "人物" in done.stdout
    assert (work / "runs/uie/msra.tiny/export/bundle/MANIFEST.json").is_file()
    assert "运行" in done.stdout
    assert "Traceback" not in done.stderr
