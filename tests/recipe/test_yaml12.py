"""YAML 1.2 scalars, positions and refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.base.errors import Location, ZooError
from zoo_cli.recipe.render import yaml_scalar
from zoo_cli.recipe.yaml12 import load_yaml, parse


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-5", 3e-5),
        ("1.0", 1.0),
        (".5", 0.5),
        ("10", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("2026-11-22", "2026-11-22"),
        ("'3'", "3"),
        ('"true"', "true"),
        (".inf", math.inf),
        ("人名", "人名"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    loaded = load_yaml(f"key: {text}", "f.yaml")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_positions() -> None:
    document = parse("a: 1\nb:\n  c: [x, y]\n", "f.yaml")
    assert document.places[("b", "c")] == Location("f.yaml", 3, 3)
    assert document.places[("b", "c", 1)] == Location("f.yaml", 3, 10)
    assert document.place(("b", "c", "missing")) == Location("f.yaml", 3, 3)


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: 1\nb: 2\na: 3\n", "duplicate-key", 3),
        ("a: 1\nb: !python/object:os.system x\n", "yaml-tag", 2),
        ("a: !!str 1\n", "yaml-tag", 1),
        ("a: 1\n? [x, y]\n: 1\n", "yaml-key", 2),
        ("a: 1\nb: [1\n", "yaml-syntax", 3),
        ("a: b: c\n", "yaml-syntax", 1),
        ("a: 1\n---\nb: 2\n", "yaml-syntax", 2),
        ("\ta: 1\n", "yaml-syntax", 1),
        ("a: *nowhere\n", "yaml-syntax", 1),
    ],
)
def test_refused(text: str, code: str, line: int) -> None:
    with pytest.raises(ZooError) as caught:
        parse(text, "f.yaml")
    assert caught.value.code == code
    assert caught.value.at is not None
    assert caught.value.at.line == line


def test_all_duplicates_are_reported_at_once() -> None:
    with pytest.raises(ZooError) as caught:
        parse("a: 1\na: 2\nb: {c: 1, c: 2}\n", "f.yaml")
    assert [error.at.line for error in caught.value.errors] == [2, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["a: &x [*x]\n", "a: " + "[" * 3000, "a: '" + "x" * 1_100_000 + "'", "\x00"])
def test_hostile_files_end_in_an_error(text: str) -> None:
    with pytest.raises(ZooError):
        parse(text, "f.yaml")


def test_alias_bomb() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ZooError) as caught:
        parse("\n".join(lines), "f.yaml")
    assert caught.value.code == "yaml-size"


@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        parse(text, "f.yaml")
    except ZooError:
        return


@given(
    st.one_of(
        st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.integers(), st.booleans(), st.none()
    )
)
def test_written_scalars_read_back(value: object) -> None:
    assert load_yaml(f"key: {yaml_scalar(value)}", "f.yaml") == {"key": value}
