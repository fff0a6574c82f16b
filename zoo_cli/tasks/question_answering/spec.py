"""Options of question answering."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import PositiveInt, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.question_answering.api import QuestionAnsweringAnswer, QuestionAnsweringInput


class QuestionAnsweringOptions(Section):
    """The `task` section of a recipe for extractive reading comprehension."""

    name: Literal["question_answering"] = "question_answering"
    """Name of the task."""
    language: Literal["zh", "en"] = "zh"
    """Whose rules compare answers: `zh` those of CMRC 2018's script, `en` those of SQuAD's."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Most tokens of question and text together; longer texts are read in windows."""
    doc_stride: PositiveInt = 128
    """Tokens from the start of one window of the text to the start of the next."""
    max_question_length: PositiveInt = 64
    """Most tokens of a question; the rest is cut."""
    max_answer_length: PositiveInt = 50
    """Most tokens of an answer."""
    n_best: PositiveInt = 20
    """How many answers are compared; the score of an answer is its share among them."""
    impossible: bool | None = None
    """Questions may have no answer (SQuAD 2.0); by default if the training data have such."""
    null_threshold: float = 0.0
    """No answer is given when its logit exceeds that of the best answer by more than this."""
    tune_null_threshold: bool = False
    """Set `null_threshold` to what gives the highest F1 on the development data."""
    all_answers: bool = False
    """Answer with all `n_best` answers, too."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_question_length + 8 > self.max_length:
            raise ValueError("max_length must exceed max_question_length by 8 or more")
        return self


TASK = TaskSpec(
    name="question_answering",
    options=QuestionAnsweringOptions,
    implementation="zoo_cli.tasks.question_answering.task:QuestionAnsweringTask",
    formats=("squad",),
    metric="f1",
    request=QuestionAnsweringInput,
    answer=QuestionAnsweringAnswer,
)
