"""What a student wins by a teacher, and what a narrower model costs, on models trained here from scratch.

    ZOO_DATA=FOLDER python benchmarks/distillation.py --output FOLDER [--tasks titles,tags] [--steps 2000] [--seeds 3]
        [--encoder FOLDER]

`ZOO_DATA` has `thucnews_titles/{train,dev}.txt` and `cluener/{train,dev}.json`; the vocabulary is its
`vocab/bert-base-chinese_vocab.txt` unless `--vocab` names another. For each task a teacher (4 layers of width 256, or
the pretrained encoder that `--encoder` names) is trained, unless `--teacher` names one, and students of 2 layers of
width 128. The strategies that `--strategies` names, by default all, are tried with the first seed; the three best and
the student without a teacher are then trained with the others, too. All students take the same number of steps. The
teacher is also pruned to 3/4 and 1/2 of its width and run by ONNX Runtime, one text at a time, on one thread. Runs that
are finished are not repeated, so a broken call can be repeated; `distillation.md` and `distillation.json` have the
tables.
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

import paddle  # noqa: E402

from zoo_cli.base.files import read_json, write_json, write_text  # noqa: E402
from zoo_cli.compress.prune import prune  # noqa: E402
from zoo_cli.compress.scoring import speed_up  # noqa: E402
from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.distill.job import distill  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.setup import find_model_folder  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402
from zoo_cli.export.receipt import table  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402
from zoo_cli.runtime.backends import OnnxBackend  # noqa: E402
from zoo_cli.tasks.base import load_task  # noqa: E402
from zoo_cli.tokenizers import load as load_tokenizer  # noqa: E402

TASKS: dict[str, dict[str, Any]] = {
    "titles": {
        "task": {"name": "sequence_classification", "max_length": 32},
        "files": ("thucnews_titles/train.txt", "thucnews_titles/dev.txt"),
        "data": {"format": "tsv", "options": {"columns": {"text": 0, "label": 1}}},
    },
    "tags": {
        "task": {"name": "token_classification", "max_length": 64},
        "files": ("cluener/train.json", "cluener/dev.json"),
        "data": {"format": "cluener"},
    },
}
FAMILY = "ernie"
TEACHER = {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4, "intermediate_size": 1024}
STUDENT = {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}
ALONE = "no teacher"
# Stages of each strategy; strategies that do not look at the logits are followed by one that does.
STRATEGIES: dict[str, dict[str, Any]] = {
    ALONE: {"only": {"matches": [{"feature": "labels"}]}},
    "logits": {"only": {"strategy": "logits", "temperature": 2.0, "hard_share": 0.5}},
    "uniform": {"only": {"strategy": "uniform", "temperature": 2.0, "hard_share": 0.5}},
    "last": {"only": {"strategy": "last", "temperature": 2.0, "hard_share": 0.5}},
    "minilm": {"below": {"strategy": "minilm"}, "above": {"strategy": "logits", "temperature": 2.0, "hard_share": 0.5}},
    "minilmv2": {
        "below": {"strategy": "minilmv2"},
        "above": {"strategy": "logits", "temperature": 2.0, "hard_share": 0.5},
    },
    "tinybert": {"below": {"strategy": "tinybert-intermediate"}, "above": {"strategy": "tinybert-prediction"}},
}
WIDTHS = (0.75, 0.5)
BEST = 3


def recipe(task: str, arguments: argparse.Namespace, seed: int, **sections: Any) -> LoadedRecipe:
    """The recipe of a task with further sections."""
    root, entry = Path(os.environ["ZOO_DATA"]), TASKS[task]
    train, dev = (str(root / file) for file in entry["files"])
    vocab = arguments.vocab or str(root / "vocab" / "bert-base-chinese_vocab.txt")
    steps = arguments.steps
    model: dict[str, Any] = {"family": FAMILY, "init": "scratch", "vocab": vocab, "config": TEACHER}
    if arguments.encoder:
        model = {"init": str(find_model_folder(arguments.encoder))}
    values = {
        "version": 1,
        "description": f"{task} of benchmarks/distillation.py",
        "model": model,
        "task": entry["task"],
        "data": {**entry["data"], "train": train, "dev": dev, "limit": arguments.limit},
        "train": {
            "max_steps": steps,
            "batch_size": 32,
            "learning_rate": 5.0e-4,
            "warmup_ratio": 0.1,
            "seed": seed,
            "eval_steps": max(1, steps // 5),
            "save_steps": max(1, steps // 5),
        },
        "gates": {"metric_drop": 1.0},  # the table shows what is lost
        **sections,
    }
    path = arguments.output / task / "recipe.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(values, ensure_ascii=False, indent=1) + "\n")
    return load_recipe(str(path))


def result_of(folder: Path) -> dict[str, Any] | None:
    """What a run reports, or None if it is not finished."""
    return read_json(folder / "result.json") if (folder / "result.json").is_file() else None


def teacher_of(task: str, arguments: argparse.Namespace) -> Path:
    """The teacher's model folder."""
    if arguments.teacher:
        return find_model_folder(arguments.teacher)
    folder = arguments.output / task / "teacher"
    if result_of(folder) is None:
        finetune(recipe(task, arguments, seed=1), folder, resume=True)
    return folder / "best"


def student_score(task: str, arguments: argparse.Namespace, teacher: Path, name: str, seed: int) -> dict[str, Any]:
    """Rows of the table of a student's run."""
    folder = arguments.output / task / f"{name.replace(' ', '-')}-{seed}"
    found = result_of(folder)
    if found is None:
        stages = {key: dict(stage) for key, stage in STRATEGIES[name].items()}
        for stage in stages.values():
            steps = max(1, arguments.steps // len(stages))
            stage["train"] = {"max_steps": steps, "eval_steps": max(1, steps // 5), "save_steps": max(1, steps // 5)}
        student = {"family": FAMILY, "init": "scratch", "config": STUDENT}
        distill(
            recipe(task, arguments, seed, distill={"student": student, "stages": stages}), folder, teacher, resume=True
        )
        found = result_of(folder)
    assert found is not None
    return {row["model"]: row for row in found["table"]}


def students(task: str, arguments: argparse.Namespace, teacher: Path) -> dict[str, Any]:
    """Scores of the students over the seeds, and of the teacher."""
    scores: dict[str, list[float]] = {}
    rows: dict[str, Any] = {}
    for name in (ALONE, *arguments.strategies.split(",")):
        rows = student_score(task, arguments, teacher, name, 1)
        scores[name] = [rows["student"]["score"]]
    best = sorted((name for name in scores if name != ALONE), key=lambda name: -scores[name][0])[:BEST]
    for name in (ALONE, *best):
        for seed in range(2, arguments.seeds + 1):
            scores[name].append(student_score(task, arguments, teacher, name, seed)["student"]["score"])
    return {"teacher": rows["teacher"], "student": rows["student"], "scores": scores}


def widths(task: str, arguments: argparse.Namespace, teacher: Path) -> list[dict[str, Any]]:
    """Score and speed of the teacher cut down to each width."""
    place = arguments.output / task / "widths.json"
    if place.is_file():
        found: list[dict[str, Any]] = read_json(place)
        return found
    folder = arguments.output / task / "prune"
    steps = max(1, arguments.steps // 2)
    stage = {"train": {"max_steps": steps, "learning_rate": 2.0e-4, "eval_steps": max(1, steps // 5)}}
    loaded = recipe(task, arguments, 1, prune={"widths": list(WIDTHS), "stage": stage}, export={"backends": ["onnx"]})
    if result_of(folder) is None:
        prune(loaded, folder, teacher, resume=True)
    scores = {row["model"]: row for row in read_json(folder / "result.json")["table"]}
    sources = {
        "unpruned": teacher,
        **{f"width {width:g}": folder / "widths" / f"{width:g}" / "best" for width in WIDTHS},
    }
    bundles = {
        name: Path(export_recipe(loaded, source, arguments.output / task / "export" / name, force=True)["bundle"])
        for name, source in sources.items()
    }
    backends = {name: OnnxBackend(bundle, threads=1) for name, bundle in bundles.items()}
    own = load_task(teacher, load_tokenizer(teacher), backends["unpruned"].input_names)
    examples = read_parts(loaded.recipe.data, 1, ("dev",))["dev"][:64]
    features = [feature for each in own.adapt(examples, False) for feature in own.encode(each, training=False)]
    alone, together = [own.stack([feature]) for feature in features], [own.stack(features)]
    rows = []
    for name, backend in backends.items():
        speed = speed_up(backends["unpruned"], backend, alone, together)
        rows.append({**scores[name], "speed": {way: speed[way] for way in ("alone", "batches")}})
    write_json(place, rows)
    return rows


def page(found: dict[str, Any]) -> str:
    """The tables of all tasks."""
    lines = ["# Distillation and pruning", ""]
    for task, each in found.items():
        teacher, student, scores = each["students"]["teacher"], each["students"]["student"], each["students"]["scores"]
        alone = statistics.mean(scores[ALONE])
        lines += [
            f"## {task}: students",
            "",
            f"teacher {teacher['score']:.4f} with {teacher['parameters']:,} weights, ",
        ]
        lines[-1] += f"students with {student['parameters']:,}"
        rows = [
            (
                name,
                len(values),
                f"{statistics.mean(values):.4f}",
                f"{statistics.stdev(values):.4f}" if len(values) > 1 else "–",
                f"{min(values):.4f} to {max(values):.4f}",
                f"{statistics.mean(values) - alone:+.4f}",
                f"{statistics.mean(values) / teacher['score']:.1%}" if teacher["score"] else "–",
            )
            for name, values in sorted(scores.items(), key=lambda item: (-len(item[1]), -statistics.mean(item[1])))
        ]
        heads = ["strategy", "seeds", "mean", "standard deviation", "range", "against no teacher", "of the teacher"]
        lines += ["", *table(heads, rows), f"## {task}: widths", ""]
        whole = each["widths"][0]["score"]
        cut = [
            (
                row["model"],
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['score']:.4f}",
                f"{row['score'] / whole:.1%}" if whole else "–",
                f"{row['speed']['alone']['after_ms']:.2f} ms",
                f"{row['speed']['alone']['factor']:.2f}",
                f"{row['speed']['batches']['factor']:.2f}",
            )
            for row in each["widths"]
        ]
        lines += table(["model", "weights", "score", "kept", "one text", "times faster", "in batches"], cut)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs and of the tables")
    parser.add_argument("--tasks", default="titles,tags", help="titles, tags or both")
    parser.add_argument("--teacher", type=Path, help="model or run folder of a teacher, for one task")
    parser.add_argument("--encoder", type=Path, help="model or run folder of a pretrained ERNIE that the teacher is")
    parser.add_argument("--strategies", default=",".join(list(STRATEGIES)[1:]), help="that are tried")
    parser.add_argument("--vocab", help="WordPiece vocabulary")
    parser.add_argument("--steps", type=int, default=2000, help="of the teacher and of each student")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="use only so many rows of each file")
    arguments = parser.parse_args()
    if "ZOO_DATA" not in os.environ:
        parser.error("ZOO_DATA does not name the folder of the data")
    names = arguments.tasks.split(",")
    if not set(names) <= set(TASKS):
        parser.error(f"tasks are {', '.join(TASKS)}")
    if not set(arguments.strategies.split(",")) <= set(STRATEGIES):
        parser.error(f"strategies are {', '.join(STRATEGIES)}")
    if arguments.teacher and len(names) > 1:
        parser.error("--teacher is for one task")
    paddle.set_device("cpu")
    found = {}
    for task in names:
        teacher = teacher_of(task, arguments)
        found[task] = {
            "students": students(task, arguments, teacher),
            "widths": widths(task, arguments, teacher),
        }
    write_json(arguments.output / "distillation.json", found)
    write_text(arguments.output / "distillation.md", page(found))
    print(page(found))


if __name__ == "__main__":
    main()
