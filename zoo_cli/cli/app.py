"""`zoo`: the command line."""

from __future__ import annotations

import os
import re
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from zoo_cli import __version__
from zoo_cli.base.console import show_error
from zoo_cli.base.errors import Location, MemoryLimitError, PlatformError, UsageError, ZooError
from zoo_cli.cli import data, dev, recipes, runs, weights
from zoo_cli.cli.bench import bench
from zoo_cli.cli.chat import chat
from zoo_cli.cli.distill import distill
from zoo_cli.cli.doctor import doctor
from zoo_cli.cli.evaluate import evaluate
from zoo_cli.cli.explain import explain
from zoo_cli.cli.export import export
from zoo_cli.cli.finetune import finetune
from zoo_cli.cli.generate import generate
from zoo_cli.cli.help import Group, wrong_call
from zoo_cli.cli.init import init
from zoo_cli.cli.package import package
from zoo_cli.cli.plan import plan
from zoo_cli.cli.predict import predict
from zoo_cli.cli.pretrain import pretrain
from zoo_cli.cli.prune import prune
from zoo_cli.cli.pull import pull
from zoo_cli.cli.push import push
from zoo_cli.cli.quantize import quantize
from zoo_cli.cli.run import run
from zoo_cli.cli.serve import serve
from zoo_cli.cli.sweep import sweep
from zoo_cli.cli.verify import verify

app = typer.Typer(
    name="zoo",
    cls=Group,
    help="Pretrain, fine-tune, compress, export and serve the models of the PaddleNLP zoo, each from one YAML recipe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(run)
app.command()(pretrain)
app.command()(finetune)
app.command()(distill)
app.command()(sweep)
app.command()(prune)
app.command()(evaluate)
app.command()(predict)
app.command()(generate)
app.command()(chat)
app.command()(quantize)
app.command()(export)
app.command()(verify)
app.command()(package)
app.command()(push)
app.command()(pull)
app.command()(bench)
app.command()(plan)
app.command()(serve)
app.command()(init)
app.command()(doctor)
app.command()(explain)
app.add_typer(runs.app, name="runs")
app.add_typer(recipes.app, name="recipes")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
app.add_typer(weights.cache_app, name="cache")
app.add_typer(dev.app, name="dev")


def _show_version(value: bool) -> None:
    if value:
        print(f"zoo {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.", envvar="ZOO_DEBUG")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    import logging

    if debug:
        os.environ["ZOO_DEBUG"] = "1"
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", stream=sys.stderr)


def main() -> None:
    """Run the command line; every error that a user can cause ends in a message and its exit code."""
    wants_json = "--json" in sys.argv
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Chinese where the terminal has ASCII only
    try:
        status = app(prog_name="zoo", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status)
    except KeyboardInterrupt:
        sys.exit(130)
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        _stop_writing()
    except BrokenPipeError:
        _stop_writing()
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error, file=sys.stderr)
            sys.exit(2)
        if isinstance(error, typer.Abort) and isinstance(error.__context__, KeyboardInterrupt):
            sys.exit(130)
        if os.environ.get("ZOO_DEBUG"):
            raise
        failure = _failure(error)
        show_error(failure, as_json=wants_json)
        sys.exit(failure.exit_code)


def _stop_writing() -> NoReturn:
    """End well although the reader of our output went away, as `head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _failure(error: Exception) -> ZooError:
    """What is told of an exception."""
    if isinstance(error, ZooError):
        return error
    if hasattr(error, "format_message"):  # of Typer, or in its older versions of Click
        return wrong_call(error)
    if isinstance(error, typer.Abort):
        fix = "give the values as options"
        return UsageError("no-answer", "standard input ended before the question was answered", fix=fix)
    if isinstance(error, MemoryError):
        return MemoryLimitError("out-of-memory", "out of memory")
    if isinstance(error, OSError):
        place = Location.of(error.filename) if isinstance(error.filename, str) else None
        return PlatformError("system", "{reason}", at=place, reason=error.strerror or str(error))
    if said := re.search(r"\(os error (\d+)\)", str(error)):  # of a library in Rust, e.g. safetensors on a full disk
        return PlatformError("system", "{reason}", reason=os.strerror(int(said[1])))
    fix = "this is a fault of zoo; run again as `zoo --debug ...` and report what it prints"
    return ZooError("bug", "{kind}: {reason}", fix=fix, kind=type(error).__name__, reason=str(error))
