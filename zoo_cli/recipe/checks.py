"""Rules that look at two keys or more: what the types cannot say.

Each rule is a small function with a name and a docstring; it yields the key that is at fault and an error. Rules see a
recipe whose types are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from zoo_cli import registry
from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.layers import Layered
from zoo_cli.recipe.schema import DistillMatch, ModelSection, Recipe, StudentSection, TrainSection
from zoo_cli.recipe.students import LABELLED, student_options, student_task
from zoo_cli.recipe.validation import Problem
from zoo_cli.recipe.yaml12 import Path

Rule = Callable[[Recipe, Any, Layered], Iterator[tuple[Path, UsageError]]]
RULES: list[Rule] = []
DISTILLATION = "zoo_cli.distill.strategies:recipe_problems"
DIVISION = "zoo_cli.models.sharding:indivisible"


def rule(function: Rule) -> Rule:
    """Register a rule."""
    RULES.append(function)
    return function


def run_checks(recipe: Recipe, task: BaseModel, layered: Layered) -> list[Problem]:
    """All faults that the rules find, with their places."""
    problems: list[Problem] = []
    for check in RULES:
        for path, error in check(recipe, task, layered):
            origin = layered.origin(path)
            problems.append((origin.place if origin else None, error))
    return problems


def _same_layer(first: str, second: str, layered: Layered) -> bool:
    one, other = (layered.origins.get(("train", key)) for key in (first, second))
    return one is not None and other is not None and one.layer == other.layer


def _models(recipe: Recipe) -> Iterator[tuple[Path, ModelSection | StudentSection]]:
    """The sections that describe a model for the recipe's task."""
    yield ("model",), recipe.model
    if recipe.distill is not None:
        yield ("distill", "student"), recipe.distill.student
        for name, section in recipe.distill.students.items():
            yield ("distill", "students", name), section


def _trainings(recipe: Recipe) -> Iterator[tuple[Path, TrainSection]]:
    """The sections that describe a training, with the values that each takes from `train`."""
    yield ("train",), recipe.train
    if recipe.distill is not None:
        for name, stage in recipe.distill.stages.items():
            yield ("distill", "stages", name, "train"), stage.training(recipe.train)
    if recipe.prune is not None:
        yield ("prune", "stage", "train"), recipe.prune.stage.training(recipe.train)
    if recipe.quantize is not None and recipe.quantize.method == "qat":
        yield ("quantize", "qat", "train"), recipe.quantize.qat.training(recipe.train)


@rule
def family_has_task(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """The family has a class for the task."""
    for path, section in _models(recipe) if recipe.task else ():
        spec = registry.family(section.family)
        name = recipe.task["name"] if path == ("model",) else student_task(recipe)
        if name not in spec.tasks:
            yield (
                ("task", "name") if path == ("model",) else (*path, "family"),
                UsageError(
                    "task-of-family",
                    "family {family!r} has no model for {task!r}",
                    fix="it has: {tasks}",
                    family=spec.name,
                    task=name,
                    tasks=", ".join(spec.tasks),
                ),
            )


@rule
def family_has_objective(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """The family has a class for what pretraining is to learn."""
    if recipe.pretrain is None or recipe.pretrain.objective == "distill":
        return
    spec, objective, pair = registry.family(recipe.model.family), recipe.pretrain.objective, recipe.pretrain.pair
    if (objective if pair == "none" else pair) not in spec.objectives:
        yield (
            ("pretrain", "objective" if objective not in spec.objectives else "pair"),
            UsageError(
                "objective-of-family",
                "family {family!r} has no model for {objective!r}",
                fix="it has: {objectives}" if spec.objectives else None,
                family=spec.name,
                objective=objective if pair == "none" else pair,
                objectives=", ".join(spec.objectives),
            ),
        )


@rule
def text_distills_one_way(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """What a larger model makes of text is learnt in one stage, by strategies that need no labels."""
    if recipe.pretrain is None:
        return
    if (recipe.pretrain.objective == "distill") != (recipe.distill is not None):
        yield (
            ("pretrain", "objective"),
            UsageError(
                "text-distillation",
                "the objective distill and the section distill go together",
                fix="set pretrain.objective to distill, and say in distill.student and distill.stages who learns how",
            ),
        )
    elif recipe.distill is not None and len(recipe.distill.stages) > 1:
        yield (
            ("distill", "stages"),
            UsageError("text-distillation", "text without labels is learnt from in one stage", fix="keep one of them"),
        )


@rule
def neighbours_are_a_start(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Only fresh weights of a model that reads both sides of a token start as a model of neighbours."""
    if recipe.pretrain is None or recipe.pretrain.start == "random":
        return
    if recipe.pretrain.objective not in ("mlm", "rtd", "two_views"):
        yield (
            ("pretrain", "start"),
            UsageError(
                "start-from-neighbours",
                "the objective {objective!r} does not start from neighbours",
                fix="leave pretrain.start out; it goes with: mlm, rtd, two_views",
                objective=recipe.pretrain.objective,
            ),
        )
    if not recipe.model.is_fresh:
        yield ("pretrain", "start"), learnt_already()
    if recipe.train.parallel.tensor > 1:
        yield (
            ("pretrain", "start"),
            UsageError(
                "start-from-neighbours",
                "weights that processes share do not start from neighbours",
                fix="set train.parallel.tensor to 1, or leave pretrain.start out",
            ),
        )


def learnt_already() -> UsageError:
    """What is wrong with a start from neighbours where there are weights already."""
    return UsageError(
        "start-from-neighbours",
        "weights that are there already do not start from neighbours",
        fix="start with fresh ones (model.init: scratch), or leave pretrain.start out",
    )


@rule
def pretraining_stands_alone(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """A recipe that pretrains has no task and no labelled data, since its `train` section is that of pretraining."""
    if recipe.pretrain is None:
        return
    if recipe.task:
        yield (
            ("task",),
            UsageError(
                "two-trainings",
                "task and pretrain are both given",
                fix="pretrain in a recipe of its own, and name its folder in model.init of this one",
            ),
        )
    if recipe.data.train or recipe.data.dev or recipe.data.test:
        yield (
            ("data",),
            UsageError(
                "no-labelled-data", "pretraining reads no labelled data", fix="name the text in pretrain.corpora"
            ),
        )


@rule
def architecture_of_family(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """`architecture` is a class of the family."""
    for path, section in _models(recipe):
        spec, name = registry.family(section.family), section.architecture
        if name is not None and name not in spec.architectures:
            yield (
                (*path, "architecture"),
                UsageError(
                    "unknown-architecture",
                    "family {family!r} has no class {name!r}",
                    fix="it has: {names}",
                    family=spec.name,
                    name=name,
                    names=", ".join(spec.architectures),
                ),
            )


@rule
def scratch_has_vocabulary(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """A model from scratch needs a vocabulary: its own or that of a checkpoint."""
    if recipe.model.init == "scratch" and recipe.model.vocab is None:
        yield (
            ("model",),
            UsageError(
                "no-vocabulary",
                "a model from scratch needs a vocabulary",
                fix="set model.vocab to a vocab.txt or a tokenizer folder, or model.init to scratch:NAME",
            ),
        )


@rule
def heads_divide_width(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """`num_attention_heads` divides `hidden_size`, unless `head_dim` says how wide a head is."""
    for path, section in _models(recipe):
        fields = registry.family(section.family).config.model_fields
        width, heads, own_width = (
            section.config.get(key, fields[key].default) for key in ("hidden_size", "num_attention_heads", "head_dim")
        )
        if own_width is None and isinstance(width, int) and isinstance(heads, int) and heads > 0 and width % heads:
            yield (
                (*path, "config", "num_attention_heads"),
                UsageError("heads", "{heads} heads do not divide hidden_size {width}", heads=heads, width=width),
            )


@rule
def length_fits_positions(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """`max_length` of the task or of pretraining is not above what the model reads at once."""
    key = "pretrain" if recipe.pretrain is not None else "task"
    length = getattr(recipe.pretrain or task, "max_length", None)
    for path, section in _models(recipe):
        if "max_position_embeddings" not in section.config:
            continue  # the folder that is named says it
        try:
            positions = registry.family(section.family).config.model_validate(section.config).longest_text
        except ValidationError:
            continue  # other rules say what is wrong with the sizes
        if isinstance(length, int) and length > positions:
            yield (
                (key, "max_length"),
                UsageError(
                    "too-long",
                    "{key}.max_length {length} is more than the {positions} positions of {model}",
                    key=key,
                    length=length,
                    positions=positions,
                    model=".".join(map(str, path)),
                ),
            )


@rule
def format_suits_task(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """The data format holds examples of the task."""
    if not recipe.task:
        return
    formats = registry.task(recipe.task["name"]).formats
    if recipe.data.format is not None and recipe.data.format not in formats:
        yield (
            ("data", "format"),
            UsageError(
                "format-of-task",
                "format {format!r} holds no examples for {task!r}",
                fix="choose one of: {formats}",
                format=recipe.data.format,
                task=recipe.task["name"],
                formats=", ".join(formats),
            ),
        )


@rule
def files_have_format(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Named files need a format."""
    if recipe.data.format is None and (recipe.data.train or recipe.data.dev or recipe.data.test):
        yield (
            ("data",),
            UsageError("no-format", "the key 'data.format' is missing", fix="say how the files are written"),
        )


@rule
def one_development_set(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """The development set is a file or a share of the training rows, not both."""
    if recipe.data.dev and recipe.data.dev_fraction:
        yield (
            ("data", "dev_fraction"),
            UsageError("two-dev-sets", "data.dev and data.dev_fraction are both given", fix="keep one of the two"),
        )


@rule
def one_batch_size(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Batches are measured in sequences or in tokens; where one layer says both, it contradicts itself."""
    if recipe.train.batch_tokens is not None and _same_layer("batch_size", "batch_tokens", layered):
        yield (
            ("train", "batch_tokens"),
            UsageError("two-batch-sizes", "batch_size and batch_tokens are both given", fix="keep one of the two"),
        )


@rule
def one_warmup(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Warm-up is a share or a number of steps; where one layer says both, it contradicts itself."""
    if recipe.train.warmup_steps and recipe.train.warmup_ratio and _same_layer("warmup_ratio", "warmup_steps", layered):
        yield (
            ("train", "warmup_steps"),
            UsageError("two-warmups", "warmup_ratio and warmup_steps are both given", fix="keep one of the two"),
        )


@rule
def warmup_within_training(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Warm-up ends before training does."""
    for path, section in _trainings(recipe):
        warmup, total = section.warmup_steps, section.max_steps
        if warmup and total and warmup >= total:
            yield (
                (*path, "warmup_steps"),
                UsageError("long-warmup", "{warmup} warm-up steps of {total} steps in all", warmup=warmup, total=total),
            )


@rule
def learning_rate_falls(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """`end_learning_rate` is below `learning_rate`."""
    for path, section in _trainings(recipe):
        if section.end_learning_rate >= section.learning_rate:
            yield (
                (*path, "end_learning_rate"),
                UsageError("rising-rate", "end_learning_rate is not below learning_rate"),
            )


@rule
def layers_can_be_divided(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Processes share the layers of a model only where heads and neurons come out even, and only in plain training."""
    for path, section in _trainings(recipe):
        if section.parallel.tensor == 1:
            continue
        if path != ("train",):
            yield (
                (*path, "parallel", "tensor"),
                UsageError(
                    "no-divided-student",
                    "{section} trains beside a teacher, whose layers are not divided",
                    fix="set train.parallel.tensor to 1, or train in a recipe without this section",
                    section=".".join(map(str, path)),
                ),
            )
            continue
        spec = registry.family(recipe.model.family)
        try:
            config = spec.config.model_validate(recipe.model.config)
        except ValidationError:
            continue  # other rules say what is wrong with the sizes
        problem = registry.resolve(DIVISION)(config, section.parallel.tensor)
        if problem is not None:
            yield (
                ("train", "parallel", "tensor"),
                UsageError(
                    "indivisible",
                    "{problem}",
                    fix="choose another train.parallel.tensor; `zoo plan` shows those that there are",
                    problem=problem,
                ),
            )


@rule
def matches_fit_models(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Stages of distillation have something to learn that both models have."""
    if recipe.distill is not None or recipe.prune is not None:
        yield from registry.resolve(DISTILLATION)(recipe)


@rule
def labelling_is_learnt_from(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """A teacher that labels texts is one of extraction, its student learns from labels, and has options of its task."""
    if recipe.distill is None:
        return
    student, labelling = ("distill", "student", "task"), recipe.distill.labelling
    if labelling is None:
        if recipe.distill.student.task:
            yield (
                student,
                UsageError(
                    "option-of-labelling",
                    "the student's task is its teacher's, with the same options",
                    fix="remove the key, or say in distill.labelling which texts the teacher labels",
                ),
            )
        return
    if recipe.task.get("name") not in LABELLED:
        yield (
            ("distill", "labelling"),
            UsageError(
                "no-labelling",
                "a teacher of {task!r} labels no texts",
                fix="remove the key; the task would be one of: {tasks}",
                task=recipe.task.get("name"),
                tasks=", ".join(LABELLED),
            ),
        )
        return
    try:
        student_options(recipe, task)
    except ValidationError as error:
        for each in error.errors():
            key = ".".join(map(str, each["loc"]))
            yield (
                (*student, *each["loc"]),
                UsageError("wrong-value", "distill.student.task.{key}: {reason}", key=key, reason=each["msg"]),
            )
    known = registry.task(recipe.task["name"]).formats
    if labelling.format not in ("text", *known):
        yield (
            ("distill", "labelling", "format"),
            UsageError(
                "unknown-format",
                "there is no format {format!r} of texts to label",
                fix="choose one of: {formats}",
                format=labelling.format,
                formats=", ".join(("text", *known)),
            ),
        )
    for name, stage in recipe.distill.stages.items():
        if stage.strategy is not None or stage.matches != [DistillMatch(feature="labels")]:
            yield (
                ("distill", "stages", name),
                UsageError(
                    "labels-only",
                    "a student that learns from labelled texts has nothing but labels in common with its teacher",
                    fix="set matches to [{{feature: labels}}]",
                ),
            )


@rule
def share_can_be_measured(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """A share of the teacher's score needs a development set."""
    has_student = recipe.distill is not None or recipe.prune is not None
    has_dev = recipe.data.dev or recipe.data.dev_fraction
    if has_student and recipe.gates.teacher_share is not None and not has_dev:
        yield (
            ("gates", "teacher_share"),
            UsageError("no-dev-set", "the share cannot be measured without data.dev or data.dev_fraction"),
        )


def _dead_end(path: Path, reason: str, fix: str) -> tuple[Path, UsageError]:
    return ("quantize", *path), UsageError("no-such-route", reason, fix=fix)


@rule
def quantize_route_works(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """The way to integers is one that ends in a graph that computes with them."""
    options = recipe.quantize
    if options is None:
        return
    if options.backend == "paddle":
        yield _dead_end(
            ("backend",),
            "Paddle Inference 3.3 cannot run a quantised transformer: PaddleSlim's post-training quantisation "
            "cannot trace one, graphs of paddle.quantization fail when they are run, and the kernels of weight-only "
            "layers are not there for the CPU",
            "set quantize.backend to onnx or openvino",
        )
    elif options.backend == "openvino" and options.method in ("dynamic", "weight_only"):
        yield _dead_end(
            ("method",),
            {
                "dynamic": "the integer graphs of OpenVINO have fixed ranges",
                "weight_only": "weights in blocks are written with operators of ONNX Runtime",
            }[options.method],
            "set quantize.method to static or qat, or quantize.backend to onnx",
        )
    if options.bits == 4 and options.method != "weight_only":
        yield _dead_end(
            ("bits",),
            "no back end for the CPU multiplies activations by weights of four bits in integers",
            "set quantize.method to weight_only, or quantize.bits to 8",
        )


@rule
def calibration_of_method(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Each way to choose integers is one of the method and of the back end."""
    options = recipe.quantize
    if options is None or options.calibration is None:
        return
    names = set(options.calibration)
    blocks = {"nearest", "gptq"}
    if options.method in ("dynamic", "qat"):
        yield _dead_end(
            ("calibration",),
            "with this method nothing is calibrated: ranges are found in each call, or learnt",
            "leave quantize.calibration out, or set quantize.method to static",
        )
    elif (names <= blocks) != (options.method == "weight_only") or (names & blocks and not names <= blocks):
        yield _dead_end(
            ("calibration",),
            "nearest and gptq are for the method weight_only, all others for static",
            "name one kind, and the method that it is for",
        )
    elif options.backend != "openvino" and "nncf" in names:
        yield _dead_end(
            ("calibration",),
            "nncf is OpenVINO's quantiser; ONNX Runtime does not fuse what it writes",
            "leave nncf out, or set quantize.backend to openvino",
        )


@rule
def rounding_is_seen_once(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Training with rounded activations does not compute a layer twice: its ranges would move in between."""
    options = recipe.quantize
    if options is not None and options.method == "qat" and options.qat.training(recipe.train).recompute:
        yield (
            ("quantize", "qat", "train", "recompute"),
            UsageError(
                "no-such-route",
                "ranges of activations move with each pass, so that layers cannot be computed again",
                fix="set quantize.qat.train.recompute to false",
            ),
        )


@rule
def precision_can_be_run(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """Graphs are written in numbers that a back end computes with, those of the model among them."""
    precisions = recipe.export.precisions
    if "bf16" in precisions:
        yield (
            ("export", "precisions"),
            UsageError(
                "no-such-route",
                "ONNX Runtime has no kernels for bfloat16 on the CPU, and Paddle Inference takes hundreds of times as "
                "long where the processor lacks them",
                fix="take fp16 for graphics cards, and quantise for processors",
            ),
        )
    elif "fp32" not in precisions:
        yield (
            ("export", "precisions"),
            UsageError(
                "no-such-route", "other precisions are made of fp32, and compared with it", fix="name fp32 as well"
            ),
        )


@rule
def profile_exists(recipe: Recipe, task: Any, layered: Layered) -> Iterator[tuple[Path, UsageError]]:
    """`deploy` names a profile."""
    names = sorted(path.stem for path in (resource_folder("configs") / "deploy").glob("*.yaml"))
    if recipe.deploy is not None and recipe.deploy not in names:
        yield (
            ("deploy",),
            UsageError(
                "unknown-profile",
                "there is no profile {name!r}",
                fix="choose one of: {names}",
                name=recipe.deploy,
                names=", ".join(names),
            ),
        )
