"""`key.sub=value` on the command line, read by the type that the schema gives the key."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter, ValidationError

from zoo_cli.base.errors import Location, UsageError, ZooError
from zoo_cli.recipe.validation import annotation_of
from zoo_cli.recipe.yaml12 import Document, Path, load_yaml


def parse_override(text: str, recipe: dict[str, Any]) -> tuple[dict[str, Any], Document]:
    """One override as a tree to lay over the recipe, and a document that locates it.

    A value is taken as text where the key holds text (`model.init=0`), otherwise as YAML 1.2; lists are written
    ``[a, b]``. The value may hold further equal signs.

    Args:
        text: ``"train.learning_rate=3e-5"``.
        recipe: the recipe's own values, which say which task and data format the key belongs to.

    Raises:
        UsageError: no ``=`` (`override-syntax`).
    """
    key, sign, raw = text.partition("=")
    path: Path = tuple(key.split("."))
    if not sign or not all(path):
        raise UsageError(
            "override-syntax", "{text!r} is not of the form key.sub=value", fix="for example train.epochs=5", text=text
        )
    value = _value(raw, annotation_of(path, recipe))
    tree: Any = value
    for part in reversed(path):
        tree = {part: tree}
    place = Location(f"override {text!r}")
    return tree, Document(tree, {path[:length]: place for length in range(len(path) + 1)})


def _value(raw: str, annotation: Any) -> Any:
    try:
        parsed = load_yaml(raw, "")
    except ZooError:
        return raw
    if annotation is Any or isinstance(parsed, dict):
        return parsed
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)

    def fits(value: Any) -> bool:
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError:
            return False
        return True

    structured = parsed is None or isinstance(parsed, list)
    candidates = [parsed, raw] if structured else [raw, parsed]
    return next((value for value in candidates if fits(value)), parsed)
