"""Every command explains itself in the user's language, with an example that its own parser accepts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.cli.conftest import Zoo
from tests.cli.parsing import ROOT, calls, commands, parse
from zoo_cli.base.messages import catalogue
from zoo_cli.cli.help import Page, texts, wrap

ALL = dict(commands())


def page(path: tuple[str, ...]) -> str:
    """What `zoo ... --help` shows."""
    command, context = ROOT, Page(ROOT, info_name="zoo")
    for name in path:
        command = command.commands[name]
        context = Page(command, parent=context, info_name=name)
    return context.get_help()


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_an_example_that_is_right(path: tuple[str, ...]) -> None:
    found = [words for line in page(path).splitlines() for words in calls(line.strip())]
    own = [words for words in found if tuple(words[: len(path)]) == path]
    assert own, f"the help of `zoo {' '.join(path)}` has no example"
    for words in found:
        parse(words)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_described(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        if not getattr(parameter, "hidden", False):
            assert getattr(parameter, "help", None) or parameter.metavar, f"zoo {' '.join(path)}: {parameter.name}"
    shown = page(path)
    assert shown.startswith(f"Usage: zoo {' '.join(path)} [OPTIONS]")
    assert all(each in shown for parameter in ALL[path].params for each in parameter.opts if each.startswith("-"))


def test_every_help_text_has_a_chinese_one() -> None:
    assert [(path, text) for text, path in texts(ROOT) if text not in catalogue()] == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_fit_a_terminal(monkeypatch: pytest.MonkeyPatch, language: str) -> None:
    monkeypatch.setenv("ZOO_LANG", language)
    monkeypatch.setenv("COLUMNS", "80")
    groups = {path[:length] for path in ALL for length in range(len(path))}
    for path in [*ALL, *groups]:
        for line in page(path).splitlines():
            example = any(calls(line.strip()))
            assert example or cell_len(line) <= 80, f"zoo {' '.join(path)}: {line}"


@given(st.text("ab ，。（）好的", max_size=60), st.integers(4, 20))
def test_wrapping_loses_nothing(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    for line in lines:
        assert cell_len(line) <= width or " " not in line
        assert line == line.rstrip()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ("finetune --help", 0, "Options:"),
        ("recipes", 2, "Commands:"),
        ("finetun", 2, "error: there is no command 'finetun' [wrong-call]\n  fix: did you mean 'finetune'?"),
        ("recipes shw", 2, "did you mean 'show'?"),
        ("finetune", 2, "error: '--recipe' / '-r' is missing [wrong-call]\n  fix: `zoo finetune --help` shows"),
        ("finetune --recip x", 2, "error: there is no option --recip [wrong-call]\n  fix: did you mean"),
        ("finetune --seed x -r uie/msra", 2, "error: '--seed': "),
        ("doctor now", 2, "error: now is one word too many [wrong-call]"),
        ("recipes show", 2, "error: 'recipe' is missing [wrong-call]"),
        ("finetune -r", 2, "error: '-r' needs a value [wrong-call]"),
    ],
)
def test_wrong_calls_say_what_is_right(zoo: Zoo, words: str, status: int, said: str) -> None:
    code, out, err = zoo(*words.split())
    assert code == status
    assert said in (err if status else out)
