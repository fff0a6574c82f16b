"""Sentence boundaries of Chinese and English."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.data.corpus.sentences import split_lines, split_sentences

CASES = [
    ("今天天气很好。我们去公园吧！你来吗？", ["今天天气很好。", "我们去公园吧！", "你来吗？"]),
    ("他说：“你好。”然后走了。", ["他说：“你好。”", "然后走了。"]),
    ("真的吗？！太好了……好吧", ["真的吗？！", "太好了……", "好吧"]),
    ("第一行\n第二行。\r\n\n第三行", ["第一行", "第二行。", "第三行"]),
    ("增长3.5%，共1,000.00元。", ["增长3.5%，共1,000.00元。"]),
    ("It rains. We stay at home! Do you?", ["It rains.", "We stay at home!", "Do you?"]),
    ("Dr. Smith met Mr. J. R. Jones at 10 a.m. on Monday. They talked.",
     ["Dr. Smith met Mr. J. R. Jones at 10 a.m. on Monday.", "They talked."]),
    ("He left at 10 p.m. The next day was quiet.", ["He left at 10 p.m.", "The next day was quiet."]),
    ("The U.S. Army came. It won.", ["The U.S. Army came.", "It won."]),
    ("See e.g. the map, fig. 3 or Prof. Li.", ["See e.g. the map, fig. 3 or Prof. Li."]),
    ('"Stop!" he cried. "Why?" She knew.', ['"Stop!" he cried.', '"Why?"', "She knew."]),
    ("Version 2.0 is out. www.example.com has it.", ["Version 2.0 is out. www.example.com has it."]),
    ("Wait... what? No.", ["Wait... what?", "No."]),
    ("1. First point. 2. Second point.", ["1. First point.", "2. Second point."]),
    ("", []),
    ("  \n\t ", []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_sentences(text: str, expected: list[str]) -> None:
    assert split_sentences(text) == expected


@given(st.text(st.sampled_from("天a A.!?。！？”\"' \n\r\u2028x1…"), max_size=80))
def test_no_character_is_lost_and_none_added(text: str) -> None:
    found = split_sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(sentence == sentence.strip() != "" for sentence in found)


def test_lines() -> None:
    assert split_lines("一。二\n\n 三 \r\n") == ["一。二", "三"]
