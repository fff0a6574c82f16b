"""Learning from a pretrained model on text without labels: strategies `general` and `online`, or matches of one's own.

With `online` all students learn in one run (see `zoo_cli.distill.strategies`): `distill.student` from the teacher, and
the others from what `distill.student` itself makes of the same batch, without a gradient to it. The run folder is that
of pretraining; `best/` is the student, and `best/students/<name>` the others.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import Tensor, nn

from zoo_cli import models, registry
from zoo_cli.base.errors import Location, UsageError
from zoo_cli.data.corpus.blend import parse_blend
from zoo_cli.data.corpus.raw import find_raw_text
from zoo_cli.distill.course import claim
from zoo_cli.distill.features import Adaptor, Answer, wanted
from zoo_cli.distill.objective import Pupil, state_loss
from zoo_cli.distill.strategies import expand, section_of
from zoo_cli.engine.batches import Arrays, Batches
from zoo_cli.engine.corpus_batches import corpus_batches
from zoo_cli.engine.distributed import World
from zoo_cli.engine.folders import CORPORA
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.loop import train
from zoo_cli.engine.objectives.base import Losses
from zoo_cli.engine.pretrain import SECTIONS as PRETRAIN_SECTIONS
from zoo_cli.engine.run import open_run
from zoo_cli.engine.setup import find_model_folder, load_tokenizer, make_model, starting_point
from zoo_cli.models.base import Model
from zoo_cli.recipe.loading import LoadedRecipe, preset_name
from zoo_cli.recipe.presets import FileProgress, fetch
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import DistillMatch, StudentSection, TrainSection
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

SECTIONS = (*PRETRAIN_SECTIONS, "distill")
STUDENTS = "students"
STUDENT = "student"
"""Name of `distill.student` among all who learn."""


@dataclass(frozen=True)
class Learner:
    """One who learns, and from whom.

    Args:
        model: the student.
        teacher: configuration of its teacher.
        matches: what it learns.
        inputs: names of its inputs.
    """

    model: Model
    teacher: Any
    matches: Sequence[DistillMatch]
    inputs: Sequence[str]


class Classroom(nn.Layer):
    """All who learn in a run, with their projections.

    Args:
        learners: `STUDENT` first, then those who learn from it.
    """

    def __init__(self, learners: Mapping[str, Learner]) -> None:
        super().__init__()
        self.pupils = nn.LayerDict(
            {name: Pupil(each.model, each.matches, each.teacher) for name, each in learners.items()}
        )


class TextDistillation:
    """The objective: each student is to be like its teacher on the batches of `zoo_cli.data.corpus.inputs`.

    Args:
        teacher: the pretrained model.
        inputs: names of its inputs.
        learners: `STUDENT` first, then those who learn from it.
    """

    def __init__(self, teacher: Model, inputs: Sequence[str], learners: Mapping[str, Learner]) -> None:
        self._learners = learners
        self._teacher = teacher
        self._asked = Adaptor(teacher, None, inputs, wanted(learners[STUDENT].matches, "teacher"))
        shown = {name: wanted(each.matches, "student") for name, each in learners.items()}
        for name, each in learners.items():
            if name != STUDENT:
                shown[STUDENT] |= wanted(each.matches, "teacher")
        self._adaptors = {name: Adaptor(each.model, None, each.inputs, shown[name]) for name, each in learners.items()}

    def loss(self, model: nn.Layer, batch: Arrays, step: int) -> Losses:
        """The sum over all students; `parts` has each student's, or each feature's where there is only one."""
        assert isinstance(model, Classroom)
        self._teacher.eval()
        with paddle.no_grad():
            above = self._asked(batch)
        parts: dict[str, Tensor] = defaultdict(lambda: paddle.zeros([]))
        alone = len(self._learners) == 1
        for name, learner in self._learners.items():
            below = self._adaptors[name](batch)
            for match in learner.matches:
                loss = match.weight * state_loss(match, model.pupils[name], below, above, batch)
                parts[match.feature if alone else name] += loss
            if name == STUDENT:
                above = _frozen(below)
        return Losses(sum(parts.values(), paddle.zeros([])), len(batch["input_ids"]), parts)


def _frozen(answer: Answer) -> Answer:
    """The same without a way back for gradients."""
    return {key: value.detach() for key, value in answer.items()}


def distill_text(
    loaded: LoadedRecipe,
    folder: Path,
    source: Path | None = None,
    resume: bool = False,
    force: bool = False,
    progress: FileProgress | None = None,
) -> None:
    """Teach students what a pretrained model makes of text; the run folder has the result.

    Args:
        loaded: the recipe; `model` is the teacher.
        folder: run folder; raw text becomes corpora inside of it.
        source: model folder of the teacher instead of `model.init`.
        resume: go on with an unfinished run.
        force: replace a run that is there.
        progress: shows downloads.

    Raises:
        UsageError: the teacher has fresh weights (`untrained-teacher`), the run was started with another one
            (`teacher-changed`), a student reads other tokens (`other-tokens`), or matches do not fit.
        DataError: there is no text, or too little.
        ZooError: see `zoo_cli.engine.loop.train`.
    """
    section, options = loaded.pretraining, loaded.recipe.train
    start, tokenizer = starting_point(loaded, source, progress)
    if start is None and not loaded.tiny:
        raise UsageError("untrained-teacher", "fresh weights teach nothing", fix="name a checkpoint in model.init")
    corpora = folder / CORPORA
    blend, texts = find_raw_text(parse_blend(section.corpora), corpora, tokenizer, section)
    dev_blend = blend
    if section.dev:
        dev_blend, dev_texts = find_raw_text(parse_blend(section.dev), corpora, tokenizer, section)
        texts = [*texts, *dev_texts]
    world = World.join()
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        spec = registry.family(loaded.recipe.model.family)
        teacher = make_model(loaded, spec.backbone, start, tokenizer, {}, source)
        learners = make_learners(loaded, teacher, tokenizer, progress)
        if world.leads:
            claim(folder, _digest(teacher), force)
            corpora.mkdir(exist_ok=True)
            for text in texts:
                text.build()
        world.from_leader([0.0])  # the others wait for the corpora
        parts = ("all", "all") if section.dev else ("train", "dev")
        batches = corpus_batches(blend, tokenizer, section, options, parts[0], corpora)
        dev = corpus_batches(dev_blend, tokenizer, section, options, parts[1], corpora)
        if batches is None:
            raise UsageError("bad-split", "the split leaves nothing to train on", fix="for example 949,50,1")
        paddle.seed(options.seed)
        classroom = Classroom(learners)
        objective = TextDistillation(teacher, spec.inputs, learners)

        def save(target: Path) -> None:
            for name, each in learners.items():
                place = target if name == STUDENT else target / STUDENTS / name
                place.mkdir(parents=True, exist_ok=True)
                models.save(each.model, place)
                tokenizer.save(place)

        scores = None if dev is None else Likeness(classroom, objective, dev, section.eval_batches, options)
        train(classroom, objective, batches, options, run, save, scores, metric="loss", world=world)


class Likeness:
    """How far students are from their teachers on batches of the development part; implements
    `zoo_cli.engine.loop.Evaluate`.

    Args:
        classroom: the students.
        objective: what they learn.
        batches: of the development part.
        count: how many of them are read.
        options: for messages about memory.
    """

    def __init__(
        self, classroom: Classroom, objective: TextDistillation, batches: Batches, count: int, options: TrainSection
    ) -> None:
        self._classroom, self._objective, self._batches = classroom, objective, batches
        self._count, self._options = count, options

    def __call__(self) -> dict[str, Any]:
        """``loss`` and its parts, averaged over texts."""
        self._classroom.eval()
        sums: dict[str, float] = defaultdict(float)
        texts = 0.0
        for rows in self._batches.plan(0)[: self._count]:
            batch = self._batches.load(0, rows).arrays
            with paddle.no_grad(), explain_memory(batch, self._options):
                losses = self._objective.loss(self._classroom, batch, 0)
            texts += losses.weight
            sums["loss"] += losses.total.item() * losses.weight
            for name, value in losses.parts.items():
                sums[name] += value.item() * losses.weight
        return {name: value / texts for name, value in sums.items()}


def make_learners(
    loaded: LoadedRecipe, teacher: Model, tokenizer: PretrainedTokenizer, progress: FileProgress | None
) -> dict[str, Learner]:
    """All who learn by a recipe: `STUDENT`, and by name those who learn from it.

    Raises:
        UsageError: a student reads other tokens than the teacher (`other-tokens`), or a match does not fit.
        ArtifactError: weights cannot be had or do not fit.
    """
    section = section_of(loaded.recipe)
    (stage,) = section.stages.values()
    paddle.seed(loaded.recipe.train.seed)
    learners: dict[str, Learner] = {}
    above = teacher.config
    for name, own in {STUDENT: section.student, **section.students}.items():
        model = _student(own, teacher, tokenizer, progress)
        matches = expand(stage, above, model.config)
        learners[name] = Learner(model, above, matches, registry.family(own.family).inputs)
        above = learners[STUDENT].model.config
    return learners


def _student(
    section: StudentSection, teacher: Model, tokenizer: PretrainedTokenizer, progress: FileProgress | None
) -> Model:
    spec = registry.family(section.family)
    architecture = section.architecture or spec.objectives.get("distill", spec.backbone)
    if section.is_fresh:
        own = {"vocab_size": teacher.config.vocab_size, "pad_token_id": teacher.config.pad_token_id}
        return models.build(architecture, {**section.config, **own})
    source = fetch(section.init, progress) if preset_name(section.init) else find_model_folder(Path(section.init))
    if load_tokenizer(source, spec.tokenizer).vocab != tokenizer.vocab:
        raise UsageError(
            "other-tokens",
            "the student's tokenizer does not agree with the teacher's",
            at=Location.of(source),
            fix="take a student with the teacher's vocabulary, or one from scratch, "
            "which takes the teacher's tokenizer",
        )
    return models.load(source, architecture, overrides=section.config)


def _digest(model: Model) -> str:
    """SHA-256 of a model's weights."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()
