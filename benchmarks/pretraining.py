"""Pretraining BERT here, with PaddleNLP and with transformers: losses of the same batches, then tokens a second.

    python benchmarks/pretraining.py --paddlenlp PEER/bin/python --transformers OTHER/bin/python \
        --vocab vocab.txt --texts texts.txt

PEER holds paddlenlp 2.8.1 on the same paddle, OTHER torch and transformers. The model has 4 layers of 256, batches
are 32 texts of 64 tokens with masked tokens and next sentences; all sides get the same arrays and start from the same
weights. Losses are compared without dropout, speed with it. The class of transformers scores every place; here its
parts are called such that it scores the masked places only, as the others do.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from peers import Worker, compare

BATCH, LENGTH, BATCHES, RATE = 32, 64, 16, 1e-4
PARITY_STEPS, SPEED_STEPS = 5, 4

OURS = """
def prepare(arguments):
    import json, pathlib
    import numpy as np
    from zoo_cli.base.environment import prepare_paddle
    prepare_paddle("cpu")
    from zoo_cli import models
    from zoo_cli.engine.batches import Batch, groups
    from zoo_cli.engine.checkpoint import Progress
    from zoo_cli.engine.device import use_device
    from zoo_cli.engine.distributed import World
    from zoo_cli.engine.objectives.masked_lm import MaskedLanguageModel
    from zoo_cli.engine.optimizer import AdamW
    from zoo_cli.engine.step import Stepper
    from zoo_cli.recipe.schema import TrainSection
    use_device("cpu")
    folder = pathlib.Path(arguments["folder"])
    stored = dict(np.load(folder / "batches.npz"))

    class Stored:
        def plan(self, epoch):
            return [np.array([number]) for number in range(arguments["batches"])]
        def load(self, epoch, indices):
            number = indices[0]
            arrays = {name.partition("-")[2]: a for name, a in stored.items() if name.startswith(f"{number}-")}
            return Batch(arrays, int(arrays["attention_mask"].sum()))
        def describe(self, indices):
            return [str(indices[0])]
        def fingerprint(self):
            return ""

    model = models.load(folder / "ours")
    model.train()
    options = TrainSection(learning_rate=arguments["rate"], schedule="constant", weight_decay=0.0, seed=1)
    batches, progress = Stored(), Progress(1, "", loss_scale=1.0)
    stepper = Stepper(
        model, MaskedLanguageModel("nsp"), batches, AdamW(model, options), options, 10**6, World(), folder
    )
    upcoming = groups(batches, 1, 0, 0)

    def work():
        losses, tokens = [], 0
        for _ in range(arguments["steps"]):
            report = stepper.step(next(upcoming), progress, 0)
            progress.step += 1
            losses.append(report.losses["loss"])
            tokens += report.tokens
        (folder / "zoo.json").write_text(json.dumps(losses))
        return tokens
    return work
"""

PADDLENLP = """
def prepare(arguments):
    import itertools, json, pathlib
    import numpy as np
    import paddle
    from paddlenlp.transformers import BertForPretraining
    from paddlenlp.transformers.bert.modeling import BertPretrainingCriterion
    folder = pathlib.Path(arguments["folder"])
    paddle.set_device("cpu")
    paddle.seed(1)
    model = BertForPretraining.from_pretrained(str(folder / "peer"))
    model.train()
    criterion = BertPretrainingCriterion(model.bert.config)
    optimizer = paddle.optimizer.AdamW(arguments["rate"], parameters=model.parameters(), weight_decay=0.0,
                                       grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0))
    stored = dict(np.load(folder / "batches.npz"))
    upcoming = itertools.cycle(range(arguments["batches"]))

    def work():
        losses, tokens = [], 0
        for _ in range(arguments["steps"]):
            number = next(upcoming)
            def get(name):
                return paddle.to_tensor(stored[f"{number}-{name}"])
            labels = get("labels")
            scores, related = model(get("input_ids"), get("token_type_ids"), attention_mask=get("attention_mask"),
                                    masked_positions=get("masked_positions"))
            loss = criterion(scores, related, labels, get("next_sentence_label"), float(len(labels)))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
            losses.append(float(loss))
            tokens += int(stored[f"{number}-attention_mask"].sum())
        (folder / "PaddleNLP.json").write_text(json.dumps(losses))
        return tokens
    return work
"""

TRANSFORMERS = """
def prepare(arguments):
    import itertools, json, pathlib
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import BertForPreTraining
    folder = pathlib.Path(arguments["folder"])
    torch.manual_seed(1)
    torch.set_num_threads(int(arguments["threads"]))
    model = BertForPreTraining.from_pretrained(str(folder / "hf"))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments["rate"], weight_decay=0.0)
    stored = dict(np.load(folder / "batches.npz"))
    upcoming = itertools.cycle(range(arguments["batches"]))

    def work():
        losses, tokens = [], 0
        for _ in range(arguments["steps"]):
            number = next(upcoming)
            def get(name):
                return torch.from_numpy(stored[f"{number}-{name}"])
            base = model.bert(get("input_ids"), token_type_ids=get("token_type_ids"),
                              attention_mask=get("attention_mask"))
            masked = base.last_hidden_state.flatten(0, 1)[get("masked_positions")]
            loss = cross_entropy(model.cls.predictions(masked), get("labels"))
            loss = loss + cross_entropy(model.cls.seq_relationship(base.pooler_output), get("next_sentence_label"))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss))
            tokens += int(stored[f"{number}-attention_mask"].sum())
        (folder / "transformers.json").write_text(json.dumps(losses))
        return tokens
    return work
"""


def prepare(folder: Path, vocab: Path, texts: Path, dropout: float) -> None:
    """Write the model in three layouts, and the batches."""
    from zoo_cli.base.environment import prepare_paddle

    prepare_paddle("cpu")
    import paddle

    from zoo_cli import models, tokenizers
    from zoo_cli.data.corpus.blend import parse_blend
    from zoo_cli.data.corpus.raw import find_raw_text
    from zoo_cli.engine.corpus_batches import corpus_batches
    from zoo_cli.recipe.schema import MaskingSection, PretrainSection, RawTextSection, TrainSection

    tokenizer = tokenizers.load(vocab, class_name="BertTokenizer")
    masking = MaskingSection(whole_word=False, max_ngrams=1, max_predictions=10)
    section = PretrainSection(
        objective="mlm",
        pair="nsp",
        corpora=[str(texts)],
        max_length=LENGTH,
        short_seq_prob=0.0,
        masking=masking,
        raw_text=RawTextSection(documents="line"),
    )
    blend, raw = find_raw_text(parse_blend(section.corpora), folder, tokenizer, section)
    for each in raw:
        each.build()
    batches = corpus_batches(blend, tokenizer, section, TrainSection(batch_size=BATCH, seed=1), "all")
    assert batches is not None
    arrays: dict[str, Any] = {}
    for number, rows in enumerate(batches.plan(0)[:BATCHES]):
        arrays |= {f"{number}-{name}": array for name, array in batches.load(0, rows).arrays.items()}
    np.savez(folder / "batches.npz", **arrays)

    paddle.seed(1)
    config = {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 1024, "num_attention_heads": 4}
    config |= {"type_vocab_size": 2, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    model = models.build("BertForPretraining", {"vocab_size": len(tokenizer), **config})
    models.save(model, folder / "ours")
    models.save(model, folder / "peer", "paddlenlp")
    models.save(model, folder / "hf", "huggingface")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", required=True, help="interpreter that has paddlenlp")
    parser.add_argument("--transformers", help="interpreter that has torch and transformers")
    parser.add_argument("--vocab", type=Path, required=True, help="bert-base-chinese vocab.txt")
    parser.add_argument("--texts", type=Path, required=True, help="text, each line a document of several sentences")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="2")
    arguments = parser.parse_args()
    environment = {"OMP_NUM_THREADS": arguments.threads}

    def workers(folder: str, steps: int) -> list[Worker]:
        shared = {"folder": folder, "steps": steps, "rate": RATE, "batches": BATCHES, "threads": arguments.threads}
        started = [Worker("zoo", sys.executable, OURS, shared, environment)]
        if arguments.transformers:
            started.append(Worker("transformers", arguments.transformers, TRANSFORMERS, shared, environment))
        return [*started, Worker("PaddleNLP", arguments.paddlenlp, PADDLENLP, shared, environment)]

    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), arguments.vocab, arguments.texts, dropout=0.0)
        measured = workers(scratch, PARITY_STEPS)
        for worker in measured:
            worker.start()
            worker.measure()
            worker.process.kill()
        for worker in measured:
            losses = json.loads((Path(scratch) / f"{worker.name}.json").read_text())
            print(f"losses of {PARITY_STEPS} steps, {worker.name}: {', '.join(f'{loss:.6f}' for loss in losses)}")
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), arguments.vocab, arguments.texts, dropout=0.1)
        compare(workers(scratch, SPEED_STEPS), arguments.rounds, "tokens")


if __name__ == "__main__":
    main()
