"""`zoo chat`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli.cli import decoding, options

if TYPE_CHECKING:
    from zoo_cli.runtime.pipeline import Pipeline

HELP = """/reset          forget the dialogue so far
/params         show the decoding options
/params K=V ... change decoding options, e.g. /params top_k=5 temperature=0.8
/quit           end (as Ctrl-D does)"""


def chat(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.FromOrName = None,
    knowledge: Annotated[
        list[str] | None, typer.Option("--knowledge", help="A fact to talk about; may be repeated.")
    ] = None,
    persona: Annotated[
        list[str] | None,
        typer.Option("--persona", help="A sentence that says what the model is like; may be repeated."),
    ] = None,
    params: Annotated[
        list[str] | None, typer.Option("--param", help="Decoding option, e.g. top_k=5; may be repeated.")
    ] = None,
    tiny: options.Tiny = False,
    offline: options.Offline = False,
    device: options.Device = "cpu",
) -> None:
    """Talk with a dialogue model in the terminal; /help names the commands.

    zoo chat --from plato-mini --param top_k=5

    zoo chat --from runs/plato/kdconv/finetune

    zoo chat --recipe plato/lccc.yaml --tiny
    """
    from zoo_cli.base.console import say
    from zoo_cli.base.errors import UsageError
    from zoo_cli.cli.jobs import recipe_of, source_of
    from zoo_cli.cli.progress import go_offline

    changes = decoding.parse_parameters(params or [])
    if offline:
        go_offline()
    source = decoding.find_source(source)
    loaded = None if source is not None and recipe is None else recipe_of(recipe, source, overrides, tiny)
    pipeline = decoding.open_generator(source_of(loaded, source), device)
    if pipeline.task.name != "dialogue":
        raise UsageError(
            "no-dialogue",
            "the model was made for the task {task!r}, which has no turns",
            fix="use `zoo generate`",
            task=pipeline.task.name,
        )
    session = Session(pipeline, changes, {"knowledge": knowledge or [], "persona": persona or []})
    say("talk to the model; /help names the commands, /quit ends")
    for line in _lines():
        if not session.take(line):
            break


class Session:
    """A dialogue in progress.

    Args:
        pipeline: the model.
        changes: decoding options that differ from its own.
        background: `knowledge` and `persona` of every request.
    """

    def __init__(self, pipeline: Pipeline, changes: dict[str, Any], background: dict[str, list[str]]) -> None:
        self._pipeline = pipeline
        self._changes = changes
        self._background = background
        self._turns: list[str] = []

    def take(self, line: str) -> bool:
        """Carry out a command, or reply to a turn; false ends the session."""
        from zoo_cli.base.console import say, show_error
        from zoo_cli.base.errors import ZooError

        text = line.strip()
        try:
            match text.split():
                case []:
                    pass
                case ["/quit"]:
                    return False
                case ["/help"]:
                    say("{text}", text=HELP)
                case ["/reset"]:
                    self._turns = []
                    say("the dialogue so far is forgotten")
                case ["/params", *settings]:
                    self._change(settings)
                case [command, *_] if command.startswith("/"):
                    say("there is no command {command}; /help names them", command=command)
                case _:
                    self._reply(text)
        except ZooError as error:
            show_error(error)
        except KeyboardInterrupt:
            say("")
        return True

    def _change(self, settings: list[str]) -> None:
        """Change decoding options and show them."""
        from zoo_cli.base.console import say

        base = self._pipeline.task.options.decoding
        changes = self._changes | decoding.parse_parameters(settings)
        merged = base.changed(decoding.checked(changes))
        self._changes = changes
        say("{text}", text="\n".join(f"{name}={value}" for name, value in merged.model_dump().items()))

    def _reply(self, text: str) -> None:
        """Show the reply to a turn while it is written; turn and reply become part of the dialogue at its end."""
        from zoo_cli.runtime.generation import AnswerStream

        request = {
            "text": text,
            "history": self._turns,
            "decoding": {**self._changes, "num_return_sequences": 1},
            **self._background,
        }
        stream = AnswerStream(self._pipeline, request)
        try:
            for piece in stream:
                print(piece, end="", flush=True)
        finally:
            print(flush=True)
        self._turns = [*self._turns, text, stream.answer["text"]]


def _lines() -> Iterator[str]:
    """What the user types, or the lines of standard input; Ctrl-C leaves a line that is begun."""
    if not sys.stdin.isatty():
        yield from sys.stdin
        return
    import readline  # noqa: F401  (arrow keys and history for `input`)

    from zoo_cli.base.console import say

    while True:
        try:
            yield input("> ")
        except EOFError:
            return
        except KeyboardInterrupt:
            say("")
        except UnicodeDecodeError:
            say("the line is not UTF-8")
