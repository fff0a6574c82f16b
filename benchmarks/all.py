"""Run every benchmark whose needs are met, and put what they print on one page.

    python benchmarks/all.py [--paddlenlp PEER/bin/python] [--transformers PEER/bin/python] [--vocab vocab.txt]
        [--texts sentences.txt] [--tags bio.txt] [--data FOLDER] [--output FOLDER]

The scripts are those beside this one; without a peer's interpreter, or without the public data sets, those that need
them are left out and named. Texts, tags and vocabulary are the bundled samples unless given: enough to compare two
programs with one another, too small for figures about a real vocabulary. Those that train models of their own take
hours, and go on where they were when they are called again with the same `--output`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SAMPLES = HERE.parent / "zoo_cli" / "data" / "samples"

# Script -> its options here, and those that it cannot do without.
SCRIPTS: dict[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "step_parity.py": (("paddlenlp", "transformers"), frozenset()),
    "tokenizer_speed.py": (("paddlenlp",), frozenset()),
    "corpus.py": (("paddlenlp", "vocab", "texts"), frozenset()),
    "training.py": (("paddlenlp", "vocab", "tags"), frozenset({"paddlenlp"})),
    "pretraining.py": (("paddlenlp", "transformers", "vocab", "texts"), frozenset({"paddlenlp"})),
    "extraction.py": (("paddlenlp", "vocab", "tags"), frozenset()),
    "data_distillation.py": (("vocab", "tags"), frozenset()),
    "generation.py": (("paddlenlp", "transformers"), frozenset()),
    "serving.py": (("paddlenlp", "vocab", "tags"), frozenset()),
    "distillation.py": (("runs",), frozenset({"data"})),
    "compression.py": (("vocab", "runs"), frozenset({"data"})),
    "discriminators.py": (("runs",), frozenset({"data"})),
    "learning.py": (("runs",), frozenset({"data"})),
}
# Files in BIO format have an option of their own here, and each script that keeps runs has a folder of its own.
SPELLED = {"tags": "texts", "runs": "output"}


def command(script: str, given: dict[str, str | None]) -> list[str] | None:
    """The call of a script, or None where something that it needs was not given."""
    options, needed = SCRIPTS[script]
    if any(given[name] is None for name in needed):
        return None
    words = [sys.executable, str(HERE / script)]
    for name in options:
        value = given[name]
        if value is not None and name == "runs":
            value = str(Path(value) / Path(script).stem)
        if value is not None:
            words += [f"--{SPELLED.get(name, name)}", value]
    return words


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", help="interpreter that has paddlenlp")
    parser.add_argument("--transformers", help="interpreter that has torch and transformers")
    parser.add_argument("--vocab", default=str(SAMPLES / "vocab" / "wordpiece" / "vocab.txt"))
    parser.add_argument("--texts", default=str(SAMPLES / "corpus" / "zh.txt"), help="a text with a sentence a line")
    parser.add_argument("--tags", default=str(SAMPLES / "msra" / "train.txt"), help="a file in BIO format")
    parser.add_argument("--data", help="folder of the public data sets, which scripts find as ZOO_DATA")
    parser.add_argument("--output", type=Path, default=Path("build/benchmarks"))
    parser.add_argument("scripts", nargs="*", help="only these")
    arguments = parser.parse_args()
    given = {key: getattr(arguments, key) for key in ("paddlenlp", "transformers", "vocab", "texts", "tags", "data")}
    given["runs"] = str(arguments.output)
    environment = {**os.environ, **({"ZOO_DATA": arguments.data} if arguments.data else {})}
    arguments.output.mkdir(parents=True, exist_ok=True)
    page, failed = ["# Benchmarks\n"], []
    for script in arguments.scripts or SCRIPTS:
        words = command(script, given)
        if words is None:
            needs = " and ".join(f"`--{name}`" for name in sorted(SCRIPTS[script][1]))
            page.append(f"\n## {script}\n\nLeft out: needs {needs}.\n")
            continue
        print(f"{script} ...", file=sys.stderr, flush=True)
        start = time.monotonic()
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        seconds = time.monotonic() - start
        if done.returncode:
            failed.append(script)
        shown = done.stdout if done.returncode == 0 else done.stdout + done.stderr
        call = shlex.join(["python", f"benchmarks/{script}", *words[2:]])
        page.append(f"\n## {script}\n\n    {call}\n\n{seconds:.0f} s, exit code {done.returncode}\n\n```\n{shown}```\n")
    target = arguments.output / "benchmarks.md"
    target.write_text("".join(page), encoding="utf-8")
    print(target)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
