"""A small encoder with dropout, made of plain paddle layers, and data for it; also a program that trains it.

    python -m tests.engine.toy FOLDER [--resume] [--kill-at-step N] [--kill-in-save N] [KEY=VALUE ...]

The program ends like `zoo` does: with the exit code of the error that stopped it.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.environment import prepare_paddle

os.environ.setdefault("OMP_NUM_THREADS", "1")
prepare_paddle("cpu")

import paddle  # noqa: E402
from paddle import nn  # noqa: E402
from safetensors.numpy import save_file  # noqa: E402

from zoo_cli.base.errors import ZooError  # noqa: E402
from zoo_cli.data.batching import pad  # noqa: E402
from zoo_cli.data.dataset import FeatureStore  # noqa: E402
from zoo_cli.engine.batches import FeatureBatches  # noqa: E402
from zoo_cli.engine.distributed import World  # noqa: E402
from zoo_cli.engine.loop import Result, train  # noqa: E402
from zoo_cli.engine.objectives.supervised import Supervised  # noqa: E402
from zoo_cli.engine.run import open_run  # noqa: E402
from zoo_cli.recipe.schema import TrainSection  # noqa: E402
from zoo_cli.recipe.yaml12 import scalar  # noqa: E402

VOCABULARY, WIDTH, CLASSES = 50, 16, 4
PAD = partial(pad, padding={"labels": -100})


@dataclass
class Output:
    loss: paddle.Tensor | None
    logits: paddle.Tensor


class Block(nn.Layer):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(WIDTH, 2 * WIDTH)
        self.linear2 = nn.Linear(2 * WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: paddle.Tensor) -> paddle.Tensor:
        return self.norm(hidden + self.dropout(self.linear2(nn.functional.gelu(self.linear1(hidden)))))


class Encoder(nn.Layer):
    def __init__(self, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.LayerList([Block(dropout) for _ in range(layers)])

    def forward(self, hidden: paddle.Tensor) -> paddle.Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class Tagger(nn.Layer):
    """Scores each token: `logits` [B, S, C]."""

    def __init__(self, layers: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(VOCABULARY, WIDTH)
        self.encoder = Encoder(layers, dropout)
        self.unused = nn.Linear(WIDTH, WIDTH)  # gets no gradient, as a pooler below a token head
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, input_ids: paddle.Tensor, labels: paddle.Tensor | None = None) -> Output:
        logits = self.classifier(self.encoder(self.embeddings(input_ids)))
        loss = None
        if labels is not None:
            counts = (labels != -100).astype("float32")
            each = nn.functional.cross_entropy(logits, labels.clip(min=0), reduction="none").squeeze(-1)
            loss = (each * counts).sum() / counts.sum().clip(min=1.0)
        return Output(loss, logits)


def features(count: int = 60, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Sequences of 3 to 12 tokens whose labels are a function of the token; every fifth label does not count."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        ids = generator.integers(1, VOCABULARY, generator.integers(3, 13))
        rows.append({"input_ids": ids, "labels": np.where(ids % 5 == 0, -100, ids % CLASSES)})
    return rows


def build(seed: int = 1, **options: Any) -> Tagger:
    paddle.seed(seed)
    return Tagger(**options)


def batches(options: TrainSection, rows: list[dict[str, np.ndarray]] | None = None) -> FeatureBatches:
    store = FeatureStore(features() if rows is None else rows)
    return FeatureBatches(store, options, PAD, [f"toy.txt:{i + 1}" for i in range(len(store))])


def save(model: nn.Layer, folder: Path) -> None:
    save_file({name: tensor.numpy() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")


def recipe(options: TrainSection) -> str:
    lines = [f"  {key}: {'null' if value is None else value}" for key, value in options.model_dump().items()]
    return "\n".join(["version: 1", "train:", *lines]) + "\n"


def fit(
    folder: Path, options: TrainSection, model: nn.Layer | None = None, resume: bool = False, **others: Any
) -> tuple[Result, nn.Layer]:
    """Train the toy in this process."""
    model = model or build()
    data = others.pop("batches", None) or batches(options)
    objective = others.pop("objective", None) or Supervised()
    run = open_run(folder, recipe(options), resume=resume)
    return train(model, objective, data, options, run, partial(save, model), **others), model


def accuracy(model: nn.Layer, pause: float = 0.0, sign: Path | None = None) -> dict[str, Any]:
    """Share of right guesses; after a pause of so many seconds, whose beginning a file shows."""
    model.eval()
    right = total = 0
    with paddle.no_grad():
        for row in features(20, seed=9):
            guess = model(paddle.to_tensor(row["input_ids"][None])).logits.argmax(-1).numpy()[0]
            right += int((guess == row["labels"]).sum())
            total += int((row["labels"] != -100).sum())
    if pause and sign is not None:
        sign.touch()
    for _ in range(int(pause * 100)):
        time.sleep(0.01)
    return {"accuracy": right / total}


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    flags = {"--kill-at-step": 0, "--kill-in-save": 0, "--pause": 0, "--pause-from": 0, "--pause-evaluation": 0}
    values: dict[str, Any] = {}
    rest = iter(arguments[1:])
    resume = False
    for argument in rest:
        if argument in flags:
            flags[argument] = int(next(rest))
        elif argument == "--resume":
            resume = True
        else:
            key, _, value = argument.partition("=")
            values[key] = scalar(value)
    options = TrainSection(**values)
    world = World.join()

    class Watched(Supervised):
        def loss(self, model: nn.Layer, batch: Any, step: int) -> Any:
            if flags["--kill-at-step"] and step == flags["--kill-at-step"]:
                _kill()
            if step >= flags["--pause-from"]:
                time.sleep(flags["--pause"] / 1000)
            return super().loss(model, batch, step)

    if flags["--kill-in-save"]:
        import zoo_cli.engine.checkpoint as module

        write, count = module.write_json, 0

        def write_or_die(path: Path, value: Any) -> None:
            nonlocal count
            count += 1
            if count == flags["--kill-in-save"]:
                (path.parent / "half.txt").write_text("written before the kill")
                _kill()
            write(path, value)

        module.write_json = write_or_die
    model = build(seed=1 + world.rank)
    try:
        fit(
            Path(arguments[0]),
            options,
            model,
            resume,
            objective=Watched(),
            evaluate=partial(accuracy, model, flags["--pause-evaluation"], Path(f"{arguments[0]}.evaluates")),
            metric="accuracy",
            world=world,
        )
    except ZooError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
