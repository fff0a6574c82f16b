"""Do small language models learn to write from real texts alone? Their scores beside what needs no model, and samples.

    ZOO_DATA=FOLDER python benchmarks/learning.py --output FOLDER [--only wikitext2,csl,advertisegen,kdconv]

Models of 3 layers of width 192 start from random weights and take the shipped recipes with the settings below:
UNIMO-Text on the titles of CSL (848 rows) and the advertisements of AdvertiseGen (749), PLATO on KdConv, GPT on
WikiText-2.
`ZOO_DATA` has `csl/ts_{train,dev}.tsv`, `advertisegen/{train,dev}.jsonl`, `kdconv/{film,music,travel}_dev.json`,
`wikitext2/{train,dev}.txt` and `vocab/bert-base-chinese_vocab.txt`; the vocabularies of GPT and PLATO are learnt from
their training texts. Runs that are finished are not repeated; those that are not go on.

Baselines: for the loss the frequencies of tokens in the training rows' gold texts; for the texts `another's`, the gold
text of a training row drawn at random, and `beginning`, the source's first characters, as many as gold texts have on
the average.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
from pathlib import Path
from typing import Any

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import numpy as np  # noqa: E402

from zoo_cli.base.files import read_json, write_text  # noqa: E402
from zoo_cli.cli.app import app  # noqa: E402
from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.engine.answering import load_pipeline  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402
from zoo_cli.tasks.features import IGNORE_INDEX  # noqa: E402
from zoo_cli.tasks.text_scores import TextScores  # noqa: E402

SIZE = {"num_hidden_layers": 3, "hidden_size": 192, "num_attention_heads": 6, "intermediate_size": 768}
SAMPLES = 4
KDCONV = [f"kdconv/{topic}_dev.json" for topic in ("film", "music", "travel")]

# Recipe, checkpoint whose configuration is made smaller, vocabulary, files and the rest of the settings.
RUNS: dict[str, dict[str, Any]] = {
    "wikitext2": {
        "recipe": "gpt/wikitext.yaml",
        "init": "gpt2-en",
        "vocab": ("GPTTokenizer", 8000, ["wikitext2/train.txt"]),
        "train": ["wikitext2/train.txt"],
        "dev": ["wikitext2/dev.txt"],
        "task": {"max_length": 128, "stride": 64, "decoding.max_new_tokens": 64},
        "steps": 900,
        "learning_rate": 2e-3,
        "evaluations": 5,
    },
    "csl": {
        "recipe": "unimo-text/csl_title.yaml",
        "init": "unimo-text-1.0",
        "train": ["csl/ts_train.tsv"],
        "dev": ["csl/ts_dev.tsv"],
        "task": {"max_length": 224, "max_target_length": 32, "decoding.max_new_tokens": 32},
        "steps": 500,
        "learning_rate": 1e-3,
        "evaluations": 2,
    },
    "advertisegen": {
        "recipe": "unimo-text/advertisegen.yaml",
        "init": "unimo-text-1.0",
        "train": ["advertisegen/train.jsonl"],
        "dev": ["advertisegen/dev.jsonl"],
        "task": {"max_length": 192, "max_target_length": 100, "decoding.max_new_tokens": 100},
        "steps": 500,
        "learning_rate": 1e-3,
        "evaluations": 2,
    },
    "kdconv": {
        "recipe": "plato/kdconv.yaml",
        "init": "plato-mini",
        "vocab": ("UnifiedTransformerTokenizer", 6000, KDCONV),
        "train": KDCONV,
        "dev": [],
        "task": {
            "max_length": 192,
            "max_knowledge_length": 64,
            "max_response_length": 48,
            "decoding.max_new_tokens": 40,
        },
        "data": {"dev_fraction": 0.1},
        "steps": 2000,
        "learning_rate": 1e-3,
        "evaluations": 2,
    },
}


def strings(value: Any) -> list[str]:
    """All texts in a JSON value."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in strings(part)]


def vocabulary(name: str, root: Path, output: Path) -> Path:
    """The run's vocabulary, trained on its training texts unless it is the published one."""
    if "vocab" not in RUNS[name]:
        return root / "vocab" / "bert-base-chinese_vocab.txt"
    kind, size, files = RUNS[name]["vocab"]
    folder = output / f"{name}-vocab"
    if not folder.is_dir():
        texts = output / f"{name}.txt"
        with texts.open("w", encoding="utf-8") as handle:
            for file in files:
                content = (root / file).read_text(encoding="utf-8")
                lines = strings(json.loads(content)) if file.endswith(".json") else content.splitlines()
                handle.writelines(f"{line}\n" for line in lines if line.strip())
        words = ["data", "corpus", "vocab", str(texts), "-o", str(folder)]
        app([*words, "--tokenizer-class", kind, "--size", str(size)], standalone_mode=False)
    return folder


def recipe(name: str, root: Path, output: Path) -> LoadedRecipe:
    """The shipped recipe with the settings of a run."""
    run = RUNS[name]
    values = {
        "model.init": f"scratch:{run['init']}",
        "model.vocab": str(vocabulary(name, root, output)),
        **{f"model.config.{key}": value for key, value in {**SIZE, "hidden_dropout_prob": 0.1}.items()},
        **{f"data.{part}": json.dumps([str(root / file) for file in run[part]]) for part in ("train", "dev")},
        "data.test": "[]",
        **{f"data.{key}": value for key, value in run.get("data", {}).items()},
        **{f"task.{key}": value for key, value in run["task"].items()},
        "train.max_steps": run["steps"],
        "train.batch_size": 16,
        "train.gradient_accumulation": 1,
        "train.learning_rate": run["learning_rate"],
        "train.warmup_ratio": 0.1,
        "train.eval_steps": run["steps"] // run["evaluations"],
        "train.log_steps": 50,
    }
    return load_recipe(run["recipe"], [f"{key}={value}" for key, value in values.items()])


def curves(folder: Path) -> list[str]:
    """A line for each evaluation, and the training loss by steps."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [f"{row['step']}: {row['loss']:.2f}" for row in rows if row["kind"] == "train"]
    lines = ["training loss " + ", ".join(losses)]
    hidden = ("kind", "step", "epoch", "seconds")
    for row in rows:
        if row["kind"] == "dev":
            scores = {key: value for key, value in row.items() if isinstance(value, int | float) and key not in hidden}
            lines.append(f"step {row['step']}: " + ", ".join(f"{key} {value:.4g}" for key, value in scores.items()))
    return lines


def writing_baselines(task: Any, parts: dict[str, list[Any]]) -> dict[str, dict[str, float]]:
    """Scores of texts that nobody wrote for the row."""
    draw = random.Random(0)
    others = [reference for example in parts["train"] for reference in task.references(example)]
    length = round(statistics.mean(map(len, others)))
    scores = {"another's": TextScores(), "beginning": TextScores()}
    for example in parts["dev"]:
        references = task.references(example)
        source = getattr(example, "text", None) or example.history[-1]
        scores["another's"].add(draw.choice(others), references)
        scores["beginning"].add(source[:length], references)
    return {name: each.result() for name, each in scores.items()}


def frequency_loss(task: Any, parts: dict[str, list[Any]]) -> float:
    """Mean loss of the development rows' gold tokens under the frequencies, plus one, of the training rows'."""

    def counts(part: str) -> np.ndarray:
        examples = task.adapt(parts[part], training=True)
        labels = [feature["labels"] for example in examples for feature in task.encode(example, training=True)]
        ids = np.concatenate([row.ravel() for row in labels])
        return np.bincount(ids[ids != IGNORE_INDEX], minlength=len(task.tokenizer))

    train, dev = counts("train") + 1, counts("dev")
    return float(-(dev * np.log(train / train.sum())).sum() / dev.sum())


def show(name: str, loaded: LoadedRecipe, folder: Path) -> list[str]:
    """What a finished run has to show, as Markdown."""
    parts = read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("train", "dev"))
    pipeline = load_pipeline(folder / "best")
    task: Any = pipeline.task
    lines = [f"## {name}", "", *(f"- {line}" for line in curves(folder))]
    loss = frequency_loss(task, parts)
    lines.append(f"- baseline frequencies: loss {loss:.4g}, perplexity {math.exp(loss):.4g}")
    if loaded.task_name == "language_modeling":
        chosen = [example for example in parts["dev"] if len(example.text) > 400][:SAMPLES]
        requests = [{"text": " ".join(example.text.split()[:24])} for example in chosen]
        gold = ["" for _ in chosen]
    else:
        for kind, scores in writing_baselines(task, parts).items():
            lines.append(f"- baseline {kind}: " + ", ".join(f"{key} {value:.4g}" for key, value in scores.items()))
        chosen = random.Random(1).sample(parts["dev"], SAMPLES)
        requests = [task.request_of(example) for example in chosen]
        gold = [task.references(example)[0] for example in chosen]
    lines += ["", "Samples:", ""]
    for request, reference, answer in zip(requests, gold, pipeline.stream(requests), strict=True):
        source = request.get("text") or " / ".join(request["history"])
        lines += [f"- {source[:120]} → **{answer['text']}**" + (f" (gold: {reference})" if reference else "")]
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and of learning.md")
    parser.add_argument("--only", default=",".join(RUNS), help="names of runs, with commas")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    root = Path(os.environ["ZOO_DATA"]).resolve()
    page: list[str] = ["# Language models from scratch", ""]
    for name in arguments.only.split(","):
        folder = arguments.output / name
        loaded = recipe(name, root, arguments.output)
        result = folder / "result.json"
        if not (result.is_file() and read_json(result)):
            finetune(loaded, folder, resume=True)
        page += show(name, loaded, folder)
        write_text(arguments.output / "learning.md", "\n".join(page) + "\n")
    print("\n".join(page))


if __name__ == "__main__":
    main()
