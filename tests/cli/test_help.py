"""Every command explains itself, with an example that its own parser accepts."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.cli.parsing import calls, commands, parse
from zoo_cli.cli.app import app

ALL = dict(commands())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_an_example_that_is_right(path: tuple[str, ...]) -> None:
    found = [words for line in (ALL[path].help or "").splitlines() for words in calls(line.strip())]
    own = [words for words in found if tuple(words[: len(path)]) == path]
    assert own, f"the help of `zoo {' '.join(path)}` has no example"
    for words in found:
        parse(words)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_described(path: tuple[str, ...]) -> None:
    for parameter in ALL[path].params:
        if parameter.name != "help" and not getattr(parameter, "hidden", False):
            assert getattr(parameter, "help", None) or parameter.metavar, f"zoo {' '.join(path)}: {parameter.name}"
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert f"zoo {' '.join(path)}" in shown.output
