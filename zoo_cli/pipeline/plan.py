"""`zoo plan`: the memory that training takes on each device, for every way to spread it over several.

Weights are counted exactly (`zoo_cli.models.sizes`), activations as the models save them
(`zoo_cli.pipeline.activations`). In every precision weights, gradients and AdamW's two moments are float32: autocast
computes with copies. Sharding is that of ZeRO, Rajbhandari et al., 2019, https://arxiv.org/abs/1910.02054: the data
parallel groups share the optimiser state (stage 1), the gradients too (2), the weights too (3).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_cli import registry, tokenizers
from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import locate
from zoo_cli.models.checkpoint import load_config
from zoo_cli.models.config import ModelConfig, parse
from zoo_cli.models.sharding import indivisible, split_axis
from zoo_cli.models.sizes import Shapes, generator_config, parameter_count, parameter_shapes
from zoo_cli.pipeline.activations import FULL, Batch, activation_bytes
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import ModelSection
from zoo_cli.tokenizers.loading import tokenizer_class
from zoo_cli.tokenizers.pretrained import CONFIG_FILE

HEADROOM = 0.1
"""Share of a device that is left for the driver, work space of kernels and fragmentation."""
STAGES = (0, 1, 2, 3)
PRECISIONS = ("float32", "bfloat16")
DEFAULT_CHOICES = 4
"""Answers of a question where neither the recipe nor the model says how many there are."""
_PAIRS = ("ForTotalPretraining", "ElectraForPretraining")
"""Endings of classes that are a generator with a discriminator."""
_BUCKET = 32 * 2**20
"""Bytes of gradients that are summed up over processes at a time (`zoo_cli.engine.distributed`)."""
_UNITS = {
    **{f"{letter}ib": 2 ** (10 * power) for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}b": 10 ** (3 * power) for power, letter in enumerate("kmgt", 1)},
    "b": 1,
}


@dataclass(frozen=True)
class Layout:
    """A way to spread training over devices.

    Args:
        data: groups that read other batches.
        tensor: devices of a group, which compute each layer together.
        sharding: stage of ZeRO among the groups.
        recompute: whether layers keep their inputs only.
        precision: of matrix products.
    """

    data: int
    tensor: int
    sharding: int
    recompute: bool
    precision: str

    @property
    def effort(self) -> tuple[int, ...]:
        """What makes it slower than others, the worst first."""
        return self.tensor, self.sharding, int(self.recompute)


@dataclass(frozen=True)
class Memory:
    """Bytes on one device.

    Args:
        weights: in float32, and copies in the precision of matrix products.
        gradients: and what sums them up over the groups.
        optimizer: AdamW's moments.
        activations: what a forward and backward pass hold.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.weights + self.gradients + self.optimizer + self.activations


@dataclass(frozen=True)
class Subject:
    """What is planned.

    Args:
        architecture: class of the model.
        config: of the model.
        batch: what one device reads in one forward pass.
        generator: of the smaller model that makes the input of this one (ELECTRA, ERNIE-Health), or None.
    """

    architecture: str
    config: ModelConfig
    batch: Batch
    generator: ModelConfig | None = None


def parse_bytes(text: str) -> int:
    """``"40GiB"``, ``"40 GB"``, ``"81559MiB"`` as bytes.

    Raises:
        UsageError: it is no size, or has no unit (`bad-size`).
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    unit = _UNITS.get(match[2].lower()) if match else None
    size = int(float(match[1]) * unit) if match and unit else 0
    if not size:
        raise UsageError(
            "bad-size",
            "{text!r} is no size of memory",
            fix="write a number and a unit, for example 40GiB (2^30 bytes each) or 40GB (10^9)",
            text=text,
        )
    return size


def subject_of(loaded: LoadedRecipe) -> Subject:
    """The model of a recipe's section `model`, and the largest batch that it trains on; students are not planned.

    Raises:
        UsageError: the recipe's values do not make a model.
        ArtifactError: the folder that `model.init` names cannot be read.
    """
    architecture = _architecture(loaded)
    config = _config(loaded, architecture)
    generator = generator_config(config) if architecture.endswith(_PAIRS) else None
    return Subject(architecture, config, _batch(loaded, architecture, config), generator)


def _architecture(loaded: LoadedRecipe) -> str:
    section, pretrain = loaded.recipe.model, loaded.recipe.pretrain
    spec = registry.family(section.family)
    if section.architecture is not None:
        return section.architecture
    if pretrain is not None:
        learnt = pretrain.objective if pretrain.pair == "none" else pretrain.pair
        return spec.objectives.get(learnt, spec.backbone)  # a teacher has no head
    return spec.tasks[loaded.task_name]


def _config(loaded: LoadedRecipe, architecture: str) -> ModelConfig:
    section = loaded.recipe.model
    spec = registry.family(section.family)
    if loaded.checkpoint is not None and loaded.preset is None:
        path = Path(loaded.checkpoint)
        folder = path / "best" if (path / "best").is_dir() else path
        return load_config(folder, architecture, section.config)
    values: dict[str, Any] = dict(section.config)
    if section.vocab is not None:
        values["vocab_size"] = _vocabulary_size(section)
    return parse(spec.config, {**values, "architectures": [architecture]})


def _vocabulary_size(section: ModelSection) -> int:
    place, default = locate(section.vocab or ""), registry.family(section.family).tokenizer
    names = tokenizer_class(default).resource_files_names.values()
    says = (place / CONFIG_FILE).is_file() and not any((place / name).is_file() for name in names)
    return len(tokenizers.load(place, class_name=None if says else default))


def _batch(loaded: LoadedRecipe, architecture: str, config: ModelConfig) -> Batch:
    """The largest batch; texts are taken to be as long as the recipe allows."""
    task, train, pretrain = loaded.task, loaded.recipe.train, loaded.recipe.pretrain
    length = pretrain.max_length if pretrain else getattr(task, "max_length", config.longest_text)
    length = min(length, config.longest_text)
    rows = train.batch_size if train.batch_tokens is None else max(1, train.batch_tokens // length)
    if architecture.endswith("MultipleChoice"):
        rows *= getattr(task, "num_choices", None) or config.num_choices or DEFAULT_CHOICES
    scored = 0
    if pretrain and pretrain.objective in ("mlm", "cross_lingual", "recurrent"):
        scored = math.ceil(rows * length * pretrain.masking.masked_lm_prob)
    elif (pretrain and pretrain.objective not in ("spans", "distill")) or architecture in registry.family(
        "gpt"
    ).objectives.values():
        scored = rows * length
    else:
        answer = getattr(task, "max_response_length", None) or getattr(task, "max_target_length", None) or 0
        scored = rows * min(answer, length)
    return Batch(rows, length, scored)


def layouts(config: ModelConfig, devices: int) -> Iterator[Layout]:
    """Every layout that uses all devices and for which the layers can be divided."""
    for tensor in range(1, devices + 1):
        if devices % tensor or indivisible(config, tensor):
            continue
        data = devices // tensor
        for sharding in STAGES if data > 1 else (0,):
            for recompute in (False, True):
                for precision in PRECISIONS:
                    yield Layout(data, tensor, sharding, recompute, precision)


def memory_of(subject: Subject, shapes: Shapes, layout: Layout) -> Memory:
    """What a layout takes on each device.

    Args:
        subject: model and batch.
        shapes: of the model's weights.
        layout: how it is spread.
    """
    tensor, data, stage = layout.tensor, layout.data, layout.sharding
    own = {
        name: math.prod(shape) // (tensor if split_axis(name, shape, tensor) is not None else 1)
        for name, shape in shapes.items()
    }
    count = sum(own.values())
    layer = _largest_layer(own)
    weights = FULL * count
    if stage == 3:
        weights = math.ceil(weights / data) + FULL * layer  # one layer is whole at a time
    if layout.precision != "float32":
        weights += 2 * (layer if layout.recompute or stage == 3 else count)
    gradients = math.ceil(FULL * count / (data if stage >= 2 else 1))
    if data > 1:
        gradients += 2 * max(_BUCKET, FULL * max(own.values()))
    optimizer = math.ceil(2 * FULL * count / (data if stage >= 1 else 1))
    batch = subject.batch
    passes = [(subject.config, batch)]
    if subject.generator is not None:
        passes = [(subject.generator, batch), (subject.config, Batch(batch.rows, batch.length))]
    activations = sum(
        activation_bytes(config, each, tensor=tensor, recompute=layout.recompute, precision=layout.precision)
        for config, each in passes
    )
    return Memory(weights, gradients, optimizer, activations)


def _largest_layer(counts: dict[str, int]) -> int:
    """Weights of the largest layer, or of what lies outside of all layers if that is larger than each."""
    sums: dict[str, int] = {}
    for name, count in counts.items():
        match = re.match(r".*layers\.\d+\.", name)
        place = match[0] if match else name
        sums[place] = sums.get(place, 0) + count
    return max(sums.values())


def plan(loaded: LoadedRecipe, devices: int, memory: int | None = None) -> dict[str, Any]:
    """Every layout of a recipe's training with its memory on each device, those that fit first.

    Args:
        loaded: the recipe.
        devices: how many there are.
        memory: bytes of each; without it nothing is said to fit.

    Returns:
        The numbers, ready for JSON. `trains` says whether the training loop of this package has the layout: it divides
        nothing among data parallel groups (`docs/large-models.md` says why).
    """
    subject = subject_of(loaded)
    shapes = parameter_shapes(subject.architecture, subject.config)
    rows = []
    for layout in layouts(subject.config, devices):
        needed = memory_of(subject, shapes, layout)
        fits = None if memory is None else needed.total <= memory * (1 - HEADROOM)
        rows.append((layout, needed, fits))
    rows.sort(key=lambda row: (row[2] is False, row[0].sharding > 0, row[0].effort, row[0].precision != "float32"))
    return {
        "recipe": loaded.name,
        "architecture": subject.architecture,
        "parameters": parameter_count(shapes),
        "devices": devices,
        "memory": memory,
        "headroom": HEADROOM,
        "batch": {"rows": subject.batch.rows, "length": subject.batch.length},
        "layouts": [
            {
                **vars(layout),
                "trains": layout.sharding == 0,
                **vars(needed),
                "total": needed.total,
                "fits": fits,
            }
            for layout, needed, fits in rows
        ],
    }
