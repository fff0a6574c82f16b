"""Dialogues: KdConv, LCCC, and JSON lines of turns. Each turn but the first is the response to those before it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import DialogueExample
from zoo_cli.data.formats import NoOptions
from zoo_cli.data.lines import field, json_items, json_rows, kind, text_lines

_SPACE_BETWEEN_WIDE = re.compile(r"(?<=[^\x00-\x7f]) +| +(?=[^\x00-\x7f])")


def read_kdconv(path: Path, options: NoOptions) -> Iterator[DialogueExample]:
    """KdConv (Zhou et al., 2020): one JSON list of ``{"messages": [{"message", "attrs": [...]}]}``.

    The `attrs` of a message, ``{"name", "attrname", "attrvalue"}``, are what its speaker knows; facts of earlier turns
    are left out, as their texts hold them.
    """
    for at, dialogue in json_items(path):
        turns: list[str] = []
        for message in field(dialogue, "messages", list, at):
            facts = [
                " ".join(field(fact, key, str, at) for key in ("name", "attrname", "attrvalue"))
                for fact in field(message, "attrs", list, at, [])
            ]
            turn = field(message, "message", str, at)
            if turns:
                yield DialogueExample(list(turns), turn, facts, source=at)
            turns.append(turn)


def read_lccc(path: Path, options: NoOptions) -> Iterator[DialogueExample]:
    """LCCC (Wang et al., 2020): a JSON list of dialogues, JSON lines with one each, or tab-separated turns a line.

    Dialogues are lists of turns, in which a space parts any two words or characters. Spaces next to Chinese characters
    are removed.
    """
    for at, turns in _lccc_dialogues(path):
        plain = [_SPACE_BETWEEN_WIDE.sub("", turn.strip()) for turn in turns]
        yield from _responses([turn for turn in plain if turn], at)


def _lccc_dialogues(path: Path) -> Iterator[tuple[Location, list[str]]]:
    first = next((line.strip() for _, line in text_lines(path) if line.strip()), "")
    if not first.startswith("["):
        for number, line in text_lines(path):
            if line.strip():
                yield Location.of(path, number), line.split("\t")
        return
    rows = json_items(path) if not _is_dialogue(first) else _json_lines(path)
    for at, turns in rows:
        yield at, _strings(turns, "the dialogue", at)


def _is_dialogue(line: str) -> bool:
    """Whether a line is a JSON list of strings, and not the beginning of a file that is one list of dialogues."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError:
        return False
    return isinstance(value, list) and bool(value) and isinstance(value[0], str)


def _json_lines(path: Path) -> Iterator[tuple[Location, Any]]:
    for number, line in text_lines(path):
        if line.strip():
            at = Location.of(path, number)
            try:
                yield at, json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError("broken-json", "not valid JSON: {reason}", at=at, reason=error.msg) from error


def read_dialogue(path: Path, options: NoOptions) -> Iterator[DialogueExample]:
    """JSON lines, or one JSON list, of dialogues in either of two forms.

    ``{"history": [...], "response": "..."}`` is one response to some turns; ``{"turns": [...]}`` is a whole dialogue,
    each turn but the first being a response. Both may have `knowledge` and `goal` (a string, or a list of strings or of
    lists of strings, as in DuConv), `persona` (a string or a list of strings) and `roles`, a number for each turn and
    the response.
    """
    for at, row in json_rows(path):
        facts = [*_facts(row, "goal", at), *_facts(row, "knowledge", at)]
        persona = _facts(row, "persona", at)
        roles = _roles(row, at)
        if "turns" in row:
            yield from _responses(_strings(row["turns"], "'turns'", at), at, facts, persona, roles)
            continue
        history = field(row, "history", (str, list), at)
        turns = [history] if isinstance(history, str) else _strings(history, "'history'", at)
        if not turns:
            raise DataError("no-turns", "the dialogue has no turn to respond to", at=at)
        response = field(row, "response", str, at) if row.get("response") is not None else None
        if roles is not None and len(roles) != len(turns) + 1:
            raise _role_count(roles, len(turns) + 1, at)
        yield DialogueExample(turns, response, facts, persona, roles, at)


def _responses(
    turns: list[str],
    at: Location,
    facts: Sequence[str] = (),
    persona: Sequence[str] = (),
    roles: list[int] | None = None,
) -> Iterator[DialogueExample]:
    if len(turns) < 2:
        raise DataError("no-turns", "a dialogue needs two turns or more", at=at)
    if roles is not None and len(roles) != len(turns):
        raise _role_count(roles, len(turns), at)
    for index in range(1, len(turns)):
        spoken = None if roles is None else roles[: index + 1]
        yield DialogueExample(turns[:index], turns[index], list(facts), list(persona), spoken, at)


def _role_count(roles: list[int], expected: int, at: Location) -> DataError:
    return DataError("role-count", "{found} roles for {expected} turns", at=at, found=len(roles), expected=expected)


def _roles(row: dict[str, Any], at: Location) -> list[int] | None:
    if row.get("roles") is None:
        return None
    roles = field(row, "roles", list, at)
    if not all(type(role) is int and role >= 0 for role in roles):
        raise DataError("wrong-type", "'roles' holds something else than numbers from 0", at=at)
    return roles


def _facts(row: dict[str, Any], key: str, at: Location) -> list[str]:
    """The strings of a member that may be missing, a string, a list of strings, or a list of lists of strings."""
    if row.get(key) is None:
        return []
    value = field(row, key, (str, list), at)
    if isinstance(value, str):
        return [value] if value else []
    return [
        " ".join(_strings(fact, f"{key!r}", at)) if isinstance(fact, list) else _string(fact, key, at) for fact in value
    ]


def _string(value: Any, key: str, at: Location) -> str:
    if not isinstance(value, str):
        raise DataError("wrong-type", "an item of {key!r} is {found}, not a string", at=at, key=key, found=kind(value))
    return value


def _strings(value: Any, name: str, at: Location) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError("wrong-type", "{name} is not a list of strings", at=at, name=name)
    return value
