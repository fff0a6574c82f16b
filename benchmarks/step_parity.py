"""Ten AdamW steps from the same weights on the same batches, here and in other libraries: the losses must agree.

    python benchmarks/step_parity.py [--paddlenlp PEER/bin/python] [--transformers PEER/bin/python]

Classifiers of BERT and ERNIE (2 layers x 64) without dropout; weight decay on all weights but biases and LayerNorm,
gradients clipped to norm 1, constant rate.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from peers import Worker

STEPS, RATE, DECAY, LIMIT = 10, 1e-3, 0.01, 1e-4
CLASSES = {"bert": "BertForSequenceClassification", "ernie": "ErnieForSequenceClassification"}

OURS = """
def prepare(arguments):
    import pathlib
    import numpy as np
    from zoo_cli.engine.device import use_device
    use_device("cpu")
    from zoo_cli import models
    from zoo_cli.data.dataset import FeatureStore
    from zoo_cli.engine.batches import FeatureBatches, groups
    from zoo_cli.engine.checkpoint import Progress
    from zoo_cli.engine.distributed import World
    from zoo_cli.engine.objectives.supervised import Supervised
    from zoo_cli.engine.optimizer import AdamW
    from zoo_cli.engine.step import Stepper
    from zoo_cli.recipe.schema import TrainSection
    folder = pathlib.Path(arguments["folder"])
    model = models.load(folder / "zoo")
    model.train()
    data = np.load(folder / "batches.npz")
    rows = [{name: data[name][step, row] for name in data} for step in range(len(data["labels"])) for row in range(8)]
    options = TrainSection(
        batch_size=8, learning_rate=arguments["rate"], schedule="constant", weight_decay=arguments["decay"]
    )
    batches = FeatureBatches(
        FeatureStore(rows), options, lambda features: {n: np.stack([f[n] for f in features]) for n in features[0]},
        shuffle=False,
    )
    stepper = Stepper(model, Supervised(), batches, AdamW(model, options), options, 10**6, World(), folder)
    progress, losses = Progress(1, "", loss_scale=1.0), []
    def work():
        for group in groups(batches, 1, 0, 0):
            losses.append(stepper.step(group, progress, 0).losses["loss"])
            progress.step += 1
            if len(losses) == len(data["labels"]):
                break
        (folder / "zoo.txt").write_text(" ".join(map(repr, losses)))
        return 1
    return work
"""

PADDLENLP = """
def prepare(arguments):
    import pathlib
    import numpy as np
    import paddle
    import paddlenlp.transformers
    folder = pathlib.Path(arguments["folder"])
    model = getattr(paddlenlp.transformers, arguments["name"]).from_pretrained(str(folder / "paddlenlp"))
    model.train()
    data = np.load(folder / "batches.npz")
    decayed = [p.name for n, p in model.named_parameters() if not any(word in n for word in ("bias", "norm"))]
    optimizer = paddle.optimizer.AdamW(
        arguments["rate"], parameters=model.parameters(), weight_decay=arguments["decay"],
        apply_decay_param_fun=lambda name: name in decayed, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0),
    )
    criterion = paddle.nn.CrossEntropyLoss()
    def work():
        losses = []
        for step in range(len(data["labels"])):
            tensors = {name: paddle.to_tensor(data[name][step]) for name in data}
            labels = tensors.pop("labels")
            loss = criterion(model(**tensors), labels)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss))
        (folder / "paddlenlp.txt").write_text(" ".join(map(repr, losses)))
        return 1
    return work
"""

TRANSFORMERS = """
def prepare(arguments):
    import pathlib
    import numpy as np
    import torch
    import transformers
    folder = pathlib.Path(arguments["folder"])
    model = getattr(transformers, arguments["name"]).from_pretrained(str(folder / "huggingface"))
    model.train()
    data = np.load(folder / "batches.npz")
    plain = [p for n, p in model.named_parameters() if "bias" in n or "LayerNorm" in n]
    decayed = [p for n, p in model.named_parameters() if not ("bias" in n or "LayerNorm" in n)]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": arguments["decay"]}, {"params": plain, "weight_decay": 0.0}],
        lr=arguments["rate"],
    )
    def work():
        losses = []
        for step in range(len(data["labels"])):
            loss = model(**{name: torch.from_numpy(data[name][step]) for name in data}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss))
        (folder / "transformers.txt").write_text(" ".join(map(repr, losses)))
        return 1
    return work
"""


def write(folder: Path, name: str, peers: list[str]) -> None:
    """The same weights in every layout that is needed, and the batches."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    import paddle

    from zoo_cli import models

    paddle.seed(1)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = {**sizes, "vocab_size": 1000, "num_labels": 3, "initializer_range": 0.1}
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = models.build(name, config)
    models.save(model, folder / "zoo")
    if "paddlenlp" in peers:
        models.save(model, folder / "paddlenlp", "paddlenlp")
    if "transformers" in peers:
        models.save(model, folder / "huggingface", "huggingface")
    draw = np.random.default_rng(0)
    shape = (STEPS, 8, 24)
    ids, types = draw.integers(5, 1000, shape), np.repeat(np.arange(2), 12) + np.zeros(shape, np.int64)
    mask = (np.arange(24) < draw.integers(6, 25, shape[:2])[..., None]).astype(np.int64)
    labels = draw.integers(0, 3, shape[:2])
    np.savez(folder / "batches.npz", input_ids=ids, token_type_ids=types, attention_mask=mask, labels=labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", help="interpreter that has paddlenlp")
    parser.add_argument("--transformers", help="interpreter that has transformers and torch")
    arguments = parser.parse_args()
    sources = {"zoo": (sys.executable, OURS)}
    sources |= {"paddlenlp": (arguments.paddlenlp, PADDLENLP)} if arguments.paddlenlp else {}
    sources |= {"transformers": (arguments.transformers, TRANSFORMERS)} if arguments.transformers else {}
    failed = False
    print("| model | library | first loss | last loss | largest difference |\n|---|---|---|---|---|")
    for family, name in CLASSES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write(folder, name, list(sources))
            losses = {}
            for library, (python, source) in sources.items():
                worker = Worker(
                    library, python, source, {"folder": scratch, "name": name, "rate": RATE, "decay": DECAY}
                )
                worker.start()
                worker.measure()
                worker.process.kill()
                losses[library] = np.array([float(part) for part in (folder / f"{library}.txt").read_text().split()])
                difference = np.abs(losses[library] - losses["zoo"]).max()
                failed |= difference > LIMIT
                first, last = losses[library][[0, -1]]
                print(f"| {family} | {library} | {first:.6f} | {last:.6f} | {difference:.1e} |", flush=True)
    if failed:
        raise SystemExit(f"losses differ by more than {LIMIT}")


if __name__ == "__main__":
    main()
