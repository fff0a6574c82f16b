"""Replays model cases: builds the class, loads the weights, makes the calls and compares every value.

Upstream returns tuples whose positions depend on what was asked for; here a position is that of the field among those
that are not None, in the order in which `zoo_cli.models.outputs.ModelOutput` declares them. Classes that return
something else upstream are listed in `TUPLES`.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from safetensors.numpy import load_file

from tests.golden.generation import (
    CAUSAL,
    huggingface_arguments,
    huggingface_output,
    replay_generate,
    visible_only,
)
from tests.golden.outcome import Outcome
from zoo_cli import models
from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import sha256_file
from zoo_cli.registry import family_of

TOLERANCE = 1e-5
MASKED_TOLERANCE = 2e-3
"""For rows that see no key: they attend by scores that the mask has rounded."""

TUPLES: dict[str, tuple[str, ...]] = {
    "UIE": ("start_prob", "end_prob"),
    "UIEM": ("start_prob", "end_prob"),
    "TinyBertForPretraining": ("last_hidden_state",),
    "ElectraForTotalPretraining": (
        "generator_logits",
        "discriminator_logits",
        "discriminator_labels",
        "attention_mask",
    ),
}
"""Class -> fields of its tuple, where these are not all fields that have a value."""

EXTRA_ARGUMENTS: dict[str, tuple[str, ...]] = {"GPTForGreedyGeneration": ("max_predict_len",)}
"""Class -> configuration keys for what upstream's constructor takes after the configuration."""

SEGMENTED = ("ErnieDoc",)
"""Beginnings of names of classes whose inputs are [B, n, 1] and whose memories are lists upstream; padded queries see
no key."""

SQUEEZED = ("ElectraDiscriminator", "ElectraForTotalPretraining", "ErnieHealthDiscriminator")
"""Classes that drop the axis of a batch of one upstream."""

HIDDEN_ID = {"ErnieM": 0, "UIEM": 0}
"""Beginnings of names of classes -> the id they hide where there is no mask, instead of padding."""


def replay_model(folder: Path) -> Outcome:
    """Replay one case; see the folder's `meta.json`."""
    folder = Path(folder)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    try:
        family_of(meta["class"])
    except UsageError as error:
        return Outcome(folder.name, "not supported", detail=error.message)
    expected = load_file(folder / "outputs.safetensors")
    inputs = {name: paddle.to_tensor(value) for name, value in load_file(folder / "inputs.safetensors").items()}
    if "calls" not in meta:
        return replay_embeddings(folder, meta, inputs, expected)
    case = Case(folder, meta, inputs)
    comparison = Comparison()
    for call in meta["calls"]:
        with paddle.no_grad():
            case.run(call)
        for name, value in expected.items():
            call_name, _, path = name.partition("/")
            if call_name == call["name"]:
                got = case.part(call_name, path)
                if case.architecture in SQUEEZED and got is not None and np.size(got) == value.size:
                    got = np.asarray(got).reshape(value.shape)
                if case.from_huggingface and case.architecture.startswith(CAUSAL):
                    got = visible_only(got, value, case.masked_rows(call))
                comparison.add(name, got, value, case.masked_rows(call))
    lacking = {name.partition("/")[0] for name in expected} - {call["name"] for call in meta["calls"]}
    if lacking:
        return Outcome(folder.name, "not supported", detail=f"outputs without a call: {', '.join(sorted(lacking))}")
    return comparison.outcome(folder.name)


class Case:
    """The model of a case, and the results of its calls so far."""

    def __init__(self, folder: Path, meta: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        self.architecture: str = meta["class"]
        self.inputs = inputs
        self.results: dict[str, Any] = {}
        self.values: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.from_huggingface = (folder / "model.safetensors").is_file()
        if self.from_huggingface:
            self.model = models.load(folder, self.architecture)
        else:
            self.values |= dict(
                zip(EXTRA_ARGUMENTS.get(self.architecture, ()), meta.get("extra_args", ()), strict=True)
            )
            self.model = self.build({})
            weights = load_file(folder / "weights.safetensors")
            if weights:
                report = models.load_weights(self.model, weights)
                if not report.complete:
                    raise ValueError(f"the weights do not fit the class: {report}")
        for name, value in meta.get("attributes_set", {}).items():
            setattr(self.model, name, value)
        self.model.eval()

    def build(self, changes: Mapping[str, Any]) -> Any:
        return models.build(self.architecture, {**self.values, **changes})

    def arguments(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments of a call, references looked up; without `return_dict`, as results are always objects."""
        named = {name: self.look_up(value) for name, value in call["kwargs"].items() if name != "return_dict"}
        if self.from_huggingface and "attention_mask" not in named and "input_ids" in named:
            named["attention_mask"] = paddle.ones_like(named["input_ids"])
        if self.from_huggingface and self.architecture.startswith(CAUSAL):
            named = huggingface_arguments(named)
        if "cache" in named:
            named["past_key_values"] = named.pop("cache")
        return segment_arguments(named) if self.architecture.startswith(SEGMENTED) else named

    def look_up(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("@["):
            return [self.inputs[name.strip()] for name in value[2:-1].split(",")]
        if isinstance(value, str) and value.startswith("@"):
            return self.inputs[value[1:]]
        if isinstance(value, str) and value.startswith("$"):
            call, _, path = value[1:].partition("/")
            return self.part(call, path)
        if isinstance(value, list):
            return [self.look_up(item) for item in value]
        return value

    def run(self, call: Mapping[str, Any]) -> None:
        model = self.build(call["init"]) if call.get("init") else self.model
        if call["method"] == "generate":
            self.results[call["name"]] = replay_generate(model, self.arguments(call), self.from_huggingface)
            return
        method = model if call["method"] == "forward" else getattr(model, call["method"])
        self.results[call["name"]] = method(**self.arguments(call))
        if self.from_huggingface and self.architecture.startswith(CAUSAL):
            huggingface_output(model, self.results[call["name"]])

    def part(self, call: str, path: str) -> Any:
        """A part of a call's result: ``""``, or fields and positions separated by dots."""
        value = self.results[call]
        if not path:
            return self.positions(value)[0] if is_dataclass(value) else value
        for step in path.split("."):
            if step in ("k", "v") and isinstance(value, tuple | list):
                value = value["kv".index(step)]
            elif not step.isdigit():
                value = value[step] if isinstance(value, Mapping) else getattr(value, step)
            else:
                value = (self.positions(value) if is_dataclass(value) else value)[int(step)]
        return value

    def positions(self, value: Any) -> list[Any]:
        names = TUPLES.get(self.architecture, [field.name for field in fields(value)])
        parts = [part for part in (getattr(value, name) for name in names) if part is not None]
        if self.architecture.startswith(SEGMENTED):
            parts[-1] = value.memories.unbind(axis=1)
        return parts

    def masked_rows(self, call: Mapping[str, Any]) -> np.ndarray | None:
        """Which queries of a call see no key at all, [B, S], or None where there are none."""
        named = self.arguments(call)
        if named.get("input_ids") is None or named["input_ids"].ndim != 2:
            return None
        ids = named["input_ids"].numpy()
        batch, length = ids.shape
        mask = named.get("attention_mask")
        if mask is None:
            hidden = [number for start, number in HIDDEN_ID.items() if self.architecture.startswith(start)]
            mask = ids != (hidden[0] if hidden else self.model.config.pad_token_id)
        else:
            mask = mask.numpy()
        if self.architecture.startswith(SEGMENTED):
            return mask == 0
        if mask.ndim == 2:
            visible = (mask != 0)[:, None, None, :]  # [B, 1, 1, T]
        else:
            visible = mask > -1e3 if mask.dtype.kind == "f" else mask != 0
            visible = visible.reshape(batch, -1, *mask.shape[-2:])  # [B, 1 or A, 1 or S, T]
        if self.architecture.startswith(CAUSAL) and visible.shape[-1] == length:
            visible = visible & np.tri(length, dtype=bool)
        rows = np.broadcast_to((~visible.any(-1)).any(1), (batch, length))
        return rows if rows.any() else None


def segment_arguments(named: Mapping[str, Any]) -> dict[str, Any]:
    """Upstream's arguments of a class that reads texts in segments as ours."""
    ours = {"attn_mask": "attention_mask"}
    arguments = {ours.get(name, name): value.squeeze(-1) for name, value in named.items() if name != "memories"}
    return {**arguments, "memories": paddle.stack(named["memories"], axis=1)}


class Comparison:
    """Compares values and remembers the worst."""

    def __init__(self) -> None:
        self.compared = 0
        self.largest = 0.0
        self.wrong: list[str] = []

    def add(self, name: str, got: Any, expected: np.ndarray, masked: np.ndarray | None = None) -> None:
        """Compare one array.

        Integers and booleans have to be equal. Floats may differ by the tolerance, and above 100 in proportion.
        """
        self.compared += 1
        if got is None:
            self.wrong.append(f"{name} is missing")
            return
        got = np.asarray(got)
        if got.size == 1 and expected.size == 1:
            got = got.reshape(expected.shape)
        if got.shape != expected.shape:
            self.wrong.append(f"{name} has shape {got.shape}, not {expected.shape}")
            return
        if not got.size:
            return
        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        difference = np.where(np.isnan(difference), np.inf, difference)
        difference[got == expected] = 0  # equal infinities too
        if expected.dtype.kind == "f":
            difference /= np.maximum(1.0, np.abs(expected, dtype=np.float64) / 100)
            allowed = np.broadcast_to(_tolerances(expected.shape, masked), expected.shape)
        else:
            allowed = np.zeros(expected.shape)
        self.largest = max(self.largest, float(difference.max()))
        if (difference > allowed).any():
            self.wrong.append(f"{name} differs by {difference[difference > allowed].max():.3g}")

    def outcome(self, name: str) -> Outcome:
        status = "differs" if self.wrong or not self.compared else "ok"
        detail = "; ".join(self.wrong) if self.compared else "nothing was compared"
        return Outcome(name, status, self.compared, self.largest, detail)  # type: ignore[arg-type]


def _tolerances(shape: tuple[int, ...], masked: np.ndarray | None) -> np.ndarray:
    """Allowed difference, as an array that broadcasts to an output of that shape."""
    if masked is None or len(shape) == 0:
        return np.full(1, TOLERANCE)
    batch, length = masked.shape
    if shape[:2] == (batch, length):  # a value for each token
        rows = masked.reshape(batch, length, *[1] * (len(shape) - 2))
    elif len(shape) == 4 and shape[0] == batch and shape[2] == length:  # attentions
        rows = masked.reshape(batch, 1, length, 1)
    elif shape[0] == batch:  # a value for each text
        rows = masked.any(1).reshape(batch, *[1] * (len(shape) - 1))
    else:  # a loss, or chosen tokens of the batch
        rows = np.full([1] * len(shape), masked.any())
    return np.where(rows, MASKED_TOLERANCE, TOLERANCE)


def replay_embeddings(
    folder: Path, meta: Mapping[str, Any], inputs: Mapping[str, Any], expected: Mapping[str, np.ndarray]
) -> Outcome:
    """Replay sentence embeddings of real weights, which are in the package that `meta["path"]` names."""
    package, *inside = meta["path"].split("/{")[0].removeprefix("<site-packages>/").split("/")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return Outcome(folder.name, "skipped", detail=f"the package {package} is not installed ({meta['install']})")
    weights = Path(spec.origin).parent.joinpath(*inside)
    for name, digest in meta["sha256"].items():
        if name.endswith(".safetensors") and sha256_file(weights / name) != digest:
            return Outcome(folder.name, "skipped", detail=f"the package {package} has other weights")
    model = models.load(weights, meta["class"])
    with paddle.no_grad():
        output = model(**inputs)
    mask = inputs["attention_mask"].numpy()
    hidden = output.last_hidden_state.numpy()
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
    embeddings = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    computed = {
        "first_sentence_hidden": hidden[0][mask[0] == 1],
        "pooler_output": output.pooler_output,
        "mean_pooled": mean.astype(np.float32),
        "embeddings": embeddings.astype(np.float32),
        "cosine": (embeddings @ embeddings.T).astype(np.float32),
    }
    comparison = Comparison()
    for name, value in expected.items():
        comparison.add(name, computed.get(name), value)
    return comparison.outcome(folder.name)
