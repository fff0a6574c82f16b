"""Do ELECTRA's and ERNIE-Health's discriminators learn more than the most frequent answer from real text?

    ZOO_DATA=FOLDER python benchmarks/discriminators.py --output FOLDER [--steps 1000] [--only electra,ernie-health]

Models of 4 layers of width 256 with generators a quarter as wide take the shipped pretraining recipes from a start of
neighbours: ELECTRA on `pretrain_text/zh_mixed.txt`, ERNIE-Health on the texts of CBLUE's training files. The vocabulary
is `vocab/bert-base-chinese_vocab.txt`. The accuracies on held-out documents go to `discriminators.md`, beside those of
always giving the most frequent answer, and losses beside those of who knows the shares of answers only. Runs that are
finished are not repeated; others go on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.files import write_text  # noqa: E402
from zoo_cli.engine.pretrain import pretrain  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402

SIZE = {
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "embedding_size": 256,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
}
GENERATOR = "{hidden_size: 64, num_attention_heads: 1, intermediate_size: 256}"
RUNS: dict[str, dict[str, Any]] = {
    "electra": {
        "recipe": "electra/pretrain.yaml",
        "batch_size": 32,
        "learning_rate": 5e-4,
        "raw_text": {"documents": "line"},
    },
    "ernie-health": {
        "recipe": "ernie-health/pretrain.yaml",
        "batch_size": 16,  # texts, each in two maskings
        "learning_rate": 5e-4,
        "raw_text": {"segmenter": "jieba"},
    },
}
MEDICAL = ("CMeEE", "CMeIE", "CHIP-CTC", "CHIP-STS", "KUAKE-QIC", "KUAKE-QQR")
KEYS = ("text", "text1", "text2", "query", "query1", "query2")
NAMES = {
    "rtd": "replaced or not",
    "mts": "the original among candidates",
    "csp": "which views belong together",
    "mlm": "the generator's masked tokens",
}


def text_of(name: str, root: Path, output: Path) -> Path:
    """The file of raw text that a model learns from, a document in each line for ERNIE-Health."""
    if name == "electra":
        return root / "pretrain_text" / "zh_mixed.txt"
    path = output / "medical.txt"
    if not path.is_file():
        rows = [
            json.loads(line)
            for folder in MEDICAL
            for line in (root / "cblue" / folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        texts = dict.fromkeys(row[key].strip() for row in rows for key in KEYS if key in row)
        write_text(path, "\n\n".join(text for text in texts if text) + "\n")
    return path


def run(name: str, root: Path, output: Path, steps: int) -> dict[str, Any]:
    """Pretrain a model; return the last scores on held-out documents."""
    folder, settings = output / name, RUNS[name]
    if not (folder / "result.json").is_file():
        values = {
            "model.vocab": str(root / "vocab" / "bert-base-chinese_vocab.txt"),
            **{f"model.config.{key}": value for key, value in SIZE.items()},
            "model.config.generator_config": GENERATOR,
            "pretrain.start": "neighbours",
            "pretrain.corpora": str(text_of(name, root, output)),
            "pretrain.max_length": 64,
            "pretrain.eval_batches": 20,
            "train.max_steps": steps,
            "train.batch_size": settings["batch_size"],
            "train.learning_rate": settings["learning_rate"],
            "train.warmup_steps": steps // 20,
            "train.eval_steps": max(1, steps // 4),
            "train.save_steps": max(1, steps // 4),
        }
        values |= {f"pretrain.raw_text.{key}": value for key, value in settings["raw_text"].items()}
        loaded = load_recipe(settings["recipe"], [f"{key}={value}" for key, value in values.items()])
        pretrain(loaded, folder, resume=folder.is_dir())
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row["kind"] == "dev"][-1]


def main() -> None:
    """Train, and write the table."""
    parser = argparse.ArgumentParser(description="What discriminators learn from real text.")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--only", default=",".join(RUNS))
    arguments = parser.parse_args()
    root = Path(os.environ["ZOO_DATA"]).resolve()
    arguments.output.mkdir(parents=True, exist_ok=True)
    columns = [
        "model",
        "question",
        "accuracy",
        "most frequent answer",
        "precision",
        "recall",
        "loss",
        "of shares alone",
    ]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in arguments.only.split(","):
        scores = run(name, root, arguments.output, arguments.steps)
        for key in [key.removesuffix("_baseline") for key in scores if key.endswith("_baseline")]:
            numbers = [
                scores.get(f"{key}_{score}") for score in ("accuracy", "baseline", "precision", "recall", "loss")
            ]
            share = scores[f"{key}_baseline"]
            # What a question with two answers costs him who knows only how often each is right.
            entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
            numbers.append(entropy if f"{key}_precision" in scores else None)
            cells = ["" if number is None else f"{number:.3f}" for number in numbers]
            lines.append(f"| {name} | {NAMES.get(key, key)} | {' | '.join(cells)} |")
    write_text(arguments.output / "discriminators.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
