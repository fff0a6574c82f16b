"""Trains small language models whose layers processes share, for `tests.engine.test_parallel`.

    python -m tests.engine.shared_model FOLDER [KEY=VALUE ...]

Keys are those of a recipe's `train` section, and of `parallel` in it. Writes FOLDER/FAMILY/ (a run) with answers.npz.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.environment import prepare_paddle

os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models, registry  # noqa: E402
from zoo_cli.data.dataset import FeatureStore  # noqa: E402
from zoo_cli.engine.batches import Arrays, FeatureBatches  # noqa: E402
from zoo_cli.engine.distributed import World  # noqa: E402
from zoo_cli.engine.loop import train  # noqa: E402
from zoo_cli.engine.objectives.supervised import Supervised  # noqa: E402
from zoo_cli.engine.run import open_run  # noqa: E402
from zoo_cli.models.base import Model  # noqa: E402
from zoo_cli.recipe.schema import ParallelSection, TrainSection  # noqa: E402
from zoo_cli.recipe.yaml12 import scalar  # noqa: E402

ARCHITECTURES = {"gpt": "GPTForCausalLM", "unified_transformer": "UnifiedTransformerLMHeadModel"}
LENGTH = 12
OPTIONS: dict[str, Any] = {
    "max_steps": 10,
    "batch_size": 3,
    "learning_rate": 1e-3,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
    "save_steps": 5,
    # Softmax takes no notice of the keys' biases; their gradients are rounding errors, which Adam would blow up.
    "adam_epsilon": 1e-6,
}


def features() -> list[Arrays]:
    rng = np.random.default_rng(0)
    return [{"input_ids": ids, "labels": np.roll(ids, -1)} for ids in (rng.integers(5, 120, LENGTH) for _ in range(24))]


def stack(rows: Any) -> Arrays:
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def logits(model: Model) -> np.ndarray:
    ids = np.stack([row["input_ids"] for row in features()[:4]])
    model.eval()
    with paddle.no_grad():
        return model(input_ids=paddle.to_tensor(ids)).logits.numpy()


def continued(model: Model) -> np.ndarray:
    """What the model writes behind some prompts of different lengths, by beam search and by greedy search."""
    prompts = np.stack([row["input_ids"] for row in features()[:3]])
    mask = np.arange(LENGTH) >= np.array([[0], [3], [6]])
    beams = {"decode_strategy": "beam_search", "num_beams": 3}
    found = [
        models.generate(model, prompts, attention_mask=mask.astype("int64"), max_new_tokens=8, eos_token_id=None, **how)
        for how in ({}, beams)
    ]
    return np.stack([ids.numpy() for ids, _ in found])


def run(folder: Path, family: str, options: TrainSection, **choices: Any) -> None:
    """Train the family's tiny model, dropout included."""
    world = World.join(options.parallel)
    paddle.seed(1)
    model = models.build(ARCHITECTURES[family], dict(registry.family(family).tiny), group=world.shares)
    batches = FeatureBatches(FeatureStore(features()), options, stack)

    def evaluate() -> dict[str, Any]:
        return {"loss": float(np.square(logits(model)).mean())}

    opened = open_run(folder / family, "version: 1\n", **choices)
    train(
        model, Supervised(), batches, options, opened, lambda target: models.save(model, target), evaluate, world=world
    )
    found = {"logits": logits(model), "ids": continued(model)}
    if world.leads:
        np.savez(folder / family / "answers.npz", **found)  # type: ignore[arg-type]


def main(arguments: list[str]) -> None:
    values = dict(OPTIONS)
    parallel: dict[str, Any] = {}
    resume = False
    for argument in arguments[1:]:
        key, _, value = argument.partition("=")
        if key == "--resume":
            resume = True
        elif key in ParallelSection.model_fields:
            parallel[key] = scalar(value)
        else:
            values[key] = scalar(value)
    options = TrainSection(**values, parallel=ParallelSection(**parallel))
    for family in ARCHITECTURES:
        run(Path(arguments[0]), family, options, resume=resume)


if __name__ == "__main__":
    main(sys.argv[1:])
