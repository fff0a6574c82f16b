"""Every message has a Chinese text with the same placeholders; codes and JSON are English always."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.messages import fields, missing, search, stale
from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.messages import catalogue, language, translate
from zoo_cli.data.report import KINDS, Finding


def test_every_message_has_a_chinese_text() -> None:
    assert missing() == {}, "python tools/messages.py missing"
    assert stale() == []


def test_placeholders_agree() -> None:
    for english, chinese in catalogue().items():
        assert fields(english) == fields(chinese), english
        assert chinese.strip(), english
        assert len(english) - len(english.lstrip()) == len(chinese) - len(chinese.lstrip()), english


def test_chinese_texts_are_chinese() -> None:
    kept = [text for text, chinese in catalogue().items() if text == chinese]
    assert all(text in ("PaddlePaddle", "ONNX Runtime") or " install" in text or "fetch" in text for text in kept), kept


def test_the_source_can_be_read() -> None:
    assert len(search().templates) > 700
    assert len(search().codes) > 240


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "ZOO_LANG": "en"}, "en"),
        ({"LANG": "C", "ZOO_LANG": "ZH"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_language(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str) -> None:
    for name in ("ZOO_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_an_unknown_template_stays_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_LANG", "zh")
    assert translate("nobody has {translated} this") == "nobody has {translated} this"
    assert translate("error") == "错误"


def test_json_is_english(monkeypatch: pytest.MonkeyPatch) -> None:
    error = DataError("missing-file", "there is no such file", at=Location("a.txt"), fix="delete the file")
    finding = Finding("empty-text", "train", 3)
    assert "empty-text" in KINDS
    english = error.as_dict(), str(error)
    monkeypatch.setenv("ZOO_LANG", "zh")
    assert error.as_dict() == english[0]
    assert str(error) != english[1]
    assert error.message == "文件不存在"
    assert finding.message == "3 个文本为空"
    assert finding.english == "3 texts are empty"


def test_the_command_line_speaks_chinese(tmp_path: Path) -> None:
    def zoo(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if key not in ("ZOO_LANG", "LC_ALL", "LC_MESSAGES")}
        return subprocess.run(
            [sys.executable, "-m", "zoo_cli", *arguments],
            cwd=tmp_path,
            env={**clean, "PYTHONUTF8": "1", **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    wrong = ("finetune", "--recipe", "uie/msra.yaml", "train.epoch=3")
    shown = zoo(*wrong, LANG="zh_CN.UTF-8")
    assert shown.returncode == 2
    assert "未知的键 'train.epoch'" in shown.stderr
    assert "[unknown-key]" in shown.stderr
    assert "解决办法" in shown.stderr
    error = json.loads(zoo(*wrong, "--json", LANG="zh_CN.UTF-8").stdout)["error"]
    assert error["message"].startswith("unknown key")
