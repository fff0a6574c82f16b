"""From the name of a recipe to a checked `LoadedRecipe`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from zoo_cli import registry
from zoo_cli.base.errors import Location, UsageError, ZooError, raise_all
from zoo_cli.base.files import read_json
from zoo_cli.base.names import closest
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.checks import run_checks
from zoo_cli.recipe.layers import Layered, model_sections, value_at
from zoo_cli.recipe.overrides import parse_override
from zoo_cli.recipe.schema import SCRATCH, PretrainSection, Recipe
from zoo_cli.recipe.validation import Problem, validate
from zoo_cli.recipe.yaml12 import Document, parse

_PRESET = "preset"
"""Layer of what a published checkpoint says of itself, with its name."""
FLATTEN = "zoo_cli.models.config:flatten_legacy"
PRETRAINING = "pretraining"
"""Stands for the name of the task in recipes that pretrain."""


@dataclass
class LoadedRecipe:
    """A recipe that passed every check.

    Args:
        name: ``family/name`` as in `zoo recipes list`, or the stem of the user's file.
        path: the file.
        recipe: the sections.
        task: options of the task, of the class that its `TaskSpec` names; none where the recipe pretrains.
        layered: every value with its origin.
        tiny: whether the `tiny` values are laid over it.
    """

    name: str
    path: Path
    recipe: Recipe
    task: BaseModel
    layered: Layered
    tiny: bool

    @property
    def task_name(self) -> str:
        """Name of the task.

        Raises:
            UsageError: the recipe pretrains, and so has none (`no-task`).
        """
        if not self.recipe.task:
            raise UsageError(
                "no-task",
                "the recipe {name} has no task",
                fix="it is for `zoo pretrain`; fine-tune the result with a recipe whose model.init names its folder",
                name=self.name,
            )
        return self.recipe.task["name"]

    @property
    def pretraining(self) -> PretrainSection:
        """What is learnt from text without labels.

        Raises:
            UsageError: the recipe is for a task (`no-pretraining`).
        """
        if self.recipe.pretrain is None:
            raise UsageError(
                "no-pretraining",
                "the recipe {name} has no pretrain section",
                fix="`zoo recipes list --task pretraining` shows those that have one",
                name=self.name,
            )
        return self.recipe.pretrain

    @property
    def checkpoint(self) -> str | None:
        """The published checkpoint or model folder that the weights come from, or None for fresh weights."""
        model = self.recipe.model
        return None if model.is_fresh else model.init

    @property
    def preset(self) -> str | None:
        """The published checkpoint whose shape the model has, or None."""
        return preset_name(self.recipe.model.init)

    @property
    def own_config(self) -> dict[str, Any]:
        """`model.config` without what the checkpoint in `model.init` says of itself."""
        origins = {key: self.layered.origin(("model", "config", key)) for key in self.recipe.model.config}
        preset = {key for key, origin in origins.items() if origin and origin.layer.startswith(_PRESET)}
        return {key: value for key, value in self.recipe.model.config.items() if key not in preset}


def run_folder(loaded: LoadedRecipe, verb: str) -> Path:
    """Where a verb writes unless `--output-dir` says otherwise: ``runs/<family>/<name>/<verb>``, relative to the
    working directory, with ``.tiny`` behind the name of a tiny run."""
    family, _, name = loaded.name.rpartition("/")
    return Path("runs") / (family or loaded.recipe.model.family) / (f"{name}.tiny" if loaded.tiny else name) / verb


def recipe_folders() -> list[Path]:
    """Folders that hold recipes by name: those of `ZOO_RECIPE_PATH`, then the shipped ones."""
    own = [Path(part) for part in os.environ.get("ZOO_RECIPE_PATH", "").split(os.pathsep) if part]
    return [*own, resource_folder("recipes")]


def recipe_names() -> dict[str, Path]:
    """All recipes that can be named: ``uie/msra`` -> file. The first folder that has a name wins."""
    names: dict[str, Path] = {}
    for folder in recipe_folders():
        for path in sorted(folder.rglob("*.yaml")):
            names.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return names


def find_recipe(name: str) -> tuple[str, Path]:
    """Name and file of a recipe given by path or by name, with or without ``.yaml``.

    Raises:
        UsageError: there is none (`unknown-recipe`).
    """
    for candidate in (Path(name), Path(f"{name}.yaml")):
        if candidate.is_file():
            return candidate.stem, candidate
    known = recipe_names()
    short = name.removesuffix(".yaml").removesuffix(".yml")
    if short in known:
        return short, known[short]
    near = closest(short, known, most=3)
    raise UsageError(
        "unknown-recipe",
        "there is no recipe {name!r}, neither as a file nor by that name",
        fix="did you mean {near}?" if near else "`zoo recipes list` shows all names",
        name=name,
        near=near,
    )


def read_document(path: Path) -> Document:
    """Read a YAML mapping.

    Raises:
        UsageError: the file cannot be read, is not UTF-8 or YAML, or holds no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError("unreadable-file", "cannot be read: {reason}", at=Location.of(path), reason=reason) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(
            "encoding", "byte {byte} is not UTF-8", at=Location.of(path, line), byte=hex(error.object[error.start])
        ) from error
    document = parse(text, str(path))
    if not isinstance(document.value, dict):
        raise UsageError("not-a-mapping", "a recipe is a mapping of sections", at=Location.of(path, 1))
    return document


def preset_name(init: Any) -> str | None:
    """The published checkpoint that a value of `model.init` names, or None for a folder or a bare `scratch`."""
    if not isinstance(init, str) or init == SCRATCH:
        return None
    name = init.removeprefix(SCRATCH + ":")
    return name if (resource_folder("configs") / "models" / f"{name}.yaml").is_file() else None


def _lay_task_defaults(layered: Layered, task_name: Any, section: str | None, leave_out: str | None = None) -> None:
    path = resource_folder("configs") / "tasks" / f"{task_name}.yaml"
    if not isinstance(task_name, str) or not path.is_file():
        return
    document = read_document(path)
    tree = document.value.get(section, {}) if section else {k: v for k, v in document.value.items() if k != "tiny"}
    tree = {key: value for key, value in tree.items() if key != leave_out}
    layered.lay(tree, "task default", document, at=(section,) if section else ())


def _lay_profile(layered: Layered, name: Any) -> None:
    """Lay the values of a profile of `configs/deploy`; a check refuses names that there are not."""
    path = resource_folder("configs") / "deploy" / f"{name}.yaml"
    if isinstance(name, str) and path.is_file():
        document = read_document(path)
        layered.lay(document.value, f"profile {name}", document)


def _tiny_config(task_name: Any) -> dict[str, Any]:
    """Architecture values that a task gives the tiny model."""
    layered = Layered()
    _lay_task_defaults(layered, task_name, "tiny")
    return value_at(layered.value, "model", "config") or {}


def _lay_preset(layered: Layered, init: Any, section: tuple[str, ...]) -> str | None:
    """Lay family and configuration of the checkpoint that a section names; return its family."""
    name = preset_name(init)
    if name is None:
        return None
    document = read_document(resource_folder("configs") / "models" / f"{name}.yaml")
    layered.lay({key: document.value[key] for key in ("family", "config")}, f"{_PRESET} {name}", document, section)
    return document.value["family"]


def _lay_folder(layered: Layered, init: Any, section: tuple[str, ...]) -> str | None:
    """Lay the family of a model folder that a section names; return it, or None where the folder does not tell."""
    name = folder_architecture(init) if isinstance(init, str) else None
    if name is None:
        return None
    try:
        family = registry.family_of(name).name
    except UsageError:
        return None
    layered.lay({"family": family}, f"folder {init}", None, section)
    return family


def folder_architecture(init: str) -> str | None:
    """Class name in the configuration of a model folder, or of a run folder's best model; None if there is none."""
    for folder in (Path(init), Path(init) / "best"):
        for name in ("config.json", "model_config.json"):
            if not (folder / name).is_file():
                continue
            values = read_json(folder / name)
            if isinstance(values, dict):
                flat = registry.resolve(FLATTEN)(values, Location.of(folder / name))
                return next((each for each in flat.get("architectures") or () if isinstance(each, str)), None)
    return None


def _names_weights(parsed: Sequence[tuple[dict[str, Any], Document]], section: tuple[str, ...]) -> bool:
    """Whether the command line names weights for a model; in a tiny run they bring their own sizes and vocabulary."""
    inits = [value_at(tree, *section, "init") for tree, _ in parsed]
    return any(isinstance(init, str) and not init.startswith(SCRATCH) for init in inits)


def _sizes(layered: Layered, section: tuple[str, ...]) -> dict[str, Any]:
    """Architecture values and vocabulary of a section as they are now."""
    values = value_at(layered.value, *section) or {}
    return {key: deepcopy(values[key]) for key in ("config", "vocab") if key in values}


def compose(own: Document, parent: Document | None, overrides: Sequence[str], tiny: bool) -> Layered:
    """Lay all layers over one another. The values may still be wrong: `validate` looks at them."""
    sources = [("recipe", own)] if parent is None else [("extends", parent), ("recipe", own)]
    known = Layered()
    for layer, document in sources:
        known.lay(document.value, layer, document)
    parsed = [parse_override(text, known.value) for text in overrides]
    task_name = PRETRAINING if "pretrain" in known.value else value_at(known.value, "task", "name")

    profiles = [tree["deploy"] for tree in (known.value, *(tree for tree, _ in parsed)) if "deploy" in tree]
    layered = Layered()
    _lay_task_defaults(layered, task_name, None)
    _lay_profile(layered, profiles[-1] if profiles else None)
    families: dict[tuple[str, ...], Any] = {}
    for section in model_sections(known.value):
        own_inits = [value_at(tree, *section, "init") for tree, _ in parsed] if not tiny else []
        init = next(filter(None, reversed(own_inits)), None) or value_at(known.value, *section, "init")
        family = _lay_preset(layered, init, section) or _lay_folder(layered, init, section)
        families[section] = family or value_at(known.value, *section, "family")
    families = {section: family for section, family in families.items() if family in registry.FAMILIES}
    if tiny:
        # A tiny model is made from scratch: of the checkpoint it keeps the family only.
        layered = Layered()
        _lay_task_defaults(layered, task_name, None)
        _lay_profile(layered, profiles[-1] if profiles else None)
        for section, family in families.items():
            layered.lay({"family": family}, f"preset of {'.'.join(section)}.init", None, section)
    for layer, document in sources:
        layered.lay(
            {key: value for key, value in document.value.items() if key not in ("tiny", "extends")}, layer, document
        )
    if tiny:
        given = {path: _sizes(layered, path) for path in families if _names_weights(parsed, path)}
        for section, family in families.items():
            tiny_config = dict(registry.family(family).tiny)
            if section != ("model",):  # a student is like the tiny teacher, but of one layer
                tiny_config |= _tiny_config(task_name) | {"num_hidden_layers": 1}
            layered.lay({"init": SCRATCH, "config": tiny_config}, "tiny family", None, section)
        # Data of one's own stay as they are: only sample data take the place of all files.
        own_data = not any(value_at(document.value, "tiny", "data") for _, document in sources)
        _lay_task_defaults(layered, task_name, "tiny", "data" if own_data else None)
        for layer, document in sources:
            section = document.value.get("tiny")
            if isinstance(section, dict):
                layered.lay(section, f"{layer} tiny", document, at=("tiny",))
        for path, sizes in given.items():
            for key in _sizes(layered, path):
                del value_at(layered.value, *path)[key]
                layered.drop((*path, key))
            layered.lay(sizes, "recipe", None, path)
    for tree, document in parsed:
        layered.lay(tree, "command line", document)
    return layered


def _check_frame(document: Document) -> None:
    """Types of the two keys that are read before the layers are laid.

    Raises:
        UsageError: one has another type (`wrong-value`).
    """
    for key, kind, expected in (("extends", str, "the name of a recipe"), ("tiny", dict, "a mapping")):
        value = document.value.get(key)
        if value is not None and not isinstance(value, kind):
            raise UsageError(
                "wrong-value",
                "{key}: expected {expected}, found {value!r}",
                at=document.place((key,)),
                key=key,
                expected=expected,
                value=value,
            )


def _parent(own: Document, path: Path) -> Document | None:
    name = own.value.get("extends")
    if name is None:
        return None
    sibling = path.parent / name
    parent_path = sibling if sibling.is_file() else find_recipe(name)[1]
    parent = read_document(parent_path)
    _check_frame(parent)
    if "extends" in parent.value:
        raise UsageError(
            "extends-depth",
            "{name!r} extends another recipe itself; only one level is allowed",
            at=own.place(("extends",)),
            name=name,
        )
    return parent


def load_recipe(name: str, overrides: Sequence[str] = (), tiny: bool = False) -> LoadedRecipe:
    """Find, merge and check a recipe; imports no paddle.

    Args:
        name: name of a shipped recipe, or a path.
        overrides: ``key.sub=value``, parsed by the type of the key.
        tiny: lay the `tiny` values over it.

    Raises:
        UsageError: what is wrong, with its line; several faults come together as an `ErrorGroup`. A `tiny` section is
            checked too, also when it is not asked for.
    """
    full_name, path = find_recipe(name)
    own = read_document(path)
    _check_frame(own)
    parent = _parent(own, path)
    result: LoadedRecipe | None = None
    problems: list[Problem] = []
    has_tiny = any(document is not None and "tiny" in document.value for document in (own, parent))
    for variant in (tiny, not tiny) if has_tiny else (tiny,):
        layered = compose(own, parent, overrides if variant == tiny else (), variant)
        recipe, task_options, found = validate(layered)
        if recipe is not None and task_options is not None and not found:
            found = run_checks(recipe, task_options, layered)
            if variant == tiny and not found:
                result = LoadedRecipe(full_name, path, recipe, task_options, layered, tiny)
        known = {str(error) for _, error in problems}
        problems += [(at, error) for at, error in found if str(error) not in known]
    raise_all([_located(error, at, own) for at, error in problems])
    assert result is not None  # a variant without problems has a result
    return result


def _located(error: ZooError, at: Location | None, own: Document) -> ZooError:
    error.at = at or own.places[()]
    return error
