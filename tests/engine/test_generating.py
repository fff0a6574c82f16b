"""The generating tasks through the engine: a tiny model learns, is saved and loaded, scored, and writes texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models  # noqa: E402
from zoo_cli.base.errors import UsageError  # noqa: E402
from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.engine.answering import evaluate_folder, load_generator, load_pipeline  # noqa: E402
from zoo_cli.engine.evaluation import Evaluation  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.objectives.supervised import Supervised  # noqa: E402
from zoo_cli.engine.setup import from_recipe, load_folder  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402
from zoo_cli.runtime.generation import AnswerStream  # noqa: E402
from zoo_cli.tasks.text_scores import TextScores  # noqa: E402

QUICK = ["train.batch_size=8", "train.learning_rate=5e-3"]
TITLES = [
    {"content": f"{place}的{thing}建成了", "summary": f"新的{thing}在{place}"}
    for place in "青云松"
    for thing in "桥路船"
]
TURNS = [{"turns": [f"你好{name}", f"我是{name}"], "persona": [f"叫{name}"]} for name in ("王芳", "李明", "海燕")]
POEMS = ["春日山边坐，明月照我衣。", "秋日江边坐，白云照我衣。", "春来江水远，独酒思故乡。"]


def recipe(folder: Path, name: str, rows: list[Any], *overrides: str) -> LoadedRecipe:
    """A tiny shipped recipe on a few rows."""
    path = folder / "data.txt"
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
    files = [f"data.train={path}", f"data.dev={path}", "data.dev_fraction=0.0"]
    return load_recipe(name, [*files, *QUICK, *overrides], tiny=True)


@pytest.fixture(scope="module")
def titles(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedRecipe, Path]:
    folder = tmp_path_factory.mktemp("titles")
    steps = ["train.max_steps=80", "train.eval_steps=80", "task.max_length=48"]
    loaded = recipe(
        folder, "unimo-text/lcsts.yaml", TITLES, *steps, "task.decoding.num_beams=2", "task.label_smoothing=0.05"
    )
    finetune(loaded, folder / "run")
    return loaded, folder / "run" / "best"


@pytest.fixture(scope="module")
def poems(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedRecipe, Path]:
    folder = tmp_path_factory.mktemp("poems")
    steps = ["train.max_steps=60", "train.eval_steps=60", "task.max_length=32"]
    loaded = recipe(folder, "gpt/poetry.yaml", POEMS * 4, *steps, "task.decoding.max_new_tokens=16")
    finetune(loaded, folder / "run")
    return loaded, folder / "run" / "best"


def test_generation_is_learnt(titles: tuple[LoadedRecipe, Path]) -> None:
    loaded, folder = titles
    scores = evaluate_folder(folder, loaded, "dev")
    assert scores["score"] == scores["bleu_4"] > 0.8
    assert 0 < scores["loss"] < 0.5
    pipeline = load_pipeline(folder)
    answers = pipeline([row["content"] for row in TITLES])
    own = TextScores()
    for row, answer in zip(TITLES, answers, strict=True):
        own.add(answer["text"], [row["summary"]])
    assert own.result()["bleu_4"] == pytest.approx(scores["bleu_4"])  # prediction answers what evaluation scored
    for row, answer in zip(TITLES[:3], answers, strict=False):  # alone as in a batch
        assert pipeline(row["content"]) == {**answer, "score": pytest.approx(answer["score"], rel=1e-4)}


def test_dialogue_is_learnt(tmp_path: Path) -> None:
    steps = ["train.max_steps=60", "train.eval_steps=60", "task.max_length=64", "task.decoding.max_new_tokens=16"]
    greedy = "task.decoding.decode_strategy=greedy_search"
    loaded = recipe(tmp_path, "plato/custom.yaml", TURNS, *steps, greedy)
    finetune(loaded, tmp_path / "run")
    folder = tmp_path / "run" / "best"
    assert evaluate_folder(folder, loaded, "dev")["score"] > 0.8
    pipeline = load_generator(folder)
    answer = pipeline({"text": "你好李明", "persona": ["叫李明"], "history": []})
    assert answer["text"] == "我是李明" and answer["finish_reason"] == "eos"


def test_language_modelling_is_learnt(poems: tuple[LoadedRecipe, Path]) -> None:
    loaded, folder = poems
    scores = evaluate_folder(folder, loaded, "dev")
    assert scores["perplexity"] < 4
    assert scores["loss"] == pytest.approx(np.log(scores["perplexity"]), rel=1e-4)
    answer = load_generator(folder)({"text": "春日", "decoding": {"decode_strategy": "greedy_search"}})
    assert answer["text"].startswith("山边坐")


def test_perplexity_is_that_of_the_model_itself(poems: tuple[LoadedRecipe, Path]) -> None:
    """Windows of one token's stride give every token all the context there is: the definition, token by token."""
    loaded, folder = poems
    assembly = load_folder(folder)
    text = POEMS[0] * 3
    assembly.task.options = assembly.task.options.model_copy(
        update={"max_length": 16, "stride": 1, "join_documents": True}
    )
    example = next(iter(read_parts(loaded.recipe.data, 0, ("dev",))["dev"]))
    example.text = text
    measured = Evaluation(assembly.model, assembly.task, [example], loaded.recipe.train)()["loss"]
    ids = assembly.tokenizer.encode_batch([text], add_special_tokens=False)[0].ids
    losses = []
    for place in range(1, len(ids)):
        context = ids[max(0, place - 16) : place]
        with paddle.no_grad():
            logits = assembly.model(paddle.to_tensor(context[None])).logits[0, -1].numpy().astype(np.float64)
        losses.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[ids[place]])
    assert measured == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("strategy", ["greedy_search", "sampling", "beam_search"])
def test_streams_give_the_same_text(titles: tuple[LoadedRecipe, Path], strategy: str) -> None:
    pipeline = load_generator(titles[1])
    value = {
        "text": TITLES[0]["content"],
        "decoding": {"decode_strategy": strategy, "num_beams": 2, "temperature": 3.0},
    }
    stream = AnswerStream(pipeline, value)
    pieces = list(stream)
    assert "".join(pieces) == stream.answer["text"] != ""
    expected = pipeline(value)
    assert stream.answer == {**expected, "score": pytest.approx(expected["score"], rel=1e-4)}
    assert len(pieces) > 1 or strategy == "beam_search"


def test_seeds_decide(poems: tuple[LoadedRecipe, Path]) -> None:
    pipeline = load_generator(poems[1])

    def write(seed: int | None) -> str:
        decoding = {"decode_strategy": "sampling", "top_k": 0, "top_p": 1.0, "temperature": 3.0, "seed": seed}
        return pipeline({"text": "春", "decoding": decoding})["text"]

    assert write(1) == write(1)
    assert len({write(seed) for seed in range(6)}) > 1
    assert len({write(None) for _ in range(6)}) > 1


def test_label_smoothing(titles: tuple[LoadedRecipe, Path]) -> None:
    """The definition: cross entropy against (1 - e) for the label plus e / V for every token."""
    loaded, folder = titles
    assembly = load_folder(folder)
    examples = read_parts(loaded.recipe.data, 0, ("train",))["train"][:2]
    batch = assembly.task.stack([assembly.task.encode(example, training=True)[0] for example in examples])
    plain, smoothed = (Supervised(share).loss(assembly.model, batch, 0) for share in (0.0, 0.1))
    with paddle.no_grad():
        logits = assembly.model(**{name: paddle.to_tensor(array) for name, array in batch.items()}).logits.numpy()
    scores = logits - logits.max(axis=1, keepdims=True)
    scores = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    gold = np.eye(scores.shape[1])[batch["labels"]]
    for share, losses in ((0.0, plain), (0.1, smoothed)):
        target = (1 - share) * gold + share / scores.shape[1]
        assert losses.total.item() == pytest.approx(-(target * scores).sum(axis=1).mean(), rel=1e-4)
        assert losses.weight == len(batch["labels"])


def test_folders_without_a_task(
    titles: tuple[LoadedRecipe, Path], poems: tuple[LoadedRecipe, Path], tmp_path: Path
) -> None:
    """Checkpoints as PaddleNLP and Hugging Face write them generate, and GPT's are scored by a recipe."""
    for name, (loaded, folder), text in (("titles", titles, "青的桥建成了"), ("poems", poems, "春日")):
        bare = tmp_path / name
        assembly = load_folder(folder)
        bare.mkdir()
        models.save(assembly.model, bare)
        assembly.tokenizer.save(bare)
        decoding = {"decode_strategy": "greedy_search", "max_new_tokens": 16}
        value = {"text": text, "decoding": decoding}
        assert load_generator(bare)(value)["text"] == load_generator(folder)(value)["text"] != ""
        scores, expected = (evaluate_folder(each, loaded, "dev") for each in (bare, folder))
        assert scores == expected


def test_other_models_do_not_generate(tmp_path: Path) -> None:
    loaded = load_recipe("bert/sst2.yaml", tiny=True)
    assembly = from_recipe(loaded, read_parts(loaded.recipe.data, 0, ("train",))["train"])
    models.save(assembly.model, tmp_path)
    assembly.tokenizer.save(tmp_path)
    with pytest.raises(UsageError, match="bert"):
        load_generator(tmp_path)
    assembly.task.save(tmp_path)
    with pytest.raises(UsageError, match="sequence_classification"):
        load_generator(tmp_path)


@pytest.mark.parametrize("name", ["gpt/sst2.yaml", "gpt/msra_ner.yaml"])
def test_gpt_classifies_whatever_the_padding(name: str) -> None:
    """GPT pools the last token, which is found by counting: answers do not depend on what else is in the batch."""
    loaded = load_recipe(name, ["model.config.initializer_range=0.3"], tiny=True)
    examples = read_parts(loaded.recipe.data, 0, ("train",))["train"]
    assembly = from_recipe(loaded, examples)
    from zoo_cli.engine.predictor import Predictor
    from zoo_cli.runtime.pipeline import Pipeline

    pipeline = Pipeline(assembly.task, Predictor(assembly.model, assembly.task))
    requests = [assembly.task.request_of(example) for example in assembly.task.adapt(examples[:6], training=False)]
    together = pipeline(requests)
    for request, answer in zip(requests, together, strict=True):
        alone = pipeline(request)
        assert json.dumps(alone, sort_keys=True)[:30] == json.dumps(answer, sort_keys=True)[:30]
