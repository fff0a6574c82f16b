"""Plain text as documents."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError
from zoo_cli.data.readers import read

TEXT = "\n = Lamp = \n \n A lamp gives light . \n \n = = Use = = \n \n In houses . \n = Map = \n A map .\n"


def documents(folder: Path, text: str, document: str) -> list[tuple[str, int]]:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8", newline="")
    return [(each.text, each.source.line) for each in read(path, "documents", {"document": document})]  # type: ignore[union-attr]


def test_lines_and_paragraphs(tmp_path: Path) -> None:
    text = "a\nb\n\n \n c \r\n\nd"
    assert documents(tmp_path, text, "line") == [("a", 1), ("b", 2), ("c", 5), ("d", 7)]
    assert documents(tmp_path, text, "paragraph") == [("a\nb", 1), ("c", 5), ("d", 7)]
    assert documents(tmp_path, text, "file") == [("a\nb\n\n \n c \n\nd\n", 1)]


def test_articles(tmp_path: Path) -> None:
    (first, _), (second, line) = documents(tmp_path, TEXT, "article")
    assert "Use" in first and "Map" not in first
    assert second == " = Map = \n A map .\n" and line == 9
    assert first + second == TEXT


@settings(deadline=None)
@given(st.lists(st.sampled_from(["", " ", "a b", " = X = ", " = = Y = = ", "= Z ="]), max_size=8))
def test_articles_together_are_the_file(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    folder = tmp_path_factory.mktemp("text")
    if not text.strip():
        with pytest.raises(DataError) as caught:
            documents(folder, text, "article")
        assert caught.value.code == "empty-data"
        return
    found = [each for each, _ in documents(folder, text, "article")]
    assert "".join(found) == text
    assert "".join(each for each, _ in documents(folder, text, "file")) == text
