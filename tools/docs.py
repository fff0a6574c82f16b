"""The pages of the documentation that are made from the program itself: MkDocs calls this file as its hook.

Reference of recipes, commands and error codes; and, in place of comments such as ``<!-- checkpoints: ernie -->`` and
``<!-- recipes: uie -->``, tables of published checkpoints and shipped recipes.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import typer
from pydantic import BaseModel

from zoo_cli import registry
from zoo_cli.base.explanations import explanations
from zoo_cli.cli.app import app
from zoo_cli.data.formats import FORMATS
from zoo_cli.recipe.loading import PRETRAINING, load_recipe, recipe_names
from zoo_cli.recipe.presets import load_preset, preset_names
from zoo_cli.recipe.schema import Recipe

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

_MARK = re.compile(r"<!-- (checkpoints|recipes): (.+?) -->")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """MkDocs: pages that `nav` does not name come last among the guides, so that none is out of reach."""
    named = set(re.findall(r"[\w/.-]+\.md", str(config.nav)))
    guides = next(part["Guides"] for part in config.nav or [] if "Guides" in part)
    guides += sorted(path.name for path in Path(config.docs_dir).glob("*.md") if path.name not in named)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """MkDocs: add the pages that are made here."""
    from mkdocs.structure.files import File

    pages = {"recipe": recipe_reference, "cli": cli_reference, "errors": error_reference}
    for name, make in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """MkDocs: put tables in place of their marks."""
    return fill(markdown)


def fill(markdown: str) -> str:
    """The page with tables in place of their marks."""
    tables = {"checkpoints": checkpoint_table, "recipes": recipe_table}
    return _MARK.sub(lambda match: tables[match[1]](match[2].split()), markdown)


def _table(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in lines)


# -- recipes -----------------------------------------------------------------------------------------------------------


def recipe_reference() -> str:
    """Every key of a recipe, with its type, default and meaning."""
    text = [
        "# Recipe reference\n\nMade from the program: every key that a recipe may have. A key that is not here is "
        "refused, with its line and the nearest name. `zoo recipes show NAME --resolved --origin` prints the values of "
        "a recipe and where each comes from; `zoo recipes schema` prints a JSON schema for editors.\n\n"
    ]
    text += _section("Recipe", Recipe, "The file as a whole.", 2)
    text.append("## Tasks\n\nWhat `task` takes beside `name`, for each task.\n\n")
    for name in registry.TASKS:
        spec = registry.task(name)
        formats = ", ".join(f"`{each}`" for each in spec.formats) or "none: nothing is learnt"
        text.append(f"### `{name}`\n\nData formats: {formats}. Chosen by: `{spec.metric}`.\n\n")
        text += _rows(spec.options, skip={"name"})
    text.append("## Data formats\n\nWhat `data.options` takes, for each `data.format`.\n\n")
    for entry in FORMATS.values():
        reader = inspect.getdoc(registry.resolve(entry.reader)) or ""
        text.append(f"### Format `{entry.name}`\n\n{reader.split(chr(10) * 2)[0]}\n\n")
        if entry.options.model_fields:
            text += _rows(entry.options)
    return "".join(text)


def _section(title: str, section: type[BaseModel], about: str, depth: int) -> Iterator[str]:
    """A heading and a table of the keys, then the same for the sections inside."""
    yield f"{'#' * depth} {title}\n\n{about}\n\n"
    yield from _rows(section)
    for name, field in section.model_fields.items():
        if title == "Recipe" and name == "task":
            continue
        for inner in _sections(field.annotation):
            path = name if title == "Recipe" else f"{title.strip('`')}.{name}"
            yield from _section(f"`{path}`", inner, inspect.getdoc(inner) or "", min(depth + 1, 4))


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [each for part in getattr(annotation, "__args__", ()) for each in _sections(part)]


def _rows(section: type[BaseModel], skip: frozenset[str] | set[str] = frozenset()) -> Iterator[str]:
    schema = section.model_json_schema()
    required = schema.get("required", [])
    rows = []
    for name, value in schema.get("properties", {}).items():
        if name not in skip:
            default = "required" if name in required else _default(value, section.model_fields[name])
            rows.append([f"`{name}`", _kind(value), default, " ".join(value.get("description", "").split())])
    if rows:
        yield _table(["key", "type", "default", "meaning"], rows) + "\n"
    else:
        yield "No options.\n\n"


def _default(schema: dict[str, Any], field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or (value is None and "default" not in schema):
        return ""
    import json

    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _kind(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "$ref" in schema:
        return "section"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(each) for each in schema["anyOf"]))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"names to {_kind(values)}" if isinstance(values, dict) and values else "mapping"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema)
    return f"{kind} {bounds}".strip()


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(group: Any, path: tuple[str, ...] = ("zoo",)) -> Iterator[tuple[str, Any]]:
    """Every command with its full name, groups left out."""
    inner = getattr(group, "commands", None)
    if inner is None:
        yield " ".join(path), group
        return
    for name, command in inner.items():
        yield from commands(command, (*path, name))


def cli_reference() -> str:
    """Every command with its help, arguments and options."""
    text = ["# Command reference\n\nMade from the program. `zoo COMMAND --help` shows the same.\n\n"]
    for name, command in commands(typer.main.get_command(app)):
        text.append(f"## `{name}`\n\n{_help(command.help or '')}\n")
        rows = []
        for parameter in command.params:
            if parameter.name == "help" or getattr(parameter, "hidden", False):
                continue
            shown = ", ".join((*parameter.opts, *parameter.secondary_opts))
            if parameter.param_type_name == "argument":
                shown = parameter.metavar or str(parameter.name).upper()
            default = parameter.default if isinstance(parameter.default, str | int | float | Path) else None
            value = "" if default in (None, False, "") else f"`{default}`"
            rows.append([f"`{shown}`", value, getattr(parameter, "help", None) or ""])
        if rows:
            text.append(_table(["option", "default", "meaning"], rows) + "\n")
    return "".join(text)


def _help(text: str) -> str:
    """A docstring as Markdown: lines that call zoo become code."""
    paragraphs = [" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n")]
    shown = [f"```console\n$ {each}\n```" if re.match(r"(\w+=\w+ )?(zoo|echo) ", each) else each for each in paragraphs]
    return "\n\n".join(shown) + "\n"


# -- errors ------------------------------------------------------------------------------------------------------------


def error_reference() -> str:
    """Every error code, as `zoo explain` describes it."""
    text = ["# Error codes\n\nMade from the program. `zoo explain CODE` shows one; with `ZOO_LANG=zh` in Chinese.\n\n"]
    for code, each in explanations().items():
        exits = ", ".join(map(str, each.exit_codes))
        kind = f"exit code {exits}" if exits else f"HTTP status {each.status}" if each.status else "a finding, no error"
        text.append(f"## `{code}`\n\n*{kind}.* {each.texts['en']['cause']}\n\n{each.texts['en']['fix']}\n\n")
    return "".join(text)


# -- tables in pages ---------------------------------------------------------------------------------------------------


def checkpoint_table(words: list[str]) -> str:
    """Published checkpoints of families; words behind the first ``/`` are beginnings of their names."""
    families, _, beginnings = " ".join(words).partition("/")
    rows = []
    for family in families.split():
        for name in preset_names(family):
            if not beginnings or name.startswith(tuple(beginnings.split())):
                preset = load_preset(name)
                size = f"{preset.parameters:g} M" if preset.parameters else ""
                rows.append([f"`{name}`", size, preset.language, preset.licence, preset.description])
    return _table(["checkpoint", "parameters", "language", "licence", "what it is"], rows)


def recipe_table(words: list[str]) -> str:
    """Shipped recipes of folders."""
    rows = []
    for name in recipe_names():
        if name.split("/")[0] in words:
            recipe = load_recipe(name).recipe
            kind = recipe.task.get("name", PRETRAINING)
            rows.append([f"`{name}.yaml`", f"`{kind}`", f"`{recipe.model.init}`", recipe.description])
    return _table(["recipe", "task", "begins with", "what it is"], rows)
