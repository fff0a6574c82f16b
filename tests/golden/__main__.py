"""`python -m tests.golden FOLDER...`: replay folders of reference cases."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.golden.outcome import Outcome


def replay(path: Path, vocabs: Path | None = None) -> Iterator[Outcome]:
    """Replay a case, a tokenizer file, or every one below a folder.

    Args:
        path: a folder with `meta.json` (model) or `cases.json` (extraction), a tokenizer's JSON file, or a folder of
            these.
        vocabs: folder of vocabularies; the folder ``vocabs`` beside the tokenizer's file unless given.
    """
    if path.suffix == ".json" and path.is_file():
        yield run("tokenizers", "replay_tokenizer", path.stem, path, vocabs or path.parent / "vocabs")
    elif (path / "meta.json").is_file():
        yield run("replay", "replay_model", path.name, path)
    elif (path / "cases.json").is_file():
        yield run("extraction", "replay_extraction", path.name, path, vocabs)
    elif path.is_dir():
        for entry in sorted(path.iterdir()):
            if entry.suffix == ".json" or (entry.is_dir() and entry.name != "vocabs"):
                yield from replay(entry, vocabs)
    elif path.is_file():
        yield Outcome(path.name, "skipped", detail="not a case")
    else:
        yield Outcome(str(path), "not supported", detail="there is no such folder")


def run(module: str, function: str, name: str, *arguments: Any) -> Outcome:
    """Run one kind of replay, imported when it is needed.

    It returns an `Outcome`, or a list of (part, whether it agrees, largest difference or what differs). An error is a
    difference: the reference gave a result, and a broken case must not hide those after it.
    """
    try:
        found = getattr(import_module(f"tests.golden.{module}"), function)(*arguments)
    except Exception as error:
        return Outcome(name, "differs", detail=f"{type(error).__name__}: {error}")
    return found if isinstance(found, Outcome) else summary(name, found)


def summary(name: str, parts: list[tuple[str, bool, str]]) -> Outcome:
    """One outcome of many parts: what differs, else the largest difference where they say one."""
    wrong = [f"{part}: {text}" for part, agrees, text in parts if not agrees]
    if wrong or not parts:
        return Outcome(name, "differs", len(parts), detail="; ".join(wrong) or "nothing was compared")
    differences = [float(text) for _, _, text in parts if text]
    return Outcome(name, "ok", len(parts), max(differences, default=0.0))


def main(arguments: list[str] | None = None) -> int:
    """Print one line a case; 1 when one differs or is not supported, or when nothing was compared."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="a case, or a folder of cases")
    parser.add_argument("--vocabs", type=Path, help="folder of vocabularies for tokenizers")
    options = parser.parse_args(arguments)
    compared = failed = 0
    for folder in options.folders:
        for outcome in replay(folder, options.vocabs):
            print(outcome, flush=True)
            compared += outcome.compared
            failed += outcome.status in ("differs", "not supported")
    if not compared:
        print("nothing was compared")
    return 1 if failed or not compared else 0


if __name__ == "__main__":
    sys.exit(main())
