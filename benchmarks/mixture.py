"""Every task: small models with drawn weights, and requests with drawn lengths, schemas, choices and options."""

from __future__ import annotations

import json
import random
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from load import ROOT, Server

from zoo_cli import registry
from zoo_cli.cli.predict import predict
from zoo_cli.tasks.decoding_options import GenerativeOptions
from zoo_cli.tasks.embedding.spec import EmbeddingOptions

NAMES = ("人物", "地点", "组织机构", "时间", "公司", "作品名称", "态度[好，坏]")
DECODING: tuple[dict[str, Any], ...] = (
    {"max_new_tokens": 3},
    {"max_new_tokens": 12, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    {"max_new_tokens": 10, "decode_strategy": "beam_search", "num_beams": 3, "num_return_sequences": 2},
    {"max_new_tokens": 16, "decode_strategy": "sampling", "top_k": 50, "temperature": 1.5, "seed": 3},
    {"max_new_tokens": 8, "decode_strategy": "sampling", "top_p": 0.9, "num_return_sequences": 4, "seed": 5},
)


@cache
def _corpus() -> str:
    """Sentences whose characters the bundled vocabularies have."""
    path = ROOT / "zoo_cli" / "data" / "samples" / "corpus" / "zh.txt"
    return path.read_text(encoding="utf-8").replace("\n", "")


class Draw(random.Random):
    """Draws requests."""

    def text(self, mean: float = 40.0, most: int = 400) -> str:
        """A text of any length from one character on, mostly short."""
        size = 1 + min(most - 1, int(self.expovariate(1 / mean)))
        start = self.randrange(len(_corpus()) - size)
        return _corpus()[start : start + size]

    def texts(self, least: int, most: int, mean: float = 8.0) -> list[str]:
        """Some short texts, of which no two are the same."""
        wanted = self.randint(least, most)
        found: dict[str, None] = {}
        while len(found) < wanted:
            found[self.text(mean, 20)] = None
        return list(found)

    def maybe(self, share: float = 0.5, **fields: Any) -> dict[str, Any]:
        """The fields in a share of all cases, else none."""
        return fields if self.random() < share else {}

    def schema(self, depth: int = 1) -> Any:
        """What to extract."""
        names = self.sample(NAMES, self.randint(1, 3))
        if not depth or self.random() < 0.5:
            return names[0] if len(names) == 1 else names
        plain = [name for name in names if "[" not in name] or ["人物"]
        return {name: self.schema(depth - 1) for name in plain}


def _extraction(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    most = options.get("max_length", 512)
    return {
        "text": draw.text(60),
        "schema": draw.schema(),
        **draw.maybe(position_threshold=draw.choice([0.4, 0.5, 0.9])),
        **draw.maybe(0.3, max_length=max(32, most // 2)),
        **draw.maybe(0.2, schema_lang="en"),
    }


def _closed_extraction(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    known = options["schema"]
    parts = known if isinstance(known, list) else [known]
    return {
        "text": draw.text(),
        **draw.maybe(schema=draw.sample(parts, draw.randint(1, len(parts)))),
        **draw.maybe(position_threshold=draw.choice([0.6, 0.9])),
    }


def _pair(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text(), **draw.maybe(0.3, text_pair=draw.text())}


def _text(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text()}


def _document(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text(120)}


def _words(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    text = draw.text()
    return {"tokens": list(text)} if draw.random() < 0.4 else {"text": text}


def _question(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"question": draw.text(8, 12), "context": draw.text(80)}


def _several(draw: Draw, options: dict[str, Any], mean: float) -> list[str]:
    """Choices; models for documents take a fixed number of them at most."""
    return draw.texts(2, options["num_choices"] if "memory_shape" in options else 6, mean)


def _choices(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    context = draw.text()
    return {
        "context": f"{context}#idiom#。" if draw.random() < 0.2 else context,
        "question": draw.text(8, 12),
        "choices": _several(draw, options, 8),
    }


def _candidates(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text(), "candidates": _several(draw, options, 20)}


def _options(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {**_pair(draw, options), **draw.maybe(0.8, choices=draw.texts(1, 5, 3))}


def _generation(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text(), "decoding": draw.choice(DECODING), **draw.maybe(0.3, title=draw.text(8, 20))}


def _dialogue(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "text": draw.text(10),
        "decoding": draw.choice(DECODING),
        "history": draw.texts(0, 4),
        **draw.maybe(0.3, persona=draw.texts(1, 2)),
        **draw.maybe(0.3, knowledge=draw.texts(1, 2)),
    }


def _continuation(draw: Draw, options: dict[str, Any]) -> dict[str, Any]:
    return {"text": draw.text(), "decoding": draw.choice(DECODING)}


REQUESTS: dict[str, Callable[[Draw, dict[str, Any]], dict[str, Any]]] = {
    "extraction": _extraction,
    "closed_extraction": _closed_extraction,
    "sequence_classification": _pair,
    "token_classification": _words,
    "question_answering": _question,
    "multiple_choice": _choices,
    "matching": _candidates,
    "intent_slot": _text,
    "nested_ner": _text,
    "spo": _text,
    "utc": _options,
    "document_classification": _document,
    "document_token_classification": _words,
    "document_question_answering": _question,
    "document_multiple_choice": _choices,
    "document_matching": _candidates,
    "generation": _generation,
    "dialogue": _dialogue,
    "language_modeling": _continuation,
    "embedding": _text,
}
"""Task -> what draws a request for a model with these options."""


def draw_requests(task: str, options: dict[str, Any], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Requests of a task.

    Args:
        task: its name.
        options: those of the model, from its `task.json`.
        count: how many.
        seed: the same seed gives the same requests.
    """
    draw = Draw(f"{task} {seed}")
    return [REQUESTS[task](draw, options) for _ in range(count)]


# -- models ------------------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """A model, its requests, and what `zoo predict` answers.

    Args:
        bundle: its folder.
        task: name of its task.
        requests: what it is asked.
        answers: the right ones.
        name: under which a server knows it.
    """

    bundle: Path
    task: str
    requests: list[dict[str, Any]]
    answers: list[Any]
    name: str = ""

    @property
    def writes(self) -> bool:
        """Whether its answers can be streamed."""
        return issubclass(registry.task(self.task).options, GenerativeOptions)


def open_models(bundles: Sequence[Path], count: int, scratch: Path, seed: int = 0) -> list[Model]:
    """Models with their share of so many requests, which `zoo predict` has answered.

    Args:
        bundles: their folders.
        count: requests to all of them.
        scratch: folder for files in between.
        seed: the same seed gives the same requests.
    """
    models = []
    lines, answers = scratch / "requests.jsonl", scratch / "answers.jsonl"
    for number, bundle in enumerate(bundles):
        description = json.loads((bundle / "task.json").read_text(encoding="utf-8"))
        share = count // len(bundles) + (number < count % len(bundles))
        requests = draw_requests(description["task"], description["options"], share, seed)
        lines.write_text("".join(f"{json.dumps(each, ensure_ascii=False)}\n" for each in requests), encoding="utf-8")
        predict(source=bundle, input_file=str(lines), output=str(answers))
        found = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        models.append(Model(bundle, description["task"], requests, found))
    return models


def name_models(models: Sequence[Model], server: Server) -> None:
    """Ask a server that was started with these models for their names."""
    with urllib.request.urlopen(f"{server.url}/v1/models", timeout=30) as response:
        listed = json.load(response)["data"]
    for model, entry in zip(models, listed, strict=True):
        model.name = entry["id"]


TAGS = ["O", "B-人物", "I-人物", "B-地点", "I-地点"]
CLASSES = ["a", "b", "c"]
OPTIONS: dict[str, dict[str, Any]] = {
    "extraction": {"schema": ["人物", "地点"]},
    "closed_extraction": {"schema": ["人物", {"公司": ["地点"]}, "态度[好,坏]"]},
    "token_classification": {"labels": TAGS, "split": "characters"},
    "document_token_classification": {"labels": TAGS, "split": "characters"},
    "nested_ner": {"labels": TAGS, "enclosing_labels": ["O", "B-sym", "I-sym"]},
    "intent_slot": {"labels": TAGS, "intents": CLASSES},
    "spo": {"predicates": ["位于", "属于"]},
    "utc": {"choices": ["好", "坏"]},
    "sequence_classification": {"labels": CLASSES},
    "document_classification": {"labels": CLASSES},
    "document_multiple_choice": {"num_choices": 3},
    "document_matching": {"num_choices": 3},
    "generation": {"decoding": {"max_new_tokens": 24}},
    "dialogue": {"max_response_length": 24, "decoding": {"max_new_tokens": 24}},
    "language_modeling": {"decoding": {"max_new_tokens": 24}},
    **{f"{kind}question_answering": {"max_question_length": 16, "doc_stride": 32} for kind in ("", "document_")},
}
"""What training would have found out."""


def make_bundles(folder: Path) -> list[Path]:
    """A bundle for every task with a small model of a family that serves it; the weights are drawn."""
    return [_make_bundle(folder / task, task) for task in registry.TASKS]


def _make_bundle(folder: Path, task: str) -> Path:
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    from zoo_cli.engine.setup import from_recipe
    from zoo_cli.export.bundle import export
    from zoo_cli.export.embedding import export_embedding
    from zoo_cli.recipe.loading import load_recipe
    from zoo_cli.recipe.schema import ExportSection

    learnt = "sequence_classification" if task == "embedding" else task  # vectors are those of any model
    # ERNIE where it serves the task, since the vocabulary of the samples is its own.
    serving = [name for name in ("ernie", *registry.FAMILIES) if learnt in registry.family(name).tasks]
    spec = registry.family(serving[0])
    vocabulary = {"UnifiedTransformerTokenizer": "unified_transformer", "GPTTokenizer": "gpt_cn"}
    model = {
        "family": spec.name,
        "vocab": f"sample:vocab/{vocabulary.get(spec.tokenizer, 'wordpiece')}",
        "config": {**spec.tiny, "initializer_range": 0.3},  # large, so that answers differ
    }
    source, recipe = folder / "model", folder / "recipe.json"
    source.mkdir(parents=True)
    values = {"version": 1, "model": model, "task": {"name": learnt, "max_length": 64, **OPTIONS.get(learnt, {})}}
    recipe.write_text(json.dumps(values), encoding="utf-8")
    from_recipe(load_recipe(str(recipe)), []).save(source)
    written = ExportSection(backends=["onnx"])
    if task == "embedding":
        return Path(export_embedding(source, folder, EmbeddingOptions(max_length=64), written)["bundle"])
    request: Any = registry.task(task).request
    examples = list(request.model_config["json_schema_extra"]["examples"])
    return Path(export(source, folder, written, examples)["bundle"])
