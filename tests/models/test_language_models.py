"""UNIMO, UnifiedTransformer and GPT: what is theirs alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.support import call, tiny
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.models.gpt.config import GPTConfig

PREFIX = ["UNIMOModel", "UnifiedTransformerModel"]


def ids(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(5, 100, shape)


# -- prefix language models -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", PREFIX)
def test_left_padding_changes_nothing(architecture: str) -> None:
    model = tiny(architecture)
    text = ids(2, 6)
    padded = np.concatenate([np.zeros((2, 3), np.int64), text], axis=1)
    expected = call(model, {"input_ids": text}).last_hidden_state.numpy()
    got = call(model, {"input_ids": padded}).last_hidden_state.numpy()
    np.testing.assert_allclose(got[:, 3:], expected, atol=1e-5)


@pytest.mark.parametrize("architecture", PREFIX)
def test_masks_of_all_kinds_say_the_same(architecture: str) -> None:
    model = tiny(architecture)
    text = ids(2, 6)
    seen = np.broadcast_to(np.tri(6, dtype=np.int64), (2, 1, 6, 6))
    by_integers = call(model, {"input_ids": text, "attention_mask": seen}).last_hidden_state.numpy()
    by_floats = call(model, {"input_ids": text, "attention_mask": (1 - seen).astype(np.float32) * -1e4})
    np.testing.assert_allclose(by_integers, by_floats.last_hidden_state.numpy(), atol=1e-6)
    changed = text.copy()
    changed[:, 4] += 1
    later = call(model, {"input_ids": changed, "attention_mask": seen}).last_hidden_state.numpy()
    np.testing.assert_allclose(later[:, :4], by_integers[:, :4], atol=1e-6)
    assert np.abs(later[:, 4:] - by_integers[:, 4:]).max() > 1e-3


@pytest.mark.parametrize("architecture", [*PREFIX, "GPTModel"])
def test_a_cache_gives_the_same(architecture: str) -> None:
    model = tiny(architecture)
    text = ids(2, 9)
    causal = np.broadcast_to(np.tri(9, dtype=np.int64), (2, 1, 9, 9))
    whole = call(model, {"input_ids": text, "attention_mask": causal}).last_hidden_state.numpy()
    start = call(model, {"input_ids": text[:, :5], "attention_mask": causal[:, :, :5, :5]}, use_cache=True)
    rest = call(
        model, {"input_ids": text[:, 5:], "attention_mask": causal[:, :, 5:]}, past_key_values=start.past_key_values
    )
    np.testing.assert_allclose(rest.last_hidden_state.numpy(), whole[:, 5:], atol=1e-5)


def test_roles() -> None:
    text = ids(1, 5)
    model = tiny("UnifiedTransformerModel", role_type_size=3)
    plain = call(model, {"input_ids": text}).last_hidden_state.numpy()
    nobody = call(model, {"input_ids": text, "role_ids": np.full((1, 5), -1)}).last_hidden_state.numpy()
    somebody = call(model, {"input_ids": text, "role_ids": np.array([[0, 0, 0, 2, 2]])}).last_hidden_state.numpy()
    np.testing.assert_array_equal(nobody, plain)
    assert np.abs(somebody - plain).max() > 1e-3
    with pytest.raises(UsageError, match="no role embeddings"):
        call(tiny("UnifiedTransformerModel"), {"input_ids": text, "role_ids": text * 0})


@pytest.mark.parametrize("architecture", ["UNIMOLMHeadModel", "UnifiedTransformerLMHeadModel"])
def test_loss_at_masked_positions(architecture: str) -> None:
    model = tiny(architecture)
    text = ids(2, 6)
    places, labels = np.array([1, 3, 8, 10, 11, 2, 4, 9]), ids(8, seed=1)
    labels[2] = -100
    everywhere = call(model, {"input_ids": text}).logits.reshape([12, -1])
    output = call(model, {"input_ids": text, "masked_positions": places, "labels": labels})
    np.testing.assert_allclose(output.logits.numpy(), everywhere.numpy()[places], atol=1e-4)
    counted = labels != -100
    expected = F.cross_entropy(output.logits[counted], paddle.to_tensor(labels[counted]))
    assert float(output.loss) == pytest.approx(float(expected), rel=1e-5)


# -- GPT ------------------------------------------------------------------------------------------------------------


def test_no_token_sees_a_later_one() -> None:
    model = tiny("GPTModel")
    text = ids(2, 8)
    changed = text.copy()
    changed[:, 5] += 1
    before, after = (call(model, {"input_ids": x}).last_hidden_state.numpy() for x in (text, changed))
    np.testing.assert_array_equal(after[:, :5], before[:, :5])
    assert (np.abs(after[:, 5:] - before[:, 5:]).max(-1) > 1e-4).all()


def test_fused_and_separate_projections_agree() -> None:
    plain, fused = tiny("GPTModel"), tiny("GPTModel", fuse_attention_qkv=True)
    weights = {name: value.numpy() for name, value in plain.state_dict().items()}
    for layer in range(2):
        start = f"decoder.layers.{layer}.self_attn."
        for end in ("weight", "bias"):
            # [.., A, d] each; a head's three parts next to each other
            parts = [weights.pop(f"{start}{name}_proj.{end}") for name in "qkv"]
            heads = np.stack([part.reshape(*part.shape[:-1], 4, 8) for part in parts], axis=-2)
            weights[f"{start}qkv_proj.{end}"] = heads.reshape(*parts[0].shape[:-1], -1)
    assert models.load_weights(fused, weights).complete
    text = ids(2, 7)
    one, other = (call(model, {"input_ids": text}).last_hidden_state.numpy() for model in (plain, fused))
    np.testing.assert_allclose(other, one, atol=1e-5)


def test_hidden_states_end_before_the_final_norm() -> None:
    model = tiny("GPTModel")
    output = call(model, {"input_ids": ids(2, 5)}, output_hidden_states=True, output_attentions=True)
    assert len(output.hidden_states) == 3 and len(output.attentions) == 2
    np.testing.assert_array_equal(
        model.decoder.norm(output.hidden_states[-1]).numpy(), output.last_hidden_state.numpy()
    )


def test_the_last_token_that_is_not_the_end_is_classified() -> None:
    model = tiny("GPTForSequenceClassification", num_labels=3, eos_token_id=2)
    text = ids(3, 6)
    padded = text.copy()
    padded[1, 4:] = 2
    padded[2, 1:] = 2
    logits = call(model, {"input_ids": padded}).logits.numpy()
    for row, length in enumerate((6, 4, 1)):
        alone = call(model, {"input_ids": text[row : row + 1, :length]}).logits.numpy()[0]
        np.testing.assert_allclose(logits[row], alone, atol=1e-5)
    nothing = call(model, {"input_ids": np.full((1, 4), 2)}).logits.numpy()
    assert np.isfinite(nothing).all()


def test_what_counts_in_the_loss() -> None:
    criterion = models.build("GPTPretrainingCriterion", {"ignore_index": 3})
    logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(2, 4, 9)).astype(np.float32))
    labels = paddle.to_tensor(np.array([[3, 1, 2, 8], [0, 3, 3, 5]]))
    each = F.cross_entropy(logits, labels, reduction="none").squeeze(-1).numpy()
    counts = labels.numpy() != 3
    assert float(criterion(logits, labels)) == pytest.approx(each[counts].mean(), rel=1e-5)
    mask = paddle.to_tensor(np.array([[1, 1, 0, 0], [1, 1, 0, 0]], np.float32))
    expected = (each * counts)[:, :2].sum() / 4  # a label that does not count adds 0 and is divided by all the same
    assert float(criterion(logits, labels, mask)) == pytest.approx(expected, rel=1e-5)
    assert float(criterion(logits, labels * 0 + 3)) == 0


def test_greedy_generation_stops_for_all_rows_at_once() -> None:
    model = tiny("GPTForGreedyGeneration", max_predict_len=5)
    text = ids(2, 4)
    with paddle.no_grad():
        sequences = model(paddle.to_tensor(text)).sequences.numpy()
    assert sequences.shape == (2, 10)
    np.testing.assert_array_equal(sequences[:, :4], text)
    largest = int(sequences[:, 5].max())
    first = 4 + int(np.argmax(sequences[:, 4:].max(0) == largest))
    stopped = tiny("GPTForGreedyGeneration", max_predict_len=5, eol_token_id=largest)(paddle.to_tensor(text))
    np.testing.assert_array_equal(stopped.sequences.numpy(), sequences[:, : first + 1])


def test_configuration() -> None:
    config = GPTConfig(
        n_embd=24, n_head=3, n_layer=1, n_positions=40, n_inner=50, resid_pdrop=0.3, activation_function="relu"
    )
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (24, 3, 50)
    assert (config.max_position_embeddings, config.attention_probs_dropout_prob) == (40, 0.3)
    assert config.hidden_activation == "gelu"  # the other key has no effect in PaddleNLP
    assert GPTConfig(layer_norm_eps=0.1).norm_epsilon == 1e-5


# -- GPT-2 at Hugging Face --------------------------------------------------------------------------------------------


def test_gpt2_files(tmp_path: Path) -> None:
    model = tiny("GPTLMHeadModel", effective_layer_norm_eps=1e-3)
    models.save(model, tmp_path, "huggingface")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["architectures"] == ["GPT2LMHeadModel"] and written["model_type"] == "gpt2"
    assert (written["n_embd"], written["n_layer"], written["n_head"], written["n_inner"]) == (32, 2, 4, 64)
    assert (written["activation_function"], written["layer_norm_epsilon"]) == ("gelu_new", 1e-3)
    weights = load_file(tmp_path / "model.safetensors")
    ours = {name: value.numpy() for name, value in model.state_dict().items()}
    start = "gpt.decoder.layers.1.self_attn."
    np.testing.assert_array_equal(
        weights["transformer.h.1.attn.c_attn.weight"],
        np.concatenate([ours[f"{start}{part}_proj.weight"] for part in "qkv"], axis=1),
    )
    np.testing.assert_array_equal(
        weights["transformer.h.0.mlp.c_fc.weight"], ours["gpt.decoder.layers.0.linear1.weight"]
    )
    # what older files have besides
    weights["transformer.h.0.attn.bias"] = np.ones((1, 1, 8, 8), np.float32)
    weights["transformer.h.0.attn.masked_bias"] = np.array(-1e4, np.float32)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    save_file(weights, tmp_path / "model.safetensors")
    loaded = models.load(tmp_path, strict=True)
    text = ids(2, 7)
    one, other = (call(each, {"input_ids": text}).logits.numpy() for each in (model, loaded))
    np.testing.assert_array_equal(other, one)


def test_gpt2_configuration(tmp_path: Path) -> None:
    models.save(tiny("GPTModel"), tmp_path, "huggingface")
    path = tmp_path / "config.json"
    theirs = {"model_type": "gpt2", "architectures": ["GPT2Model"], "vocab_size": 120, "n_embd": 32, "n_layer": 2}
    theirs |= {"n_head": 4, "n_inner": 64, "n_positions": 128}
    path.write_text(json.dumps(theirs))
    config = models.load(tmp_path).config
    assert isinstance(config, GPTConfig)
    assert (config.eos_token_id, config.pad_token_id, config.ignore_index) == (50256, 50256, -100)
    path.write_text(json.dumps({**theirs, "n_inner": None}))
    with pytest.raises(ArtifactError, match="linear1"):  # four times as wide as the model
        models.load(tmp_path)
    for key, value in (
        ("scale_attn_by_inverse_layer_idx", True),
        ("scale_attn_weights", False),
        ("activation_function", "gelu"),
        ("tie_word_embeddings", False),
    ):
        path.write_text(json.dumps({**theirs, key: value}))
        with pytest.raises(ArtifactError, match=key):
            models.load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"normalize_before": False}, {"fuse_attention_qkv": True}, {"scale_qk_coeff": 2.0}]
)
def test_what_gpt2_cannot_be_is_refused(changes: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        models.save(tiny("GPTModel", **changes), tmp_path, "huggingface")
