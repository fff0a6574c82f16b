"""Recipes written out: as understood, with origins, as a template for a new one, and as a JSON schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.cells import cell_len

from zoo_cli import registry
from zoo_cli.base.errors import UsageError
from zoo_cli.base.messages import translate
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.layers import Origin
from zoo_cli.recipe.loading import LoadedRecipe, preset_name
from zoo_cli.recipe.schema import DataSection, Recipe, Section, TrainSection
from zoo_cli.recipe.validation import FORMATS
from zoo_cli.recipe.yaml12 import Path, scalar

DISTILLATION = "zoo_cli.distill.strategies:resolved"
_WHOLE = "A recipe: one file for every verb. `zoo recipes validate FILE` checks it."
_INIT = "A published checkpoint (`zoo weights list`), a model folder, or scratch:NAME for fresh weights."
_VOCAB = "Vocabulary file or tokenizer folder of a model from scratch."
_USUAL = ["epochs", "batch_size", "learning_rate", "warmup_ratio", "eval_steps", "patience", "seed"]  # of training
_PLAIN = re.compile(r"[^\W\d][\w./-]*(:[\w./-]+)*", re.UNICODE)


def resolved_tree(loaded: LoadedRecipe) -> dict[str, Any]:
    """All values of a recipe, defaults included, without the `tiny` section and what it extends."""
    tree = loaded.recipe.model_dump(mode="json", exclude={"tiny", "extends"})
    if loaded.recipe.distill is not None:
        tree["distill"] = registry.resolve(DISTILLATION)(loaded.recipe)
    if loaded.recipe.task:
        tree["task"] = {"name": loaded.task_name, **loaded.task.model_dump(mode="json")}
    if loaded.recipe.data.format is not None:
        options = registry.resolve(FORMATS)[loaded.recipe.data.format].options
        tree["data"]["options"] = options.model_validate(loaded.recipe.data.options).model_dump(mode="json")
    return tree


def yaml_scalar(value: Any) -> str:
    """A scalar as YAML 1.2 that reads back as the same value."""
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and scalar(value) == value else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False)


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{yaml_scalar(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    return yaml_scalar(value)


def _lines(tree: dict[str, Any], path: Path, indent: str) -> Iterator[tuple[str, Path, bool]]:
    for key, value in tree.items():
        here = (*path, key)
        if isinstance(value, dict) and value:
            yield f"{indent}{yaml_scalar(key)}:", here, False
            yield from _lines(value, here, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            yield f"{indent}{yaml_scalar(key)}:", here, False
            for index, item in enumerate(value):
                yield f"{indent}  - {_flow(item)}", (*here, index), True
        else:
            yield f"{indent}{yaml_scalar(key)}: {_flow(value)}", here, True


def to_yaml(loaded: LoadedRecipe, defaults: bool, origins: bool) -> str:
    """The recipe as YAML.

    Args:
        loaded: the recipe.
        defaults: with the values that nobody set.
        origins: with a comment behind each value that says which layer set it.
    """
    tree = (
        resolved_tree(loaded)
        if defaults
        else {key: value for key, value in loaded.layered.value.items() if key not in ("tiny", "extends")}
    )
    lines = list(_lines(tree, (), ""))
    if not origins:
        return "".join(f"{text}\n" for text, _, _ in lines)
    width = min(60, max(cell_len(text) for text, _, _ in lines))
    result = []
    for text, path, is_leaf in lines:
        # Chinese characters are two columns wide in a terminal.
        gap = " " * max(0, width - cell_len(text))
        comment = f"{gap}  # {_origin(loaded.layered.origins.get(path))}" if is_leaf else ""
        result.append(f"{text}{comment}\n")
    return "".join(result)


def _origin(origin: Origin | None) -> str:
    if origin is None:
        return "default"
    if origin.place is None:
        return origin.layer
    path = FilePath(origin.place.file)
    for root in (FilePath.cwd(), resource_folder("recipes").parent):
        if path.is_relative_to(root):
            path = path.relative_to(root)
    return f"{origin.layer} {replace(origin.place, file=str(path), column=None)}"


def _explanation(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _comment(text: str, indent: str = "") -> str:
    return f"{indent}# {translate(text)}\n"


def template_comments() -> Iterator[str]:
    """All that `new_recipe` may explain, in English."""
    yield from (_WHOLE, _INIT, _VOCAB)
    sections: list[type[BaseModel]] = [DataSection]
    sections += [spec.options for spec in map(registry.task, registry.TASKS) if spec.formats]
    for section in sections:
        yield from (_explanation(field) for name, field in section.model_fields.items() if name != "name")
    yield from (_explanation(TrainSection.model_fields[name]) for name in _USUAL)


def _commented(section: type[Section], names: list[str], indent: str, active: dict[str, Any]) -> Iterator[str]:
    for name in names:
        field = section.model_fields[name]
        yield _comment(_explanation(field), indent)
        value = active.get(name, field.get_default(call_default_factory=True))
        if isinstance(value, BaseModel):
            value = value.model_dump(mode="json")
        yield f"{indent}{'' if name in active else '# '}{name}: {_flow(value)}\n"


def new_recipe(
    family: str,
    task: str,
    init: str | None,
    train: str,
    data_format: str | None,
    task_values: Mapping[str, Any] | None = None,
    data_values: Mapping[str, Any] | None = None,
) -> str:
    """Text of a recipe with comments in the user's language.

    Args:
        family: model family; a published checkpoint in `init` overrules it.
        task: task name.
        init: published checkpoint or model folder.
        train: training file.
        data_format: how the file is written; by default the task's first format.
        task_values: values of `task` that are to be set.
        data_values: values of `data` that are to be set; `dev` takes the place of `dev_fraction`.

    Raises:
        UsageError: there is no such family or task.
    """
    spec = registry.task(task)
    registry.family(family)
    if not spec.formats:
        fix = "`zoo export --from FOLDER task.name={task}`"
        raise UsageError("no-training", "nothing is learnt for {task!r}", fix=fix, task=task)
    lines = [
        _comment(_WHOLE),
        "version: 1\n",
        'description: ""\n',
        "\nmodel:\n",
        _comment(_INIT, "  "),
        f"  init: {yaml_scalar(init or 'scratch')}\n",
    ]
    if init is None or preset_name(init) is None:
        lines.append(f"  family: {family}\n")
    if init is None:
        lines += [_comment(_VOCAB, "  "), "  vocab: vocab.txt\n"]
    lines += ["\ntask:\n", f"  name: {task}\n"]
    lines += _commented(
        spec.options, [name for name in spec.options.model_fields if name != "name"], "  ", dict(task_values or {})
    )
    lines.append("\ndata:\n")
    active = {"train": train, "format": data_format or spec.formats[0], **(data_values or {})}
    if "dev" not in active:
        active.setdefault("dev_fraction", 0.1)
    lines += _commented(DataSection, list(DataSection.model_fields), "  ", active)
    lines.append("\ntrain:\n")
    lines += _commented(TrainSection, _USUAL, "  ", {"epochs": 3.0, "batch_size": 32, "learning_rate": 5e-5})
    return "".join(lines)


def json_schema() -> dict[str, Any]:
    """The JSON schema of recipes, with the options of every task, for editors that check YAML."""
    schema = Recipe.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    branches = []
    for name in registry.TASKS:
        branch = registry.task(name).options.model_json_schema(ref_template="#/$defs/{model}")
        definitions.update(branch.pop("$defs", {}))
        branch["properties"] = {"name": {"const": name}, **branch.get("properties", {})}
        branch["required"] = ["name", *branch.get("required", [])]
        branch["title"] = name
        branches.append(branch)
    schema["properties"]["task"] = {"description": schema["properties"]["task"]["description"], "oneOf": branches}
    families = list(registry.FAMILIES)
    for section in ("ModelSection", "StudentSection"):
        definitions[section]["properties"]["family"]["enum"] = families
        # A published checkpoint implies the family.
        definitions[section]["required"] = []
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "zoo recipe"
    return schema
