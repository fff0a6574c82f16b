"""Every error code is explained, in both languages, and nothing is explained that does not exist."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from tools.messages import search
from zoo_cli.base.errors import UsageError
from zoo_cli.base.explanations import explain, explanations
from zoo_cli.cli.app import app
from zoo_cli.data.report import KINDS
from zoo_cli.serve.refusals import STATUS_OF_CODE

# Made of parts.
UNSEEN = {"unknown-task"}


def test_every_code_is_explained_with_its_exit_codes() -> None:
    known = explanations()
    for code, exits in search().codes.items():
        assert code in known, f"configs/messages/codes does not explain {code!r}"
        assert exits <= set(known[code].exit_codes), f"{code}: exit codes {sorted(exits)}"


def test_refusals_and_findings_are_explained() -> None:
    known = explanations()
    assert KINDS.keys() <= known.keys()
    for code, status in STATUS_OF_CODE.items():
        if not known[code].exit_codes:
            assert known[code].status == status, code


def test_nothing_is_explained_that_does_not_exist() -> None:
    real = {*search().codes, *KINDS, *UNSEEN}
    assert [code for code, each in explanations().items() if each.status is None and code not in real] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_are_whole_sentences(language: str) -> None:
    for code, each in explanations().items():
        for text in each.texts[language].values():
            assert text.strip() == text, code
            assert text.endswith((".", "`", "。", "`。")), f"{code}: {text}"
        assert each.texts["en"].keys() == each.texts["zh"].keys() == {"cause", "fix"}


def test_unknown_code_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="bad-offset") as caught:
        explain("bad-ofset")
    assert caught.value.code == "unknown-error"


def test_command_in_both_languages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_LANG", "zh")
    shown = CliRunner().invoke(app, ["explain", "[run-unfinished]"]).output
    assert "--resume" in shown
    assert "运行" in shown
    monkeypatch.setenv("ZOO_LANG", "en")
    assert "interrupted" in CliRunner().invoke(app, ["explain", "run-unfinished"]).output


def test_command_lists_all_as_json() -> None:
    listed = json.loads(CliRunner().invoke(app, ["explain", "--json"]).output)
    assert [row["code"] for row in listed] == list(explanations())
    assert {"code": "queue-full", "status": 429}.items() <= next(
        row for row in listed if row["code"] == "queue-full"
    ).items()
