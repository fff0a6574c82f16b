"""Does pretraining pay off? Fine-tuning from a pretrained encoder against the same model from random weights.

    ZOO_DATA=FOLDER python benchmarks/transfer.py --encoder RUN/best --output FOLDER [--steps 300] [--seeds 3]

`ZOO_DATA` has `thucnews_titles/{train,dev}.txt` and `cluener/{train,dev}.json`. Both models have the encoder's
configuration and vocabulary, see the same batches in the same order, and take the same number of steps with the same
settings; the better of the two learning rates is taken for each, by the first seed. Runs that are finished are not
repeated. Means and spreads over the seeds go to `transfer.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.files import read_json, write_text  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.setup import find_model_folder  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402

TASKS: dict[str, dict[str, Any]] = {
    "titles": {
        "recipe": "ernie-3.0/tnews.yaml",
        "files": ("thucnews_titles/train.txt", "thucnews_titles/dev.txt"),
        "data": {"format": "tsv", "options.columns": "{text: 0, label: 1}"},
        "task": {"max_length": 32},
    },
    "entities": {
        "recipe": "ernie-3.0/msra_ner.yaml",
        "files": ("cluener/train.json", "cluener/dev.json"),
        "data": {"format": "cluener", "options": "{}"},
        "task": {"max_length": 64},
    },
}
STARTS = ("pretrained", "scratch")
RATES = (5e-4, 1e-3)
SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size")
DROPOUT = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def score(task: str, start: str, rate: float, seed: int, arguments: argparse.Namespace) -> float:
    """Best development score of a run."""
    folder = arguments.output / task / f"{start}-{rate:g}-{seed}"
    if not (folder / "result.json").is_file():
        encoder, entry = find_model_folder(arguments.encoder), TASKS[task]
        config = read_json(encoder / "config.json")
        train, dev = (str(Path(os.environ["ZOO_DATA"]).resolve() / file) for file in entry["files"])
        values = {
            "model.init": "scratch:ernie-3.0-nano-zh",
            "model.vocab": str(encoder),
            **{f"model.config.{name}": config[name] for name in (*SIZES, *DROPOUT)},
            "data.train": json.dumps([train]),
            "data.dev": json.dumps([dev]),
            **{f"data.{key}": value for key, value in entry["data"].items()},
            **{f"task.{key}": value for key, value in entry["task"].items()},
            "train.max_steps": arguments.steps,
            "train.batch_size": 32,
            "train.learning_rate": rate,
            "train.warmup_ratio": 0.1,
            "train.seed": seed,
            "train.eval_steps": max(1, arguments.steps // 3),
        }
        loaded = load_recipe(entry["recipe"], [f"{key}={value}" for key, value in values.items()])
        finetune(loaded, folder, source=encoder if start == "pretrained" else None, resume=True)
    return float(read_json(folder / "result.json")["best_score"])


def compare(task: str, arguments: argparse.Namespace) -> dict[str, tuple[float, list[float]]]:
    """For each start its learning rate, and the scores of all seeds with it."""
    found = {}
    for start in STARTS:
        rate = max(RATES, key=lambda rate: score(task, start, rate, 1, arguments))
        found[start] = (rate, [score(task, start, rate, seed, arguments) for seed in range(1, arguments.seeds + 1)])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", type=Path, required=True, help="model folder, or run of `zoo pretrain`")
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and of transfer.md")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    lines = ["# Pretrained against scratch", "", f"Best score of {arguments.steps} steps, {arguments.seeds} seeds.", ""]
    lines += ["| task | start | learning rate | mean | lowest | highest |", "|---|---|---|---|---|---|"]
    for task in TASKS:
        for start, (rate, scores) in compare(task, arguments).items():
            figures = (statistics.mean(scores), min(scores), max(scores))
            lines.append(f"| {task} | {start} | {rate:g} | " + " | ".join(f"{value:.4f}" for value in figures) + " |")
            write_text(arguments.output / "transfer.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
