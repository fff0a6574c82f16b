"""From a recipe to a model: which configuration holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli import models  # noqa: E402
from zoo_cli.engine.setup import make_model, starting_point  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402
from zoo_cli.registry import family  # noqa: E402
from zoo_cli.tokenizers import load  # noqa: E402


@pytest.mark.parametrize("init", ["scratch:ernie-3.0-nano-zh", "ernie-3.0-nano-zh"])
def test_weights_from_elsewhere_have_their_own_shape(tmp_path: Path, init: str) -> None:
    config = {**family("ernie").tiny, "vocab_size": 8, "hidden_dropout_prob": 0.3}
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "天", "地", "人"]), encoding="utf-8")
    encoder = tmp_path / "encoder"
    models.save(models.build("ErnieModel", config), encoder)
    load(vocab, "ErnieTokenizer").save(encoder)
    loaded = load_recipe("ernie-3.0/tnews", [f"model.init={init}", "model.config.attention_probs_dropout_prob=0.25"])
    folder, tokenizer = starting_point(loaded, encoder, None)
    model = make_model(loaded, "ErnieForSequenceClassification", folder, tokenizer, {"num_labels": 5}, encoder)
    found = model.config.model_dump()
    assert found["num_labels"] == 5 and found["attention_probs_dropout_prob"] == 0.25
    for name in ("vocab_size", "hidden_size", "num_hidden_layers", "hidden_dropout_prob"):
        assert found[name] == config[name]
