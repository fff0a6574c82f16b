"""Types of all sections at once: the recipe, the task's options, the data format's options, the architecture's values.

Every fault is found in one pass and becomes a `UsageError` with the place of the key in its file, what was expected,
and the nearest valid name.
"""

from __future__ import annotations

import difflib
import pathlib
import re
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from zoo_cli import registry
from zoo_cli.base.errors import Location, UsageError
from zoo_cli.base.names import closest
from zoo_cli.recipe.layers import Layered, model_sections, value_at
from zoo_cli.recipe.presets import preset_names
from zoo_cli.recipe.schema import Recipe, Section
from zoo_cli.recipe.yaml12 import Path

Problem = tuple[Location | None, UsageError]
FORMATS = "zoo_cli.data.formats:FORMATS"


def _format_options(name: Any) -> type[BaseModel] | None:
    formats = registry.resolve(FORMATS)
    return formats[name].options if isinstance(name, str) and name in formats else None


def _task_options(name: Any) -> type[BaseModel] | None:
    return registry.task(name).options if isinstance(name, str) and name in registry.TASKS else None


def _family_config(name: Any) -> type[BaseModel] | None:
    return registry.family(name).config if isinstance(name, str) and name in registry.FAMILIES else None


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    names = dict(model.model_fields)
    names.update({field.alias: field for field in model.model_fields.values() if field.alias})
    return names


def _sub_model(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _model_at(path: Path, recipe: dict[str, Any]) -> tuple[type[BaseModel] | None, Path]:
    """The class that describes the keys below the longest known prefix of `path`, and the rest of the path."""
    task = recipe.get("task")
    data = recipe.get("data")
    special: list[tuple[Path, Any]] = [
        (("task",), _task_options(task.get("name")) if isinstance(task, dict) else None),
        (("data", "options"), _format_options(data.get("format")) if isinstance(data, dict) else None),
        *(
            ((*section, "config"), _family_config(value_at(recipe, *section, "family")))
            for section in model_sections(recipe)
        ),
    ]
    if path[:1] == ("tiny",):
        path = path[1:]
    for prefix, options in special:
        if path[: len(prefix)] == prefix and len(path) > len(prefix) and path != ("task", "name"):
            return options, path[len(prefix) :]
    return Recipe, path


def _walk(model: type[BaseModel] | None, keys: Path) -> type[BaseModel] | None:
    """The class of the mapping that keys lead to from a mapping of class `model`."""
    rest = list(keys)
    while rest and model:
        field = _fields(model).get(str(rest.pop(0)))
        model = _sub_model(field.annotation) if field else None
        if field and rest and get_origin(field.annotation) is dict:
            rest.pop(0)  # a name that the user chose for one of several sections
    return model


def annotation_of(path: Path, recipe: dict[str, Any]) -> Any:
    """The type of a key with its constraints, or `Any` where the schema leaves it open or does not know the key."""
    model, rest = _model_at(path, recipe)
    model = _walk(model, rest[:-1])
    field = _fields(model).get(str(rest[-1])) if model and rest else None
    return _annotated(field) if field else Any


def _annotated(field: Any) -> Any:
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def key_names(path: Path, recipe: dict[str, Any]) -> list[str]:
    """The valid keys of the mapping at `path`."""
    model, rest = _model_at((*path, ""), recipe)
    model = _walk(model, rest[:-1])
    return list(_fields(model)) if model else []


def unknown_key(path: Path, names: list[str]) -> UsageError:
    """The error for a key that the schema does not have."""
    near = closest(str(path[-1]), names)
    return UsageError(
        "unknown-key",
        "unknown key {key!r}",
        fix="did you mean {near}?" if near else "known keys are {names}" if names else None,
        key=".".join(map(str, path)),
        near=near,
        names=", ".join(sorted(names)),
    )


def _silent_folder(init: str) -> UsageError:
    return UsageError(
        "unknown-family",
        "model.init: the folder {init!r} has no config.json with a class that zoo knows",
        fix="set model.family",
        init=init,
    )


def _unknown_init(init: str) -> UsageError:
    near = closest(init.removeprefix("scratch:"), preset_names())
    return UsageError(
        "unknown-checkpoint",
        "model.init: {init!r} is neither a published checkpoint nor a model folder",
        fix="did you mean {near}?" if near else "`zoo weights list` shows the checkpoints",
        init=init,
        near=near,
    )


def _wrong_value(path: Path, detail: Any) -> UsageError:
    expected = re.sub(r"^(Input|Value|String|List) should ", "", detail["msg"])
    expected = re.sub(r"^Value error, ", "", expected)
    expected = re.sub(r"^be ", "", expected).replace("a valid ", "a ").replace("a integer", "an integer")
    shown = repr(detail["input"])
    return UsageError(
        "wrong-value",
        "{key}: expected {expected}, but got {value}",
        key=".".join(map(str, path)),
        expected=expected,
        value=shown if len(shown) <= 60 else shown[:57] + "...",
    )


def _problems(error: ValidationError, prefix: Path, layered: Layered) -> list[Problem]:
    found: list[Problem] = []
    seen: set[Path] = set()
    for detail in error.errors():
        # A union reports each of its branches, named in the location; the key is the part that is in the tree.
        location = [part for part in detail["loc"] if not (isinstance(part, str) and re.search(r"[\[\]()\-]", part))]
        path: Path = (*prefix, *_existing(location, prefix, layered.value))
        if detail["type"] == "missing":
            path = (*prefix, *location)
            name = ".".join(map(str, path))
            problem = UsageError("missing-key", "the key {key!r} is missing", key=name)
            place = _place(path[:-1], layered)
            init = layered.value.get("model", {}).get("init")
            if path == ("model", "family") and isinstance(init, str) and init != "scratch":
                # A checkpoint or a model folder would have said which family it is.
                problem = _silent_folder(init) if pathlib.Path(init).is_dir() else _unknown_init(init)
                place = _place(("model", "init"), layered)
        elif detail["type"] == "extra_forbidden":
            path = (*prefix, *location)
            problem = unknown_key(path, key_names(path[:-1], layered.value))
            place = _place(path, layered)
        else:
            problem = _wrong_value(path, detail)
            place = _place(path, layered)
        if path not in seen:
            seen.add(path)
            found.append((place, problem))
    return found


def _existing(location: list[Any], prefix: Path, tree: Any) -> list[Any]:
    for key in prefix:
        tree = tree[key]
    known = []
    for part in location:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            break
        known.append(part)
    return known


def _place(path: Path, layered: Layered) -> Location | None:
    origin = layered.origin(path)
    return origin.place if origin else None


def validate(layered: Layered) -> tuple[Recipe | None, BaseModel | None, list[Problem]]:
    """Check the types of a merged recipe.

    Returns:
        The recipe and its task options (None where they could not be made), and all faults.
    """
    problems: list[Problem] = []
    tree = layered.value
    recipe: Recipe | None = None
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        problems += _problems(error, (), layered)
    options = _validate_task(layered, problems)
    for section in model_sections(tree):
        _validate_family(section, layered, problems)
    data = tree.get("data")
    if isinstance(data, dict) and isinstance(data.get("format"), str):
        _validate_format(data, layered, problems)
    return recipe, options, problems


def _validate_task(layered: Layered, problems: list[Problem]) -> BaseModel | None:
    section = layered.value.get("task")
    if not section and "pretrain" in layered.value:
        return Section()  # learns from text alone
    if section is None:
        problems.append((None, UsageError("missing-key", "the key {key!r} is missing", key="task")))
    if not isinstance(section, dict):
        return None
    name = section.get("name")
    if not isinstance(name, str):
        missing = "name" not in section
        if missing:
            # Without the task its keys are not known; a slip of the pen in this one is.
            near = difflib.get_close_matches("name", section, n=1)
            problems += [(_place(("task", key), layered), unknown_key(("task", key), ["name"])) for key in near]
        text = "the key 'task.name' is missing" if missing else "task.name: expected a string, but got {name!r}"
        code = "missing-key" if missing else "wrong-value"
        fix = "choose one of: {names}"
        error = UsageError(code, text, fix=fix, name=name, names=", ".join(registry.TASKS))
        problems.append((_place(("task",) if missing else ("task", "name"), layered), error))
        return None
    try:
        spec = registry.task(name)
    except UsageError as error:
        problems.append((_place(("task", "name"), layered), error))
        return None
    try:
        return spec.options.model_validate({key: value for key, value in section.items() if key != "name"})
    except ValidationError as error:
        problems += _problems(error, ("task",), layered)
        return None


def _validate_family(section: Path, layered: Layered, problems: list[Problem]) -> None:
    """Family and configuration of a section that describes a model."""
    name = value_at(layered.value, *map(str, section), "family")
    if not isinstance(name, str):
        return
    try:
        spec = registry.family(name)
    except UsageError as error:
        problems.append((_place((*section, "family"), layered), error))
        return
    values = value_at(layered.value, *map(str, section), "config")
    if not isinstance(values, dict):
        return
    fields = _fields(spec.config)
    for key, value in values.items():
        path: Path = (*section, "config", key)
        if key not in fields:
            problems.append((_place(path, layered), unknown_key(path, list(fields))))
            continue
        try:
            TypeAdapter(_annotated(fields[key])).validate_python(value, strict=True)
        except ValidationError as error:
            problems += [(_place(path, layered), _wrong_value(path, error.errors()[0]))]


def _validate_format(section: dict[str, Any], layered: Layered, problems: list[Problem]) -> None:
    formats = registry.resolve(FORMATS)
    name = section["format"]
    if name not in formats:
        near = closest(name, formats)
        error = UsageError(
            "unknown-format",
            "there is no data format {name!r}",
            fix="did you mean {near}?" if near else "choose one of: {names}",
            name=name,
            near=near,
            names=", ".join(formats),
        )
        problems.append((_place(("data", "format"), layered), error))
        return
    options = section.get("options")
    if isinstance(options, dict):
        try:
            formats[name].options.model_validate(options)
        except ValidationError as error:
            problems += _problems(error, ("data", "options"), layered)
