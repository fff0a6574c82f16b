"""Pretraining of UIE, ERNIE-M and ERNIE-Doc: what their objectives compute, and runs of their recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.stopping import reports, stop_behind_checkpoint
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models, tokenizers  # noqa: E402
from zoo_cli.base.errors import ZooError  # noqa: E402
from zoo_cli.base.files import sha256_file  # noqa: E402
from zoo_cli.data.corpus.cross_lingual import NAMES, across  # noqa: E402
from zoo_cli.engine.answering import load_pipeline  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.objectives.base import to_tensors  # noqa: E402
from zoo_cli.engine.objectives.cross_lingual import CrossLingualModel  # noqa: E402
from zoo_cli.engine.objectives.document_lm import DocumentLanguageModel  # noqa: E402
from zoo_cli.engine.objectives.span_prompts import SpanPrompts  # noqa: E402
from zoo_cli.engine.pretrain import pretrain  # noqa: E402
from zoo_cli.models.base import Model  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe, recipe_names  # noqa: E402
from zoo_cli.registry import FAMILIES, family  # noqa: E402

QUICK = ("train.max_steps=6", "train.eval_steps=3", "train.batch_size=4", "pretrain.eval_batches=2")
RECIPES = {
    "uie/pretrain": ("start", "end"),
    "ernie-m/pretrain": ("mlm", "tlm", "camlm"),
    "ernie-m/pretrain_btmlm": ("btmlm", "tlm", "camlm"),
    "ernie-doc/pretrain": ("mlm", "order"),
}

PRETRAINING = sorted(name for name in recipe_names() if "/pretrain" in name)


def tiny(name: str, *overrides: str) -> LoadedRecipe:
    return load_recipe(name, [*QUICK, *overrides], tiny=True)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folders = {}
    for name in RECIPES:
        folders[name] = tmp_path_factory.mktemp(name.replace("/", "-")) / "run"
        pretrain(tiny(name), folders[name])
    return folders


@pytest.mark.parametrize("name", RECIPES)
def test_runs_report_each_loss_and_its_baseline(pretrained: dict[str, Path], name: str) -> None:
    last = reports(pretrained[name], "dev")[-1]
    for term in RECIPES[name]:
        assert np.isfinite(last[f"{term}_loss"])
        assert 0.0 <= last[f"{term}_accuracy"] <= 1.0
        assert 0.0 <= last[f"{term}_baseline"] <= 1.0
    assert ("perplexity" in last) == (name != "uie/pretrain")


def test_every_family_has_a_recipe() -> None:
    found = set()
    for name in PRETRAINING:
        recipe = load_recipe(name).recipe
        found.add(recipe.distill.student.family if recipe.distill else recipe.model.family)
    assert found == set(FAMILIES)


@pytest.mark.parametrize("name", [name for name in PRETRAINING if load_recipe(name).recipe.distill is None])
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(
    pretrained: dict[str, Path], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = pretrained.get(name, tmp_path / "straight"), tmp_path / "stopped"
    if name not in pretrained:
        pretrain(tiny(name), straight)
    stop_behind_checkpoint(monkeypatch, lambda: pretrain(tiny(name), stopped))
    assert (stopped / "checkpoints" / "step-000003").exists() and not (stopped / "result.json").exists()
    pretrain(tiny(name), stopped, resume=True)
    last = Path("checkpoints", "step-000006")
    for file in (last / "model.safetensors", last / "optimizer.safetensors", Path("best", "model.safetensors")):
        assert sha256_file(stopped / file) == sha256_file(straight / file)


@pytest.mark.parametrize("name", RECIPES)
def test_the_best_model_is_an_ordinary_folder(pretrained: dict[str, Path], name: str) -> None:
    best = pretrained[name] / "best"
    model = models.load(best)
    assert model.load_report is not None and model.load_report.complete
    assert len(tokenizers.load(best)) == model.config.vocab_size


def test_a_pretrained_uie_answers_and_fine_tunes(pretrained: dict[str, Path], tmp_path: Path) -> None:
    best = pretrained["uie/pretrain"] / "best"
    assert list(load_pipeline(best, 512)([{"text": "周丽娜在上海。", "schema": ["人物"]}])) == [{}]
    loaded = load_recipe("uie/msra", [f"model.init={best}", "train.max_steps=1", "train.eval_steps=1"], tiny=True)
    finetune(loaded, tmp_path)
    assert (tmp_path / "best" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("ernie-m/pretrain", "ErnieMForSequenceClassification"),
        ("ernie-doc/pretrain", "ErnieDocForSequenceClassification"),
    ],
)
def test_the_backbone_is_what_fine_tunes(pretrained: dict[str, Path], name: str, architecture: str) -> None:
    best = pretrained[name] / "best"
    model = models.load(best, architecture, overrides={"num_labels": 3})
    assert model.load_report is not None
    assert {missing.split(".")[0] for missing in model.load_report.missing} <= {"classifier", "linear"}
    own, other = model.backbone.state_dict(), models.load(best).backbone.state_dict()
    assert all((own[key] == other[key]).all() for key in own)


def test_more_steps_lower_the_loss(tmp_path: Path) -> None:
    steps = ["train.max_steps=40", "train.eval_steps=20", "train.batch_size=8", "train.learning_rate=2.0e-3"]
    pretrain(tiny("ernie-m/pretrain", *steps), tmp_path)
    first, last = reports(tmp_path, "dev")
    assert last["perplexity"] < 0.8 * first["perplexity"]


def test_wrong_sources_are_refused(tmp_path: Path) -> None:
    for name, overrides, code in (
        ("uie/pretrain", ["pretrain.corpora=sample:corpus/zh.txt"], "empty-corpus"),
        ("ernie-m/pretrain", ["pretrain.parallel=nowhere"], "missing-corpus"),
        ("ernie-m/pretrain", ["pretrain.parallel=[2 sample:parallel/en-zh.tsv]"], "bad-blend"),
    ):
        with pytest.raises(ZooError) as caught:
            pretrain(tiny(name, *overrides), tmp_path / code)
        assert caught.value.code == code


@pytest.mark.parametrize("key", ["parallel=x", "negative_share=0.5", "retrospective=true", "back_translation=0.1"])
def test_keys_of_other_objectives_are_refused(key: str) -> None:
    with pytest.raises(ZooError):
        load_recipe("bert/pretrain", [f"pretrain.{key}"], tiny=True)


# -- objectives --------------------------------------------------------------------------------------------------------


def build(name: str, architecture: str, **config: Any) -> Model:
    paddle.seed(1)
    values = {**family(name).tiny, "initializer_range": 0.3, **config}
    model: Model = models.build(architecture, values)
    model.eval()
    return model


def softmax_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=-1)) - np.take_along_axis(shifted, labels[:, None], axis=-1)[:, 0]


def test_span_losses_equal_numpy() -> None:
    model = build("ernie", "UIE")
    generator = np.random.default_rng(0)
    mask = (np.arange(12) < np.array([[12], [7]])).astype(np.int64)
    batch = {
        "input_ids": generator.integers(3, 100, (2, 12)) * mask,
        "token_type_ids": np.zeros((2, 12), np.int64),
        "attention_mask": mask,
        "start_positions": (generator.random((2, 12)) < 0.3) * mask,
        "end_positions": (generator.random((2, 12)) < 0.3) * mask,
    }
    losses = SpanPrompts().loss(model, batch, 0)
    result = model(**to_tensors({name: batch[name] for name in ("input_ids", "token_type_ids", "attention_mask")}))
    expected = 0.0
    for side in ("start", "end"):
        z, y = getattr(result, f"{side}_logits").numpy().astype(np.float64), batch[f"{side}_positions"]
        each = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
        expected += 0.5 * each[mask == 1].mean()
    assert losses.total.item() == pytest.approx(expected, abs=1e-6)
    assert losses.weight == 19


def cross_lingual_batch(seed: int = 0) -> dict[str, np.ndarray]:
    """Two rows across two texts of 6 and 6 tokens: one from the other, and one with pseudo words to find."""
    generator = np.random.default_rng(seed)
    ids, sides = generator.integers(5, 100, (2, 12)), np.tile((np.arange(12) >= 6).astype(np.int64), (2, 1))
    hidden = np.zeros((2, 12), bool)
    hidden[0, [1, 3, 8]] = True
    empty = np.zeros((2, 12), bool)
    empty[1, 7:11] = True
    masked = hidden.copy()
    masked[1, [2, 4]] = True
    labels = ids.reshape(-1)[np.flatnonzero(masked)]
    visible = np.ones((2, 1, 12, 12), bool)
    visible[0, 0] = across(sides[:1], hidden[:1])[0]
    asked = np.where(empty, 3, ids)[1:]
    return {
        "input_ids": np.where(masked | empty, 3, ids),
        "attention_mask": visible,
        "masked_positions": np.flatnonzero(masked),
        "labels": labels,
        "kinds": np.array([2, 2, 2, 3, 3]),
        "translated_ids": asked,
        "translated_mask": across(sides[1:], empty[1:])[:, None],
        "translated_places": np.flatnonzero(empty[1:]),
        "pseudo_places": np.flatnonzero(empty),
    }


def test_all_masked_tokens_count_alike_and_pseudo_words_are_put_in() -> None:
    model, batch = build("ernie_m", "ErnieMForMaskedLM"), cross_lingual_batch()
    objective = CrossLingualModel(("tlm", "camlm", "btmlm"), special_ids=[0, 1, 2, 3])
    losses = objective.loss(model, batch, 0)
    found = model(
        paddle.to_tensor(batch["translated_ids"]),
        attention_mask=paddle.to_tensor(batch["translated_mask"]),
        masked_positions=paddle.to_tensor(batch["translated_places"]),
    ).logits.numpy()
    found[:, :4] = -np.inf
    ids = batch["input_ids"].copy().reshape(-1)
    ids[batch["pseudo_places"]] = found.argmax(axis=-1)
    logits = model(
        paddle.to_tensor(ids.reshape(2, 12)),
        attention_mask=paddle.to_tensor(batch["attention_mask"]),
        masked_positions=paddle.to_tensor(batch["masked_positions"]),
    ).logits.numpy()
    each = softmax_loss(logits.astype(np.float64), batch["labels"])
    assert losses.total.item() == pytest.approx(each.mean(), abs=1e-5)
    assert losses.weight == 5
    parts = {name: value.item() for name, value in losses.parts.items()}
    assert parts["camlm_loss"] == pytest.approx(each[:3].mean(), abs=1e-5)
    assert parts["btmlm_loss"] == pytest.approx(each[3:].mean(), abs=1e-5)
    assert parts["tlm_loss"] == 0.0
    assert NAMES.index("camlm") == 2 and NAMES.index("btmlm") == 3


def test_nothing_of_its_own_text_reaches_a_hidden_token() -> None:
    model, batch = build("ernie_m", "ErnieMForMaskedLM"), cross_lingual_batch()

    def scores(ids: np.ndarray) -> np.ndarray:
        mask = paddle.to_tensor(batch["attention_mask"])
        return model(paddle.to_tensor(ids), attention_mask=mask).logits.numpy()[0]

    before, changed = scores(batch["input_ids"]), batch["input_ids"].copy()
    changed[0, [0, 2, 4, 5]] = 77  # all that is not hidden in the first text
    after = scores(changed)
    assert np.abs(before[[1, 3]] - after[[1, 3]]).max() < 1e-5
    assert np.abs(before[8] - after[8]).max() > 1e-2  # the second text's hidden token is told from it


def test_translating_leaves_no_gradient_and_no_dropout() -> None:
    model, batch = build("ernie_m", "ErnieMForMaskedLM", hidden_dropout_prob=0.5), cross_lingual_batch()
    objective = CrossLingualModel(("camlm", "btmlm"), special_ids=[0, 1, 2, 3])
    model.train()
    inputs = to_tensors(batch)
    words = [objective._translated(model, inputs).numpy() for _ in range(2)]
    assert (words[0] == words[1]).all() and model.training
    assert not np.isin(words[0].reshape(-1)[batch["pseudo_places"]], [0, 1, 2, 3]).any()
    objective.loss(model, batch, 0).total.backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "pooler" not in name)


def document_batch(starts: int, counts: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 100, (2, 10))
    labels = np.full((2, 10), -100)
    labels[:, [2, 6]] = generator.integers(5, 100, (2, 2))
    return {
        "input_ids": ids,
        "token_type_ids": np.zeros_like(ids),
        "attention_mask": np.ones_like(ids),
        "labels": labels,
        "orders": np.array([-100, 4]),
        "slots": np.array([0, 2]),
        "starts": np.array([starts, starts]),
        "counts": np.array(counts),
    }


def test_a_segment_is_read_with_the_memory_of_those_before() -> None:
    model = build("ernie_doc", "ErnieDocForPretraining", num_labels=9)
    states = {name: np.zeros(shape, np.float32) for name, shape in model.config.state_shapes.items()}
    objective = DocumentLanguageModel(states)
    first, second = document_batch(1, (0, 1), 0), document_batch(0, (1, 1), 1)
    objective.loss(model, first, 0)
    losses = objective.loss(model, second, 1)

    names = ("input_ids", "token_type_ids", "attention_mask")
    memories = model(**to_tensors({name: first[name] for name in names})).memories
    result = model(**to_tensors({name: second[name] for name in names}), memories=memories)
    chosen = second["labels"] != -100
    words = softmax_loss(result.prediction_logits.numpy()[chosen].astype(np.float64), second["labels"][chosen])
    order = softmax_loss(result.logits.numpy()[1:].astype(np.float64), np.array([4]))
    assert losses.total.item() == pytest.approx(words.mean() + order.mean(), abs=1e-5)
    assert losses.weight == 4
    fresh = DocumentLanguageModel(states)
    assert abs(fresh.loss(model, {**second, "starts": np.array([1, 1])}, 0).total.item() - losses.total.item()) > 1e-4

    again = DocumentLanguageModel(states)
    again.loss(model, first, 0)
    other = DocumentLanguageModel(states)
    other.carry({name: value.numpy() for name, value in again.carried().items()})
    assert other.loss(model, second, 1).total.item() == losses.total.item()


def test_what_is_only_read_teaches_nothing() -> None:
    model = build("ernie_doc", "ErnieDocForPretraining", num_labels=9)
    states = {name: np.zeros(shape, np.float32) for name, shape in model.config.state_shapes.items()}
    losses = DocumentLanguageModel(states).loss(model, document_batch(1, (0, 0), 0), 0)
    losses.total.backward()
    assert losses.weight == 0 and losses.total.item() == 0.0
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is not None and not gradient.numpy().any() for gradient in gradients)
