"""Folders of all layouts, the prefix rule, tied weights, and files that do not fit."""

from __future__ import annotations

import io
import json
import logging
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import safetensors.paddle
from safetensors.numpy import load_file, save_file

from tests.models.support import batch, call, tiny
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.models import checkpoint
from zoo_cli.models.conversion import HuggingFaceLayout
from zoo_cli.registry import FAMILIES, family

TWINS = [
    (name, theirs, ours)
    for name in FAMILIES
    for theirs, ours in (
        checkpoint.huggingface_layout(family(name)) or HuggingFaceLayout("", "", "", (), {})
    ).architectures.items()
]


def same(one: Any, other: Any) -> bool:
    theirs = other.state_dict()
    return all(np.array_equal(value.numpy(), theirs[name].numpy()) for name, value in one.state_dict().items())


# -- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "theirs", "ours"), TWINS)
def test_huggingface_round_trip(name: str, theirs: str, ours: str, tmp_path: Path) -> None:
    model = tiny(ours)
    models.save(model, tmp_path, "huggingface")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["architectures"] == [theirs]
    assert checkpoint.find_layout(tmp_path) == "huggingface"
    loaded = models.load(tmp_path, strict=True)
    assert type(loaded) is type(model) and same(model, loaded)
    again = tmp_path / "again"
    models.save(loaded, again, "huggingface")
    assert load_file(again / "model.safetensors").keys() == load_file(tmp_path / "model.safetensors").keys()
    assert json.loads((again / "config.json").read_text()) == written


def test_huggingface_names_and_shapes(tmp_path: Path) -> None:
    model = tiny("BertForQuestionAnswering")
    models.save(model, tmp_path, "huggingface")
    weights = load_file(tmp_path / "model.safetensors")
    ours = model.state_dict()
    assert weights["qa_outputs.weight"].shape == (2, 32)
    np.testing.assert_array_equal(
        weights["bert.encoder.layer.1.intermediate.dense.weight"],
        ours["bert.encoder.layers.1.linear1.weight"].numpy().T,
    )
    np.testing.assert_array_equal(
        weights["bert.encoder.layer.0.attention.self.value.weight"],
        ours["bert.encoder.layers.0.self_attn.v_proj.weight"].numpy().T,
    )
    with safetensors.safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}  # transformers refuses files without it


def test_old_names_of_huggingface(tmp_path: Path) -> None:
    model = tiny("BertModel")
    models.save(model, tmp_path, "huggingface")
    weights = load_file(tmp_path / "model.safetensors")
    renamed = {
        "bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in weights.items()
    }
    renamed["bert.embeddings.position_ids"] = np.arange(64)
    save_file(renamed, tmp_path / "model.safetensors")
    assert same(model, models.load(tmp_path, strict=True))


def test_what_huggingface_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no class for UIE"):
        models.save(tiny("UIE"), tmp_path, "huggingface")
    with pytest.raises(UsageError, match="pooler"):
        models.save(tiny("BertModel", pool_act="relu"), tmp_path, "huggingface")
    with pytest.raises(UsageError, match="task type"):
        models.save(tiny("ErnieModel", task_id=2), tmp_path, "huggingface")
    with pytest.raises(UsageError, match="pruned"):
        models.save(tiny("BertModel", head_dim=8, layer_num_heads=[2, 4]), tmp_path, "huggingface")


def test_paddle_reads_what_is_written(tmp_path: Path) -> None:
    model = tiny("BertForPretraining")
    models.save(model, tmp_path, "paddlenlp")
    state = paddle.load(str(tmp_path / "model_state.pdparams"))
    assert isinstance(state["bert.pooler.dense.weight"], paddle.Tensor)
    published = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.decoder_bias"}
    assert published <= set(state)
    np.testing.assert_array_equal(
        state["cls.predictions.decoder.weight"].numpy(), state["bert.embeddings.word_embeddings.weight"].numpy()
    )


def test_what_paddle_writes_is_read(tmp_path: Path) -> None:
    model = tiny("ErnieForTokenClassification")
    for protocol in (2, 4):
        paddle.save(model.state_dict(), str(tmp_path / "model_state.pdparams"), protocol=protocol)
        (tmp_path / "model_config.json").write_text(
            json.dumps(
                {
                    "init_args": [{**family("ernie").tiny, "init_class": "ErnieModel"}],
                    "init_class": "ErnieForTokenClassification",
                    "num_classes": 2,
                }
            )
        )
        assert same(model, models.load(tmp_path, strict=True))


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_half_precision_is_read_as_float32(tmp_path: Path, kind: str) -> None:
    model = tiny("BertModel")
    models.save(model, tmp_path)
    half = {name: value.astype(kind) for name, value in model.state_dict().items()}
    expected = {name: value.astype("float32").numpy() for name, value in half.items()}
    safetensors.paddle.save_file(half, str(tmp_path / "model.safetensors"))
    loaded = models.load(tmp_path, strict=True)
    (tmp_path / "model.safetensors").unlink()
    paddle.save(half, str(tmp_path / "model_state.pdparams"))
    from_pickle = models.load(tmp_path, strict=True)
    for name, value in expected.items():
        assert loaded.state_dict()[name].dtype == paddle.float32
        np.testing.assert_array_equal(loaded.state_dict()[name].numpy(), value)
        np.testing.assert_array_equal(from_pickle.state_dict()[name].numpy(), value)


# -- prefix rule and tied weights -------------------------------------------------------------------------------------


def test_a_backbone_fits_under_a_head(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backbone = tiny("ErnieModel")
    models.save(backbone, tmp_path)
    with caplog.at_level(logging.WARNING):
        paddle.seed(5)
        model = models.load(tmp_path, "ErnieForTokenClassification", overrides={"num_labels": 9})
    report = model.load_report
    assert report is not None
    assert set(report.missing) == {"classifier.weight", "classifier.bias"} and not report.unexpected
    assert "classifier.weight" in caplog.text
    assert same(backbone, model.backbone)
    assert model.classifier.weight.shape == [32, 9]
    assert float(model.classifier.weight.std()) == pytest.approx(0.3, rel=0.2)
    paddle.seed(5)
    again = models.load(tmp_path, "ErnieForTokenClassification", overrides={"num_labels": 9})
    assert same(model, again)


def test_a_head_model_fits_its_backbone(tmp_path: Path) -> None:
    model = tiny("UIE")
    models.save(model, tmp_path, "paddlenlp")
    backbone = models.load(tmp_path, "ErnieModel")
    assert same(model.backbone, backbone)
    assert backbone.load_report is not None
    assert set(backbone.load_report.unexpected) == {
        f"linear_{side}.{part}" for side in ("start", "end") for part in ("weight", "bias")
    }
    assert backbone.config.architecture == "ErnieModel"


def test_one_head_in_place_of_another(tmp_path: Path) -> None:
    model = tiny("UIE")
    models.save(model, tmp_path)
    other = models.load(tmp_path, "UTC")
    assert same(model.backbone, other.backbone)
    assert other.load_report is not None and len(other.load_report.missing) == 4


@pytest.mark.parametrize(
    "dropped",
    [
        {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"},
        {"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder_bias"},
        {"cls.predictions.decoder.weight", "cls.predictions.decoder_bias"},
        {"bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.bias"},
    ],
)
def test_a_tied_weight_may_have_any_of_its_names(tmp_path: Path, dropped: set[str]) -> None:
    model = tiny("BertForMaskedLM")
    model.cls.predictions.decoder_bias.set_value(paddle.randn([120]))
    models.save(model, tmp_path, "paddlenlp")
    weights = checkpoint.read_pdparams(tmp_path / "model_state.pdparams")
    checkpoint.write_pdparams(
        tmp_path / "model_state.pdparams", {name: value for name, value in weights.items() if name not in dropped}
    )
    assert same(model, models.load(tmp_path, strict=True))


def test_tied_weights_stay_tied() -> None:
    model = tiny("BertForMaskedLM")
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    other = np.zeros_like(weights["bert.embeddings.word_embeddings.weight"])
    report = models.load_weights(model, {**weights, "cls.predictions.decoder.weight": other})
    assert report.conflicting == ("cls.predictions.decoder.weight",) and not report.complete
    arrays = batch(family("bert"), [5])
    before = call(model, arrays).logits.numpy()
    model.backbone.embeddings.word_embeddings.weight.set_value(paddle.to_tensor(other))
    after = call(model, arrays).logits.numpy()
    assert np.abs(after).max() < 1e-6 < np.abs(before).max()


# -- files that do not fit --------------------------------------------------------------------------------------------


def test_wrong_shapes_are_listed_and_nothing_is_set(tmp_path: Path) -> None:
    model = tiny("BertForSequenceClassification", num_labels=3)
    models.save(model, tmp_path)
    with pytest.raises(ArtifactError) as caught:
        models.load(tmp_path, overrides={"num_labels": 5, "vocab_size": 130})
    text = str(caught.value)
    assert "classifier.weight: (32, 3) in the file, (32, 5) here" in text
    assert "word_embeddings.weight: (120, 32) in the file, (130, 32) here" in text
    other = tiny("BertForSequenceClassification", num_labels=5)
    before = {name: value.numpy().copy() for name, value in other.state_dict().items()}
    with pytest.raises(ArtifactError):
        models.load_weights(other, {name: value.numpy() * 2 for name, value in model.state_dict().items()})
    assert all(np.array_equal(value.numpy(), before[name]) for name, value in other.state_dict().items())


def test_a_hole_in_the_backbone_is_an_error(tmp_path: Path) -> None:
    models.save(tiny("BertForTokenClassification"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    lacking = "bert.encoder.layers.1.linear2.weight"
    save_file({name: value for name, value in weights.items() if name != lacking}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=lacking):
        models.load(tmp_path)


def test_strict_accepts_nothing_but_the_model(tmp_path: Path) -> None:
    models.save(tiny("BertForTokenClassification"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "crf.transitions": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    assert models.load(tmp_path).load_report.unexpected == ("crf.transitions",)  # type: ignore[union-attr]
    with pytest.raises(ArtifactError, match=r"crf\.transitions"):
        models.load(tmp_path, strict=True)
    with pytest.raises(ArtifactError, match=r"classifier\.weight"):
        save_file({name: weights[name] for name in weights if name[0] == "b"}, tmp_path / "model.safetensors")
        models.load(tmp_path, strict=True)


def test_pickled_torch_weights_are_refused_with_a_way_out(tmp_path: Path) -> None:
    models.save(tiny("BertModel"), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="save_pretrained") as caught:
        models.load(tmp_path)
    assert caught.value.code == "torch-pickle"


def test_missing_and_damaged_weights(tmp_path: Path) -> None:
    models.save(tiny("BertModel"), tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError) as caught:
        models.load(tmp_path)
    assert caught.value.code == "broken-weights"
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ArtifactError) as caught:
        models.load(tmp_path)
    assert caught.value.code == "missing-weights"


def test_unknown_classes() -> None:
    with pytest.raises(UsageError, match="did you mean 'BertModel'"):
        models.build("BertModle")
    with pytest.raises(UsageError, match="no activation"):
        models.build("BertModel", {**family("bert").tiny, "hidden_act": "sine"})


# -- the restricted unpickler -----------------------------------------------------------------------------------------


class _Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("shape", ["bare", "value", "array", "state"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, shape: str, protocol: int) -> None:
    place = tmp_path / "was_run"
    attack = _Call(exec, f"open({str(place)!r}, 'w').close()")
    content = {
        "bare": attack,
        "value": {"weight": attack},
        "array": {"weight": np.array([attack], dtype=object)},
        "state": {"weight": np.zeros(2, np.float32), "StructuredToParameterName@@": attack},
    }[shape]
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(ArtifactError) as caught:
        checkpoint.read_pdparams(path)
    assert caught.value.code == "unsafe-pickle"
    assert not place.exists()
    pickle.loads(path.read_bytes())
    assert place.exists()  # the attack is a real one


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        pickle.dumps([1, 2]),
        pickle.dumps({"a": "text"}),
        pickle.dumps({"a": np.array(["x"], object)}),
    ],
)
def test_files_without_arrays(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model_state.pdparams"
    path.write_bytes(content)
    with pytest.raises(ArtifactError):
        checkpoint.read_pdparams(path)


def test_containers_and_bookkeeping(tmp_path: Path) -> None:
    path = tmp_path / "model_state.pdparams"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    stream = io.BytesIO()
    content = OrderedDict(
        a=array, b=("b", np.asfortranarray(array)), **{"StructuredToParameterName@@": {"a": "linear_0.w_0"}}
    )
    pickle.dump(content, stream, protocol=2)
    path.write_bytes(stream.getvalue())
    weights = checkpoint.read_pdparams(path)
    assert set(weights) == {"a", "b"}
    for value in weights.values():
        np.testing.assert_array_equal(value, array)
