"""Named strategies as explicit matches, and what is wrong with matches for two given models. No paddle.

A match compares one thing of teacher and student (`zoo_cli.recipe.schema.DistillMatch`). Layers count from 1; layer 0
is the output of the embeddings. Strategies write matches for models of any depth and width:

- ``logits``: Hinton et al., 2015, https://arxiv.org/abs/1503.02531
- ``uniform``, ``last``: Sun et al., 2019 (PKD), https://arxiv.org/abs/1908.09355, on the states of all tokens
- ``minilm``: Wang et al., 2020, https://arxiv.org/abs/2002.10957
- ``minilmv2``: Wang et al., 2020, https://arxiv.org/abs/2012.15828
- ``tinybert-intermediate``, ``tinybert-prediction``: Jiao et al., 2019, https://arxiv.org/abs/1909.10351
- ``general``: TinyBERT's general distillation, on text without labels, with the matches of its intermediate stage
- ``online``: on text without labels a student, the teacher's assistant, and students of its own learn in one run, as
  Baidu made ERNIE 3.0 Tiny (Liu et al., 2023, https://arxiv.org/abs/2301.03416); PaddleNLP has no code of it. Each pair
  has the matches of ``minilmv2``
- ``dynabert``: Hou et al., 2020, https://arxiv.org/abs/2004.04037, with the weights of PaddleNLP's compression
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor, gcd
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from zoo_cli import registry
from zoo_cli.base.errors import UsageError, ZooError, raise_all
from zoo_cli.models.checkpoint import load_config
from zoo_cli.models.config import ModelConfig
from zoo_cli.recipe.loading import preset_name
from zoo_cli.recipe.schema import DistillMatch, DistillSection, DistillStage, ModelSection, Recipe, StudentSection

Options = dict[str, Any]
MOST_RELATION_HEADS = 48
"""What MiniLMv2 uses for teachers of 768."""
LEAST_RELATION_WIDTH = 8
"""Numbers of a head's vectors in its smallest students, of 384."""
RELATIONS = ("query", "key", "value")

_LOSSES: dict[str, tuple[str, ...]] = {
    "labels": (),
    "logits": ("mse", "kl", "cross_entropy"),
    "hidden": ("mse", "cosine"),
    "attention": ("mse", "kl"),
    **dict.fromkeys(RELATIONS, ("kl",)),
}
_KEYS: dict[str, tuple[str, ...]] = {
    "labels": (),
    "logits": ("loss", "temperature"),
    "hidden": ("loss", "teacher", "student", "projection"),
    "attention": ("loss", "teacher", "student", "heads"),
    **dict.fromkeys(RELATIONS, ("loss", "teacher", "student", "relation_heads")),
}
"""Keys that mean something for a feature, beside `weight`."""


# -- named strategies -------------------------------------------------------------------------------------------------


def _predictions(options: Options) -> list[DistillMatch]:
    """The teacher's logits, and the labels by the share that is wanted."""
    hard = options.get("hard_share", 0.0)
    matches = [
        DistillMatch(feature="logits", loss="kl", temperature=options.get("temperature", 1.0), weight=1.0 - hard)
    ]
    return [*matches, DistillMatch(feature="labels", weight=hard)] if hard else matches


def _states(pairs: list[tuple[int, int]], options: Options) -> list[DistillMatch]:
    """Hidden states of (teacher, student) layers, weighing as much as one match together."""
    return [
        DistillMatch(
            feature="hidden",
            loss="mse",
            teacher=above,
            student=below,
            weight=1.0 / len(pairs),
            projection=options.get("projection", "linear"),
        )
        for above, below in pairs
    ]


def spread(layer: int, student: ModelConfig, teacher: ModelConfig) -> int:
    """The teacher's layer that stands as far up as a layer of the student, rounded half up."""
    return floor(layer * teacher.num_hidden_layers / student.num_hidden_layers + 0.5)


def _logits(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    return _predictions(options)


def _uniform(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    pairs = [(spread(layer, student, teacher), layer) for layer in range(student.num_hidden_layers + 1)]
    return [*_states(pairs, options), *_predictions(options)]


def _last(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    tops = (teacher.num_hidden_layers, student.num_hidden_layers)
    pairs = [(tops[0] - below, tops[1] - below) for below in reversed(range(min(tops)))]
    return [*_states(pairs, options), *_predictions(options)]


def _minilm(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    layer, top = options.get("teacher_layer", teacher.num_hidden_layers), student.num_hidden_layers
    heads = _sizes(student, top).num_heads
    return [
        DistillMatch(feature="attention", loss="kl", teacher=layer, student=top),
        DistillMatch(feature="value", loss="kl", teacher=layer, student=top, relation_heads=heads),
    ]


def _minilmv2(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    layer, top = options.get("teacher_layer", teacher.num_hidden_layers), student.num_hidden_layers
    widths = _attention_width(teacher, layer), _attention_width(student, top)
    most = max(1, min(MOST_RELATION_HEADS, min(widths) // LEAST_RELATION_WIDTH))
    heads = options.get("relation_heads", max(heads for heads in range(1, most + 1) if gcd(*widths) % heads == 0))
    return [
        DistillMatch(feature=feature, loss="kl", teacher=layer, student=top, relation_heads=heads)
        for feature in ("query", "key", "value")
    ]


def _tinybert_intermediate(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    """Every state and every attention map, each of weight 1; for 12 and 6 layers the map of the published code."""
    matches = [
        DistillMatch(
            feature="hidden",
            loss="mse",
            teacher=spread(layer, student, teacher),
            student=layer,
            projection=options.get("projection", "linear"),
        )
        for layer in range(student.num_hidden_layers + 1)
    ]
    for layer in range(1, student.num_hidden_layers + 1):
        above = max(1, spread(layer, student, teacher))  # a deeper student's lowest maps have no state to go by
        alike = _sizes(student, layer).num_heads == _sizes(teacher, above).num_heads
        heads: Literal["each", "mean"] = "each" if alike else "mean"
        matches.append(DistillMatch(feature="attention", loss="mse", teacher=above, student=layer, heads=heads))
    return matches


def _tinybert_prediction(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    return [DistillMatch(feature="logits", loss="cross_entropy", temperature=options.get("temperature", 1.0))]


def _dynabert(teacher: ModelConfig, student: ModelConfig, options: Options) -> list[DistillMatch]:
    """All states, each of weight 0.1, and the predictions: for students that were cut out of their teacher."""
    projection = None if student.hidden_size == teacher.hidden_size else options.get("projection", "linear")
    states = [
        DistillMatch(
            feature="hidden",
            loss="mse",
            teacher=spread(layer, student, teacher),
            student=layer,
            weight=0.1,
            projection=projection,
        )
        for layer in range(student.num_hidden_layers + 1)
    ]
    return [*states, DistillMatch(feature="logits", loss="cross_entropy")]


@dataclass(frozen=True)
class Strategy:
    """A named set of matches.

    Args:
        expand: from the configurations of teacher and student and the stage's options to the matches.
        reads: options of `DistillStage` that it has.
    """

    expand: Callable[[ModelConfig, ModelConfig, Options], list[DistillMatch]]
    reads: tuple[str, ...]


STRATEGIES: dict[str, Strategy] = {
    "logits": Strategy(_logits, ("temperature", "hard_share")),
    "uniform": Strategy(_uniform, ("temperature", "hard_share", "projection")),
    "last": Strategy(_last, ("temperature", "hard_share", "projection")),
    "minilm": Strategy(_minilm, ("teacher_layer",)),
    "minilmv2": Strategy(_minilmv2, ("teacher_layer", "relation_heads")),
    "tinybert-intermediate": Strategy(_tinybert_intermediate, ("projection",)),
    "tinybert-prediction": Strategy(_tinybert_prediction, ("temperature",)),
    "dynabert": Strategy(_dynabert, ("projection",)),
    "general": Strategy(_tinybert_intermediate, ("projection",)),
    "online": Strategy(_minilmv2, ("teacher_layer", "relation_heads")),
}
ON_TEXT = ("general", "online")
"""Strategies that learn from text without labels."""
_WITH_HEADS = ("logits", "uniform", "last", "tinybert-prediction", "dynabert")
"""Strategies that compare logits."""
OPTIONS = ("temperature", "hard_share", "projection", "teacher_layer", "relation_heads")


def expand(stage: DistillStage, teacher: ModelConfig, student: ModelConfig) -> list[DistillMatch]:
    """All matches of a stage: those of its strategy, then its own.

    Args:
        stage: a stage of a recipe.
        teacher: configuration of the teacher.
        student: configuration of the student.

    Raises:
        UsageError: a match does not fit the models, see `match_problems`; several together as an `ErrorGroup`.
    """
    raise_all(list(stage_problems(stage)))
    matches = [*_strategy_matches(stage, teacher, student), *stage.matches]
    raise_all([error for match in matches for error in match_problems(match, teacher, student)])
    return matches


def _strategy_matches(stage: DistillStage, teacher: ModelConfig, student: ModelConfig) -> list[DistillMatch]:
    if stage.strategy is None:
        return []
    given = {name: getattr(stage, name) for name in OPTIONS if getattr(stage, name) is not None}
    layer = given.get("teacher_layer", 1)
    if layer > teacher.num_hidden_layers:
        raise _no_layer("teacher", layer, teacher)
    return STRATEGIES[stage.strategy].expand(teacher, student, given)


# -- what is wrong ----------------------------------------------------------------------------------------------------


def stage_problems(stage: DistillStage) -> Iterator[UsageError]:
    """What is wrong with a stage whatever the models are: nothing to learn, or options that are not its strategy's."""
    if stage.strategy is None and not stage.matches:
        yield UsageError("empty-stage", "the stage has nothing to learn", fix="give it a strategy or matches")
    reads = STRATEGIES[stage.strategy].reads if stage.strategy else ()
    for name in OPTIONS:
        if getattr(stage, name) is not None and name not in reads:
            yield UsageError(
                "option-of-strategy",
                "{name} is no option of strategy {strategy}",
                fix="its options are: {options}" if reads else "remove it; matches have their own keys",
                name=name,
                strategy=stage.strategy,
                options=", ".join(reads),
            )


def match_problems(match: DistillMatch, teacher: ModelConfig, student: ModelConfig) -> Iterator[UsageError]:
    """What is wrong with a match of two models: keys and losses that its feature does not have, layers that are not
    there, widths and numbers of heads that do not go together."""
    feature, losses, keys = match.feature, _LOSSES[match.feature], _KEYS[match.feature]
    for name, field in DistillMatch.model_fields.items():
        used = getattr(match, name) != field.default
        if used and name not in ("feature", "weight", *keys):
            yield UsageError("key-of-match", "{feature} have no {name}", feature=feature, name=name)
    if losses and match.loss not in losses:
        yield UsageError(
            "loss-of-match",
            "{loss} is no loss for {feature}" if match.loss else "the match of {feature} names no loss",
            fix="choose one of: {losses}",
            loss=match.loss,
            feature=feature,
            losses=", ".join(losses),
        )
    if "teacher" not in keys:
        return
    lowest = 0 if feature == "hidden" else 1
    wrong = list(_layer_problems(match, lowest, teacher, student))
    yield from wrong
    if wrong:
        return
    assert match.teacher is not None and match.student is not None  # just checked
    if feature == "hidden":
        widths = (student.hidden_size, teacher.hidden_size)
        if match.projection is None and widths[0] != widths[1]:
            yield UsageError(
                "widths-differ",
                "hidden states of width {student} cannot be compared with those of width {teacher}",
                fix="add `projection: linear`",
                student=widths[0],
                teacher=widths[1],
            )
    elif feature == "attention":
        heads = (_sizes(student, match.student).num_heads, _sizes(teacher, match.teacher).num_heads)
        if match.heads == "each" and heads[0] != heads[1]:
            yield UsageError(
                "heads-differ",
                "{student} attention heads cannot be compared one by one with {teacher}",
                fix="take strategy minilmv2, or a match with `heads: mean`",
                student=heads[0],
                teacher=heads[1],
            )
    else:
        yield from _relation_problems(match, teacher, student)


def _layer_problems(
    match: DistillMatch, lowest: int, teacher: ModelConfig, student: ModelConfig
) -> Iterator[UsageError]:
    for side, layer, config in (("teacher", match.teacher, teacher), ("student", match.student, student)):
        if layer is None:
            yield UsageError(
                "no-layer", "the match of {feature} names no layer of the {side}", feature=match.feature, side=side
            )
        elif layer > config.num_hidden_layers:
            yield _no_layer(side, layer, config)
        elif layer < lowest:
            yield UsageError("no-layer", "the embeddings (layer 0) have no {feature}", feature=match.feature)


def _no_layer(side: str, layer: int, config: ModelConfig) -> UsageError:
    return UsageError(
        "no-layer",
        "the {side} has no layer {layer}, only {layers}",
        side=side,
        layer=layer,
        layers=config.num_hidden_layers,
    )


def _relation_problems(match: DistillMatch, teacher: ModelConfig, student: ModelConfig) -> Iterator[UsageError]:
    assert match.teacher is not None and match.student is not None
    if match.relation_heads is None:
        yield UsageError("no-relation-heads", "the match of {feature} has no relation_heads", feature=match.feature)
        return
    for side, layer, config in (("teacher", match.teacher, teacher), ("student", match.student, student)):
        width = _attention_width(config, layer)
        if width % match.relation_heads:
            yield UsageError(
                "relation-heads",
                "{heads} relation heads do not divide the {side}'s width {width}",
                heads=match.relation_heads,
                side=side,
                width=width,
            )


def _sizes(config: ModelConfig, layer: int) -> Any:
    """Sizes of a layer, counted from 1."""
    return config.layer_sizes(layer - 1)


def _attention_width(config: ModelConfig, layer: int) -> int:
    """Width of a layer's queries, keys and values."""
    sizes = _sizes(config, layer)
    return sizes.num_heads * sizes.head_dim


# -- recipes ----------------------------------------------------------------------------------------------------------


def section_of(recipe: Recipe) -> DistillSection:
    """The recipe's `distill` section.

    Raises:
        UsageError: it has none (`no-distillation`).
    """
    if recipe.distill is None:
        raise UsageError(
            "no-distillation",
            "the recipe has no section 'distill'",
            fix="say in it what the student is and how it learns",
        )
    return recipe.distill


def _configuration(section: ModelSection | StudentSection) -> ModelConfig | None:
    """What a section says of a model's shape, or None where that is not known: the folder is not there yet."""
    try:
        if section.is_fresh or preset_name(section.init):
            config: ModelConfig = registry.family(section.family).config.model_validate(section.config)
            return config
        return load_config(Path(section.init), overrides=section.config)
    except (ValidationError, ZooError):  # wrong values are reported by those who check the section
        return None


def recipe_problems(recipe: Recipe) -> Iterator[tuple[tuple[str | int, ...], UsageError]]:
    """What is wrong with the `distill` section and with the stage of `prune`, with the keys; matches of the former only
    where both models' shapes are known."""
    if recipe.prune is not None:
        yield from ((("prune", "stage"), error) for error in stage_problems(recipe.prune.stage))
    if recipe.distill is None:
        return
    if recipe.distill.augmented:
        yield from ((("distill", "augmented"), error) for error in _augmentation_problems(recipe))
    teacher, student = _configuration(recipe.model), _configuration(recipe.distill.student)
    pairs = [(teacher, student)]
    pairs += [(student, _configuration(each)) for each in recipe.distill.students.values()]
    for name, stage in recipe.distill.stages.items():
        path: tuple[str | int, ...] = ("distill", "stages", name)
        wrong = [*stage_problems(stage), *_text_problems(recipe, stage)]
        yield from ((path, error) for error in wrong)
        for above, below in () if wrong else pairs:
            if above is not None and below is not None:
                yield from _pair_problems(path, stage, above, below)


def _pair_problems(
    path: tuple[str | int, ...], stage: DistillStage, teacher: ModelConfig, student: ModelConfig
) -> Iterator[tuple[tuple[str | int, ...], UsageError]]:
    """What is wrong with a stage for two given models, with the keys."""
    try:
        named = _strategy_matches(stage, teacher, student)
    except UsageError as error:
        yield (*path, "teacher_layer"), error
        return
    for match in named:
        yield from (((*path, "strategy"), error) for error in match_problems(match, teacher, student))
    for index, match in enumerate(stage.matches):
        yield from (((*path, "matches", index), error) for error in match_problems(match, teacher, student))


def _text_problems(recipe: Recipe, stage: DistillStage) -> Iterator[UsageError]:
    """What is wrong with a stage as one that learns from text without labels, or as one that does not."""
    assert recipe.distill is not None
    features = {match.feature for match in stage.matches}
    if recipe.pretrain is None and stage.strategy in ON_TEXT:
        yield UsageError(
            "text-strategy",
            "strategy {strategy} learns from text without labels",
            fix="set pretrain.objective to distill and name the text in pretrain.corpora",
            strategy=stage.strategy,
        )
    elif recipe.pretrain is not None and (stage.strategy in _WITH_HEADS or features & {"labels", "logits"}):
        yield UsageError(
            "text-strategy",
            "text without labels has no classes: neither labels nor logits can be compared",
            fix="take one of the strategies {names}",
            names=", ".join(name for name in STRATEGIES if name not in _WITH_HEADS),
        )
    if bool(recipe.distill.students) != (stage.strategy == "online"):
        yield UsageError(
            "students-of-online",
            "distill.students and strategy online go together",
            fix="name students that learn from distill.student, or take another strategy",
        )


def _augmentation_problems(recipe: Recipe) -> Iterator[UsageError]:
    """What is wrong with learning from copies of the training texts."""
    if recipe.data.dev_fraction:
        yield UsageError(
            "augmented-dev",
            "a development set that is cut off from copies of the same texts would know the training set",
            fix="name files in data.dev; `zoo data split` makes them",
        )
    if recipe.pretrain is not None or (recipe.distill is not None and recipe.distill.labelling is not None):
        yield UsageError(
            "augmented-texts", "only texts with labels of their own have copies", fix="remove distill.augmented"
        )


def resolved(recipe: Recipe) -> dict[str, Any]:
    """The `distill` section with all its values: strategies as matches, and the training of each stage in full.

    It means the same as the recipe's own. A strategy stays as it is where the shape of a model is not known yet, and so
    does `online`.
    """
    section = section_of(recipe)
    tree = section.model_dump(mode="json")
    teacher, student = _configuration(recipe.model), _configuration(section.student)
    for name, stage in section.stages.items():
        written = tree["stages"][name]
        matches = stage.matches
        # Each of several students has matches of its own.
        if teacher is not None and student is not None and not section.students:
            matches = expand(stage, teacher, student)
            written = {key: value for key, value in written.items() if key not in ("strategy", *OPTIONS)}
        written["matches"] = [match.model_dump(mode="json", exclude_defaults=True) for match in matches]
        written["train"] = stage.training(recipe.train).model_dump(mode="json")
        tree["stages"][name] = written
    return tree
