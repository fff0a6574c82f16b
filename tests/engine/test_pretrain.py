"""From raw text to a model that fine-tunes, with each objective."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.conftest import ROOT
from tests.engine.stopping import reports
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli import models, tokenizers  # noqa: E402
from zoo_cli.base.errors import DataError, UsageError, ZooError  # noqa: E402
from zoo_cli.base.files import sha256_file  # noqa: E402
from zoo_cli.base.resources import locate  # noqa: E402
from zoo_cli.data.corpus.blend import parse_blend  # noqa: E402
from zoo_cli.data.corpus.builder import build_corpus  # noqa: E402
from zoo_cli.data.corpus.encoding import EncodingOptions  # noqa: E402
from zoo_cli.data.corpus.raw import find_raw_text  # noqa: E402
from zoo_cli.engine.corpus_batches import CorpusBatches, corpus_batches  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.pretrain import pretrain  # noqa: E402
from zoo_cli.engine.setup import starting_point  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402

QUICK = ("train.max_steps=4", "train.eval_steps=2", "train.batch_size=4", "pretrain.eval_batches=2")
RECIPES = ("bert", "ernie-3.0", "electra", "ernie-health", "gpt", "unimo-text", "plato")
TERMS = {
    "bert": ("mlm", "nsp"),
    "ernie-3.0": ("mlm", "sop"),
    "electra": ("generator", "rtd"),
    "ernie-health": ("generator", "rtd", "mts", "csp"),
    "gpt": ("lm",),
    "unimo-text": ("lm", "mlm"),
    "plato": ("lm", "mlm"),
}


def tiny(name: str, *overrides: str) -> LoadedRecipe:
    return load_recipe(f"{name}/pretrain", [*QUICK, *overrides], tiny=True)


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short run of each recipe."""
    folders = {}
    for name in RECIPES:
        folders[name] = tmp_path_factory.mktemp(name)
        pretrain(tiny(name), folders[name])
    return folders


@pytest.mark.parametrize("name", RECIPES)
def test_runs_report_each_loss_and_score(pretrained: dict[str, Path], name: str) -> None:
    last = rows(pretrained[name], "dev")[-1]
    assert last["step"] == 4
    for term in TERMS[name]:
        assert np.isfinite(last[f"{term}_loss"])
        assert 0.0 <= last[f"{term}_accuracy"] <= 1.0
        assert 0.0 < last[f"{term}_baseline"] <= 1.0
    assert last["perplexity"] == pytest.approx(np.exp(last[f"{TERMS[name][0]}_loss"]))
    if "rtd" in TERMS[name]:
        assert {"rtd_precision", "rtd_recall"} <= set(last)
    parts = set(rows(pretrained[name], "train")[-1])
    assert {f"{term}_loss" for term in TERMS[name]} <= parts or TERMS[name] == ("lm",)


@pytest.mark.parametrize("name", RECIPES)
def test_the_best_model_is_an_ordinary_folder(pretrained: dict[str, Path], name: str) -> None:
    best = pretrained[name] / "best"
    model = models.load(best)
    assert model.load_report is not None and model.load_report.complete
    assert len(tokenizers.load(best)) == model.config.vocab_size


def test_a_pretrained_folder_fine_tunes(pretrained: dict[str, Path], tmp_path: Path) -> None:
    overrides = [f"model.init={pretrained['bert']}", "train.max_steps=2", "train.eval_steps=2"]
    loaded = load_recipe("bert/sst2", overrides, tiny=True)
    finetune(loaded, tmp_path / "run")
    start = models.load(pretrained["bert"] / "best", "BertModel").state_dict()
    end = models.load(tmp_path / "run" / "best", "BertModel").state_dict()
    moved = max(float((end[name] - value).abs().max()) for name, value in start.items() if "embeddings" in name)
    assert 0.0 <= moved < 0.02  # two steps away from the pretrained weights, and not drawn anew


@pytest.mark.parametrize("name", ["electra", "ernie-health"])
def test_the_discriminator_is_what_fine_tunes(pretrained: dict[str, Path], name: str) -> None:
    best = pretrained[name] / "best"
    pair = models.load(best).state_dict()
    model = models.load(best, "ElectraForSequenceClassification", overrides={"num_labels": 3})
    assert model.load_report is not None
    assert {missing.split(".")[0] for missing in model.load_report.missing} == {"classifier"}
    weight = "electra.encoder.layers.0.linear1.weight"
    assert (model.state_dict()[weight] == pair[f"discriminator.{weight}"]).all()


def test_pretraining_goes_on_from_a_pretrained_folder(pretrained: dict[str, Path], tmp_path: Path) -> None:
    pretrain(tiny("gpt", f"model.init={pretrained['gpt']}"), tmp_path)
    first, again = rows(pretrained["gpt"], "dev"), rows(tmp_path, "dev")
    assert again[-1]["loss"] < first[0]["loss"]


def test_more_steps_lower_the_loss(tmp_path: Path) -> None:
    pretrain(tiny("gpt", "train.max_steps=40", "train.eval_steps=20", "train.batch_size=8"), tmp_path)
    train = rows(tmp_path, "train")
    assert train[-1]["loss"] < train[0]["loss"] - 1.0
    dev = rows(tmp_path, "dev")
    assert dev[-1]["perplexity"] < 0.7 * dev[0]["perplexity"]


# -- resuming ----------------------------------------------------------------------------------------------------------

COMMAND = ("pretrain", "-r", "electra/pretrain.yaml", "--tiny", *QUICK, "train.max_steps=9", "train.save_steps=3")


KILLED = """
import os, signal, sys
from zoo_cli.base.environment import prepare_paddle
prepare_paddle("cpu")
from zoo_cli.engine import loop

save = loop.save_checkpoint

def save_and_die(*arguments):
    save(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

loop.save_checkpoint = save_and_die
from zoo_cli.cli.app import main
main()
"""
"""`zoo`, killed behind its first checkpoint."""


def test_kill_9_and_resume_are_bit_exact(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    loaded = load_recipe(COMMAND[2].removesuffix(".yaml"), COMMAND[4:], tiny=True)
    pretrain(loaded, straight)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *COMMAND, "--output-dir", str(killed)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in (killed / "checkpoints").glob("step-*")] == ["step-000003"]
    pretrain(loaded, killed, resume=True)
    last = Path("checkpoints", "step-000009")
    for file in (last / "model.safetensors", last / "optimizer.safetensors", Path("best", "model.safetensors")):
        assert sha256_file(killed / file) == sha256_file(straight / file)
    assert [row["loss"] for row in rows(killed, "dev")] == [row["loss"] for row in rows(straight, "dev")]


def test_changed_text_is_another_training_set(pretrained: dict[str, Path], tmp_path: Path) -> None:
    text = shutil.copy(locate("sample:corpus/en.txt"), tmp_path / "en.txt")
    loaded = tiny("gpt", f"pretrain.corpora={text}")
    run = tmp_path / "run"
    pretrain(loaded, run)
    (run / "result.json").unlink()
    Path(text).write_text("One more.\n\n" + Path(text).read_text())
    with pytest.raises(UsageError) as caught:
        pretrain(loaded, run, resume=True)
    assert caught.value.code == "data-changed"


# -- batches -----------------------------------------------------------------------------------------------------------


def batches_of(loaded: LoadedRecipe, folder: Path, part: str = "train") -> CorpusBatches:
    folder.mkdir(exist_ok=True)
    _, tokenizer = starting_point(loaded, None, None)
    section = loaded.pretraining
    blend, texts = find_raw_text(parse_blend(section.corpora), folder, tokenizer, section)
    for text in texts:
        text.build()
    batches = corpus_batches(blend, tokenizer, section, loaded.recipe.train, part, folder)
    assert batches is not None
    return batches


@pytest.mark.parametrize("name", RECIPES)
def test_masks_do_not_depend_on_company_or_order(tmp_path: Path, name: str) -> None:
    """A row's arrays are a function of seed, row and epoch, so it does not matter who loads it and with what."""
    loaded = tiny(name)
    batches, others = batches_of(loaded, tmp_path / "a"), batches_of(loaded, tmp_path / "b")
    assert batches.fingerprint() == others.fingerprint()
    for epoch in (1, 0):
        chosen = batches.plan(epoch)[1]
        assert chosen.tolist() == others.plan(epoch)[1].tolist()
        together = batches.load(epoch, chosen).arrays
        views = len(together["input_ids"]) // len(chosen)
        for place, row in reversed(list(enumerate(chosen))):
            alone = others.load(epoch, np.array([row])).arrays
            for view in range(views):
                length = alone["input_ids"].shape[1]
                there = together["input_ids"][place + view * len(chosen)]
                assert there[:length].tolist() == alone["input_ids"][view].tolist()
    first, second = (batches.load(epoch, chosen).arrays["input_ids"] for epoch in (0, 1))
    assert first.shape != second.shape or (first != second).any()


def test_a_prefix_is_seen_by_all_and_a_continuation_from_left_to_right(tmp_path: Path) -> None:
    """Guessing the tokens of a continuation one after another gives back the text of the corpus."""
    loaded = tiny("unimo-text", "pretrain.masking.masked_lm_prob=0")
    tokenizer = tokenizers.load(locate("sample:vocab/wordpiece"), class_name="UNIMOTokenizer")
    batches = batches_of(loaded, tmp_path)
    batch = batches.load(0, batches.plan(0)[0]).arrays
    assert batch["continues"].all()
    width = batch["input_ids"].shape[1]
    for row, (ids, types) in enumerate(zip(batch["input_ids"], batch["token_type_ids"], strict=True)):
        places = batch["masked_positions"] // width == row
        labels, columns = batch["labels"][places], batch["masked_positions"][places] % width
        assert columns.tolist() == np.flatnonzero(types).tolist()
        prefix, size = int(columns[0]), len(columns)
        assert (ids[0], ids[prefix - 1], ids[prefix]) == (
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
            tokenizer.cls_token_id,
        )
        assert labels[-1] == tokenizer.mask_token_id
        assert ids[prefix + 1 : prefix + size].tolist() == labels[:-1].tolist()
        assert batch["position_ids"][row, : prefix + size].tolist() == [*range(prefix), *range(size)]
        sees = batch["attention_mask"][row, 0]
        assert sees[:prefix, :prefix].all() and not sees[:prefix, prefix:].any()
        assert sees[prefix : prefix + size, : prefix + size].tolist() == [
            [1] * (prefix + number + 1) + [0] * (size - number - 1) for number in range(size)
        ]
        assert not sees[prefix + size :].any()


def test_raw_text_and_its_built_corpus_are_the_same(tmp_path: Path) -> None:
    loaded = tiny("ernie-3.0")
    tokenizer = tokenizers.load(locate("sample:vocab/wordpiece"))
    text = locate("sample:corpus/zh.txt")
    build_corpus([text], tmp_path / "built", tokenizer, encoding=EncodingOptions(segmenter="jieba"))  # type: ignore[arg-type]
    raw = batches_of(loaded, tmp_path / "raw")
    built = batches_of(tiny("ernie-3.0", f"pretrain.corpora={tmp_path / 'built'}"), tmp_path / "none")
    chosen = raw.plan(0)[0]
    left, right = raw.load(0, chosen).arrays, built.load(0, chosen).arrays
    assert {name: array.tolist() for name, array in left.items()} == {name: a.tolist() for name, a in right.items()}


def test_raw_text_is_built_once(tmp_path: Path) -> None:
    loaded = tiny("gpt")
    batches_of(loaded, tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    batches_of(loaded, tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files


def test_weights_and_a_development_set_of_its_own(tmp_path: Path) -> None:
    corpora = "pretrain.corpora=[3 sample:corpus/en.txt 1 sample:corpus/zh.txt]"
    loaded = tiny("bert", corpora, "pretrain.dev=sample:corpus/medical.txt", "train.max_steps=2")
    pretrain(loaded, tmp_path / "run")
    built = {path.name.split("-")[0] for path in (tmp_path / "run" / "corpora").glob("*_ids.npy")}
    assert built == {"en", "zh", "medical"}
    assert rows(tmp_path / "run", "dev")


def test_without_a_development_part_the_last_model_is_the_best(tmp_path: Path) -> None:
    pretrain(tiny("gpt", "pretrain.split=1", "train.max_steps=2"), tmp_path)
    assert not rows(tmp_path, "dev")
    assert json.loads((tmp_path / "result.json").read_text())["best_step"] == 2


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        (["pretrain.corpora=nowhere"], "missing-corpus"),
        (["pretrain.corpora=[1 sample:corpus/en.txt, sample:corpus/zh.txt]"], "bad-blend"),
        (["pretrain.split=0,1"], "bad-split"),
        (["pretrain.raw_text.encoding=utf-99"], "bad-encoding-name"),
    ],
)
def test_wrong_corpora_are_refused(tmp_path: Path, overrides: list[str], code: str) -> None:
    with pytest.raises(ZooError) as caught:
        pretrain(tiny("bert", *overrides), tmp_path / "run")
    assert caught.value.code == code


def test_one_document_has_no_next_sentence_and_that_shows_at_once(tmp_path: Path) -> None:
    text = tmp_path / "one.txt"
    text.write_text("One sentence here.\nAnd another one.\n" * 40)
    with pytest.raises(DataError, match="second document"):
        pretrain(tiny("bert", f"pretrain.corpora={text}", "pretrain.split=1"), tmp_path / "run")


def test_a_start_from_neighbours_knows_more(tmp_path: Path) -> None:
    found = {}
    for start in ("random", "neighbours"):
        folder = tmp_path / start
        pretrain(tiny("bert", f"pretrain.start={start}", "train.max_steps=8", "train.eval_steps=8"), folder)
        found[start] = reports(folder, "dev")[-1]["mlm_loss"]
    assert found["neighbours"] < found["random"] - 0.1
    with pytest.raises(UsageError) as caught:
        pretrain(tiny("bert", "pretrain.start=neighbours"), tmp_path / "more", source=tmp_path / "random" / "best")
    assert caught.value.code == "start-from-neighbours"


@pytest.mark.parametrize(
    ("name", "overrides", "code"),
    [
        ("bert", ["pretrain.objective=rtd", "pretrain.pair=none"], "objective-of-family"),
        ("gpt", ["pretrain.objective=mlm", "pretrain.pair=sop"], "objective-of-family"),
        ("bert", ["pretrain.max_length=512"], "too-long"),
        ("bert", ["data.train=x.txt", "data.format=csv"], "no-labelled-data"),
        ("bert", ["task.name=extraction"], "two-trainings"),
        ("electra", ["model.config.generator_config={hiden_size: 3}"], "wrong-value"),
        ("gpt", ["pretrain.start=neighbours"], "start-from-neighbours"),
        ("bert", ["pretrain.start=neighbours", "model.init=some/folder"], "start-from-neighbours"),
        ("bert", ["pretrain.start=neighbours", "train.parallel.tensor=2"], "start-from-neighbours"),
    ],
)
def test_rules_of_pretraining(name: str, overrides: list[str], code: str) -> None:
    with pytest.raises(ZooError) as caught:
        tiny(name, *overrides)
    assert code in {error.code for error in getattr(caught.value, "errors", [caught.value])}


def test_recipes_are_for_one_verb(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        finetune(tiny("bert"), tmp_path)
    assert caught.value.code == "no-task"
    with pytest.raises(UsageError) as caught:
        pretrain(load_recipe("bert/sst2", tiny=True), tmp_path)
    assert caught.value.code == "no-pretraining"
