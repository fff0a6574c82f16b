"""Errors: what users and programs see of them."""

from __future__ import annotations

import pickle

import pytest

from zoo_cli.base import errors, messages
from zoo_cli.base.errors import ArtifactError, DataError, ErrorGroup, Location, UsageError, ZooError, raise_all

EXIT_CODES = {
    "ZooError": 1,
    "UsageError": 2,
    "DataError": 3,
    "ArtifactError": 4,
    "PlatformError": 5,
    "GateError": 6,
    "MemoryLimitError": 7,
    "DivergedError": 8,
    "PreemptedError": 75,
    "InterruptedByUser": 130,
}


def sample() -> DataError:
    return DataError(
        "bad-offset",
        "span {start}:{end} is outside of the text {text!r}",
        at=Location("a.json", 3, 7),
        fix="use offsets below {end}",
        start=2,
        end=9,
        text="{braces}",
    )


def test_exit_codes() -> None:
    classes = {name: value.exit_code for name, value in vars(errors).items() if name in EXIT_CODES}
    assert classes == EXIT_CODES


def test_message_place_and_fix() -> None:
    error = sample()
    assert error.message == "span 2:9 is outside of the text '{braces}'"
    assert error.fix == "use offsets below 9"
    assert str(error) == "a.json:3:7: span 2:9 is outside of the text '{braces}' (use offsets below 9)"


def test_as_dict() -> None:
    assert sample().as_dict() == {
        "code": "bad-offset",
        "message": "span 2:9 is outside of the text '{braces}'",
        "fix": "use offsets below 9",
        "file": "a.json",
        "line": 3,
        "column": 7,
        "exit_code": 3,
    }
    bare = UsageError("x", "no").as_dict()
    assert (bare["file"], bare["line"], bare["fix"]) == (None, None, None)


@pytest.mark.parametrize(
    ("place", "text"), [(Location("f"), "f"), (Location("f", 1), "f:1"), (Location("f", 1, 2), "f:1:2")]
)
def test_location(place: Location, text: str) -> None:
    assert str(place) == text


def test_translated_when_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    error = sample()
    monkeypatch.setitem(messages.catalogue(), error.template, "片段 {start}:{end} 超出文本")
    monkeypatch.setenv("ZOO_LANG", "zh_CN")
    assert error.message == "片段 2:9 超出文本"
    monkeypatch.setenv("ZOO_LANG", "en")
    assert error.message.startswith("span")


def test_group_takes_the_exit_code_of_the_first() -> None:
    group = ErrorGroup([sample(), ArtifactError("b", "second")])
    assert group.exit_code == 3
    assert str(group).splitlines() == [str(sample()), "second"]


def test_groups_in_a_group_are_taken_apart() -> None:
    group = ErrorGroup([ErrorGroup([UsageError("a", "one"), UsageError("b", "two")]), UsageError("c", "three")])
    assert [error.code for error in group.errors] == ["a", "b", "c"]


def test_raise_all() -> None:
    raise_all([])
    with pytest.raises(UsageError) as one:
        raise_all([UsageError("a", "one")])
    assert not isinstance(one.value, ErrorGroup)
    with pytest.raises(ErrorGroup):
        raise_all([UsageError("a", "one"), UsageError("b", "two")])


@pytest.mark.parametrize("error", [sample(), ErrorGroup([sample(), UsageError("b", "two {n}", n=2)])])
def test_survives_the_way_to_another_process(error: ZooError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.as_dict() == error.as_dict()
