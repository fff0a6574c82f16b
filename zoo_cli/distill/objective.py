"""What the student minimises: the weighted sum of its matches with the teacher."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.nn.initializer import Normal

from zoo_cli.distill import losses
from zoo_cli.distill.features import Adaptor, Answer, Key, decisions, token_mask, wanted
from zoo_cli.distill.teachers import stored_answer
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.base import Losses
from zoo_cli.engine.objectives.supervised import label_count
from zoo_cli.models.base import Model
from zoo_cli.models.config import ModelConfig
from zoo_cli.recipe.schema import DistillMatch
from zoo_cli.tasks.base import Task


class Pupil(nn.Layer):
    """A student with the projections of its hidden states to the teacher's width, which only training needs.

    A TinyBERT whose `fit_size` is that width has them itself, and published ones have learnt them.

    Args:
        student: the model.
        matches: what it learns.
        teacher: configuration of the teacher.
    """

    def __init__(self, student: Model, matches: Sequence[DistillMatch], teacher: ModelConfig) -> None:
        super().__init__()
        self.student = student
        self.projections = nn.LayerDict()
        width = teacher.hidden_size
        own = student.backbone
        self._fits = getattr(own.config, "fit_size", None) == width
        for match in matches:
            name = _projection_name(match)
            if match.projection is not None and not self._fits and name not in self.projections:
                weights = Normal(std=student.config.initializer_range)
                self.projections[name] = nn.Linear(student.config.hidden_size, width, weight_attr=weights)

    def project(self, match: DistillMatch, hidden: Tensor) -> Tensor:
        """Hidden states [R, S, H] of the student in the teacher's width."""
        if match.projection is None:
            return hidden
        if not self._fits:
            return self.projections[_projection_name(match)](hidden)
        own = self.student.backbone
        return own.fit_dense(hidden) if match.projection == "shared" else own.fit_denses[match.student](hidden)


def _projection_name(match: DistillMatch) -> str:
    return "shared" if match.projection == "shared" else f"layer{match.student}"


class Distillation:
    """The objective of a stage.

    Args:
        student: its model and task.
        inputs: names of the student's inputs.
        labels: names of labels in batches.
        matches: what is compared.
        teacher: answers a batch that brings no stored answer; needed unless there are labels only.
    """

    def __init__(
        self,
        student: Model,
        task: Task[Any],
        inputs: Sequence[str],
        labels: Sequence[str],
        matches: Sequence[DistillMatch],
        teacher: Callable[[Arrays], Answer] | None = None,
    ) -> None:
        self._student = Adaptor(student, task, inputs, wanted(matches, "student"))
        self._problem_type = student.config.problem_type
        self._task = task
        self._labels = labels
        self._matches = matches
        self._teacher = teacher

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        """Losses of a batch; `parts` has the weighted sum for each feature."""
        assert isinstance(model, Pupil)
        hard = any(match.feature == "labels" for match in self._matches)
        labels = {name: batch[name] for name in self._labels}
        below = self._student(batch, labels if hard else None)
        above = stored_answer(batch) or (self._teacher(batch) if self._teacher else {})
        parts: dict[str, Tensor] = defaultdict(lambda: paddle.zeros([]))
        for match in self._matches:
            parts[match.feature] += match.weight * self._match_loss(match, model, below, above, batch)
        weight = label_count(labels) if hard else len(batch["input_ids"])
        return Losses(sum(parts.values(), paddle.zeros([])), weight, parts)

    def _match_loss(self, match: DistillMatch, pupil: Pupil, below: Answer, above: Answer, batch: Arrays) -> Tensor:
        if match.feature == "labels":
            return below[Key("loss")]
        loss = str(match.loss)  # there is one: the match was checked
        if match.feature == "logits":
            pairs = zip(
                *(decisions(side, batch, self._task, self._problem_type) for side in (below, above)), strict=True
            )
            terms = [losses.logits_loss(student, teacher, loss, match.temperature) for student, teacher in pairs]
            return sum(terms, paddle.zeros([])) / len(terms)
        return state_loss(match, pupil, below, above, batch)


def state_loss(match: DistillMatch, pupil: Pupil, below: Answer, above: Answer, batch: Arrays) -> Tensor:
    """The loss of a match of hidden states, attention or relations, its weight not counted.

    Args:
        match: what is compared.
        pupil: the student, which has the projections.
        below, above: what student and teacher show.
        batch: the inputs.
    """
    mask = paddle.to_tensor(token_mask(batch))
    loss = str(match.loss)  # there is one: the match was checked
    own = below[Key(match.feature, match.student or 0)].astype("float32")
    gold = above[Key(match.feature, match.teacher or 0)].astype("float32")
    if mask.ndim == 3:  # the choices of a question are sequences of their own
        own, gold, mask = own.flatten(0, 1), gold.flatten(0, 1), mask.flatten(0, 1)
    if match.feature == "hidden":
        return losses.hidden_loss(pupil.project(match, own), gold, mask, loss)
    if match.feature == "attention":
        return losses.attention_loss(own, gold, mask, loss, match.heads)
    return losses.relation_loss(own, gold, mask, match.relation_heads or 1)
