"""Fine-tuning UIE here and with PaddleNLP's model and optimiser: losses from the same batches, then tokens a second.

    python benchmarks/training.py --paddlenlp PEER/bin/python --vocab vocab.txt --texts train.txt.gz

PEER holds paddlenlp 2.8.1 on the same paddle. The model has the shape of uie-nano and random weights. The losses are
of the same padded arrays, without dropout. For speed each side makes its own batches of the same prompts: ours have
texts of like length, theirs are padded to 512 as its fine-tuning script does. Tokens of padding are not counted.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker, compare

LABELS = {"PER": "人物", "LOC": "地点", "ORG": "组织机构"}
RATE, PARITY_STEPS, SPEED_STEPS = 1e-4, 10, 3
MAX_LENGTH = 512

OURS = """
def prepare(arguments):
    from zoo_cli.base.environment import prepare_paddle
    prepare_paddle("cpu")
    import pathlib
    import numpy as np
    from zoo_cli import models
    from zoo_cli.data.dataset import FeatureStore
    from zoo_cli.engine.batches import FeatureBatches, groups
    from zoo_cli.engine.checkpoint import Progress
    from zoo_cli.engine.device import use_device
    from zoo_cli.engine.distributed import World
    from zoo_cli.engine.objectives.supervised import Supervised
    from zoo_cli.engine.optimizer import AdamW
    from zoo_cli.engine.setup import load_folder
    from zoo_cli.engine.step import Stepper
    from zoo_cli.recipe.schema import TrainSection
    use_device("cpu")
    folder = pathlib.Path(arguments["folder"])
    assembly = load_folder(folder / "model")
    model = assembly.model
    model.train()
    with np.load(folder / "features.npz") as file:
        names, features = ("input_ids", "token_type_ids", "attention_mask", "start_positions", "end_positions"), []
        for number in range(int(file["count"])):
            features.append({name: file[f"{number}-{name}"] for name in names if f"{number}-{name}" in file})
    rate = arguments["rate"]
    options = TrainSection(batch_size=16, learning_rate=rate, schedule="constant", weight_decay=0.0, seed=1)
    same = arguments["same"]
    batches = FeatureBatches(FeatureStore(features), options, assembly.task.stack, shuffle=not same)
    progress = Progress(1, "", loss_scale=1.0)
    stepper = Stepper(model, Supervised(), batches, AdamW(model, options), options, 10**6, World(), folder)
    upcoming = groups(batches, 1, 0, 0)
    def work():
        losses, tokens = [], 0
        for _ in range(arguments["steps"]):
            report = stepper.step(next(upcoming), progress, 0)
            progress.step += 1
            losses.append(report.losses["loss"])
            tokens += report.tokens
        if same:
            (folder / "ours.json").write_text(__import__("json").dumps(losses))
        return tokens
    return work
"""

THEIRS = """
def prepare(arguments):
    import json, pathlib
    import numpy as np
    import paddle
    from paddlenlp.transformers import UIE, AutoTokenizer, ErnieTokenizer
    folder = pathlib.Path(arguments["folder"])
    paddle.set_device("cpu")
    paddle.seed(1)
    model = UIE.from_pretrained(str(folder / "peer"))
    model.train()
    tokenizer = ErnieTokenizer.from_pretrained(str(folder / "peer"))
    clip = paddle.nn.ClipGradByGlobalNorm(1.0)
    rate, parameters = arguments["rate"], model.parameters()
    optimizer = paddle.optimizer.AdamW(rate, parameters=parameters, weight_decay=0.0, grad_clip=clip)
    criterion = paddle.nn.BCELoss()

    def padded():
        for line in open(folder / "prompts.jsonl", encoding="utf-8"):
            row = json.loads(line)
            encoded = tokenizer(text=[row["prompt"]], text_pair=[row["content"]], truncation=True,
                                max_seq_len=512, pad_to_max_seq_len=True, return_attention_mask=True,
                                return_position_ids=True, return_dict=False, return_offsets_mapping=True)[0]
            offsets = [list(pair) for pair in encoded["offset_mapping"]]
            bias = 0
            for index in range(1, len(offsets)):
                if offsets[index] == [0, 0] and bias == 0:
                    bias = offsets[index - 1][1] + 1
                elif offsets[index] != [0, 0] and bias:
                    offsets[index] = [offsets[index][0] + bias, offsets[index][1] + bias]
            start, end = np.zeros(512, "float32"), np.zeros(512, "float32")
            for span in row["result_list"]:
                first = [i for i, (a, b) in enumerate(offsets) if a <= span["start"] + bias < b]
                last = [i for i, (a, b) in enumerate(offsets) if a <= span["end"] - 1 + bias < b]
                if first and last:
                    start[first[0]], end[last[0]] = 1, 1
            yield [encoded["input_ids"], encoded["token_type_ids"], encoded["position_ids"],
                   encoded["attention_mask"], start, end]

    if arguments["same"]:
        def endless():
            with np.load(folder / "batches.npz") as file:
                for number in range(int(file["count"])):
                    ids = file[f"{number}-input_ids"]
                    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
                    yield [ids, file[f"{number}-token_type_ids"], positions, file[f"{number}-attention_mask"],
                           file[f"{number}-start_positions"], file[f"{number}-end_positions"]]
        stream = endless()
    else:
        rows = list(padded())
        class Rows(paddle.io.Dataset):
            def __len__(self):
                return len(rows)
            def __getitem__(self, index):
                return [np.asarray(value) for value in rows[index]]
        sampler = paddle.io.BatchSampler(Rows(), batch_size=16, shuffle=True)
        loader = paddle.io.DataLoader(Rows(), batch_sampler=sampler, return_list=True)
        def endless():
            while True:
                yield from loader
        stream = endless()

    def work():
        losses, tokens = [], 0
        for _ in range(arguments["steps"]):
            ids, types, positions, mask, start, end = map(paddle.to_tensor, next(stream))
            start_prob, end_prob = model(ids, types, position_ids=positions, attention_mask=mask)
            start, end = start.astype("float32"), end.astype("float32")
            loss = (criterion(start_prob, start) + criterion(end_prob, end)) / 2
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss))
            tokens += int((ids != 0).sum())
        if arguments["same"]:
            (folder / "theirs.json").write_text(json.dumps(losses))
        return tokens
    return work
"""


def prepare(folder: Path, vocab: Path, texts: Path, dropout: float) -> None:
    """Write the model twice (ours, PaddleNLP's), the prompts, their features, and the batches of the parity run."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    import paddle

    from zoo_cli import models, tokenizers
    from zoo_cli.data.readers import read
    from zoo_cli.data.sources import renamed
    from zoo_cli.engine.setup import Assembly
    from zoo_cli.tasks.extraction.spec import ExtractionOptions
    from zoo_cli.tasks.extraction.task import ExtractionTask

    paddle.seed(1)
    tokenizer = tokenizers.load(vocab, class_name="ErnieTokenizer")
    config = {"hidden_size": 312, "num_hidden_layers": 4, "intermediate_size": 1248, "num_attention_heads": 12}
    config |= {"max_position_embeddings": 2048, "type_vocab_size": 4, "use_task_id": True, "task_type_vocab_size": 16}
    config |= {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = models.build("UIE", {"vocab_size": len(tokenizer), **config})
    options = ExtractionOptions(schema=list(LABELS.values()), max_length=MAX_LENGTH, negative_ratio=2)
    task = ExtractionTask(options, tokenizer, ("input_ids", "token_type_ids", "attention_mask"))
    (folder / "model").mkdir()
    Assembly(model, tokenizer, task).save(folder / "model")
    models.save(model, folder / "peer", "paddlenlp")
    tokenizer.save(folder / "peer")

    sentences = (renamed(example, LABELS) for example in islice(read(texts, "bio"), 2000))
    prompts = list(task.adapt(sentences, training=True))
    prompts = [prompts[index] for index in np.random.default_rng(1).permutation(len(prompts))[: 16 * 64]]
    features = [feature for prompt in prompts for feature in task.encode(prompt, training=True)]
    with (folder / "prompts.jsonl").open("w", encoding="utf-8") as file:
        for prompt in prompts:
            spans = [{"start": span.start, "end": span.end} for span in prompt.spans]
            row = {"prompt": prompt.prompt, "content": prompt.content, "result_list": spans}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    arrays: dict[str, Any] = {f"{n}-{key}": value for n, each in enumerate(features) for key, value in each.items()}
    np.savez(folder / "features.npz", count=len(features), **arrays)
    arrays = {}
    for number in range(PARITY_STEPS):
        batch = task.stack(features[16 * number : 16 * (number + 1)])
        batch.setdefault("attention_mask", np.ones_like(batch["input_ids"]))
        arrays |= {f"{number}-{name}": value for name, value in batch.items()}
    np.savez(folder / "batches.npz", count=PARITY_STEPS, **arrays)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", required=True, help="interpreter that has paddlenlp")
    parser.add_argument("--vocab", type=Path, required=True, help="bert-base-chinese vocab.txt")
    parser.add_argument("--texts", type=Path, required=True, help="file in BIO format")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", default="2")
    arguments = parser.parse_args()
    environment = {"OMP_NUM_THREADS": arguments.threads}

    def workers(folder: str, steps: int, same: bool) -> list[Worker]:
        shared = {"folder": folder, "steps": steps, "same": same, "rate": RATE}
        return [
            Worker("zoo", sys.executable, OURS, shared, environment),
            Worker("PaddleNLP", arguments.paddlenlp, THEIRS, shared, environment),
        ]

    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), arguments.vocab, arguments.texts, dropout=0.0)
        for worker in workers(scratch, PARITY_STEPS, same=True):
            worker.start()
            worker.measure()
            worker.process.kill()
        files = (Path(scratch) / f"{name}.json" for name in ("ours", "theirs"))
        ours, theirs = (np.array(json.loads(file.read_text())) for file in files)
        difference = np.abs(ours - theirs).max()
        print(f"losses of {PARITY_STEPS} steps: {ours[0]:.6f} to {ours[-1]:.6f}, PaddleNLP {theirs[-1]:.6f}", end="; ")
        print(f"largest difference {difference:.2e}")
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), arguments.vocab, arguments.texts, dropout=0.1)
        compare(workers(scratch, SPEED_STEPS, same=False), arguments.rounds, "tokens")


if __name__ == "__main__":
    main()
