"""A recipe for somebody's own data: what is not said is read off the data, or asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from zoo_cli.base.console import say

if TYPE_CHECKING:
    from zoo_cli.data.guess import Guess

CHECKPOINTS = {
    "extraction": ("uie-base", "uie-base-en"),
    "closed_extraction": ("ernie-3.0-mini-zh", "bert-base-uncased"),
    "sequence_classification": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "token_classification": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "question_answering": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "multiple_choice": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "matching": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "intent_slot": ("ernie-3.0-medium-zh", "bert-base-uncased"),
    "nested_ner": ("ernie-health-chinese", "electra-base"),
    "spo": ("ernie-health-chinese", "electra-base"),
    "utc": ("utc-base", "utc-base"),
    "document_classification": ("ernie-doc-base-zh", "ernie-doc-base-en"),
    "document_token_classification": ("ernie-doc-base-zh", "ernie-doc-base-en"),
    "document_question_answering": ("ernie-doc-base-zh", "ernie-doc-base-en"),
    "document_multiple_choice": ("ernie-doc-base-zh", "ernie-doc-base-en"),
    "document_matching": ("ernie-doc-base-zh", "ernie-doc-base-en"),
    "generation": ("unimo-text-1.0", "unimo-text-1.0"),
    "dialogue": ("plato-mini", "plato-mini"),
    "language_modeling": ("gpt-cpm-small-cn-distill", "gpt2-en"),
}
"""The published checkpoint to begin with, for Chinese and for English texts."""

DEV_NAMES = ("dev", "valid", "validation", "eval")


@dataclass
class Draft:
    """What a new recipe is made of; None stands for what is not known yet.

    Args:
        train: training file.
        task, format, init: as in a recipe.
        family: of a model from scratch.
        folder: that the training file is relative to.
    """

    train: str = "data/train.jsonl"
    task: str | None = None
    format: str | None = None
    init: str | None = None
    family: str | None = None
    folder: Path = Path()

    def ask(self) -> None:
        """Ask in the terminal for everything, with what the data suggest as the default."""
        from zoo_cli.base.messages import translate
        from zoo_cli.data.formats import FORMATS
        from zoo_cli.registry import TASKS, task

        def answer(question: str, default: str, choices: list[str] | None = None) -> str:
            text = translate(question)
            if choices:
                typer.echo(", ".join(choices), err=True)
            while True:
                said = str(typer.prompt(text, default=default, err=True)).strip()
                if not choices or said in choices:
                    return said

        self.train = answer("Training file", self.train)
        found = self._look()
        self.format = answer("How it is written", self.format or (found.format if found else "doccano"), list(FORMATS))
        usual = [name for name in TASKS if self.format in task(name).formats]
        likely = found.task if found and found.task in usual else usual[0]
        self.task = answer("What to learn", self.task or likely, usual)
        self.init = answer("Checkpoint to begin with", self.init or self._checkpoint(self.task, found))

    def text(self) -> str:
        """The recipe.

        Raises:
            UsageError: there is no such task, family, format or checkpoint.
            DataError: the training file is there, but cannot be read as text.
        """
        from zoo_cli.recipe.render import new_recipe
        from zoo_cli.registry import task

        found = self._look()
        name = self.task or (found.task if found else "extraction")
        spec = task(name)
        if found and self.format is None and found.format not in spec.formats:
            found = None  # the data are not of this task, which `zoo recipes validate` and `zoo data check` will say
        form = self.format or (found.format if found else None)
        init = self.init or (None if self.family else self._checkpoint(name, found))
        values = _task_values(name, found, set(spec.options.model_fields)) if found else {}
        data: dict[str, Any] = {"options": found.options} if found and found.options else {}
        dev = self._dev_file()
        if dev is not None:
            data["dev"] = dev
        elif found and 1 < found.rows < 10:
            data["dev_fraction"] = -(-100 // found.rows) / 100  # one row: a tenth would be none
        if init == "scratch":
            init = None
        return new_recipe(self.family or _family_for(name), name, init, self.train, form, values, data)

    def tell(self) -> None:
        """Say what was read off the training file, or that there is none yet."""
        found = self._look()
        if found is None:
            say("note: {path} is not there yet, so nothing was read off it", path=self.folder / self.train)
        else:
            labels = ", ".join(found.labels) or "-"
            say(
                "{path}: {format}, {language}; labels: {labels}",
                path=self.folder / self.train,
                format=found.format,
                language=found.language,
                labels=labels,
            )

    def _look(self) -> Guess | None:
        path = self.folder / self.train
        if not path.is_file():
            return None
        from zoo_cli.data.guess import guess

        return guess(path, self.format)

    def _checkpoint(self, name: str, found: Guess | None) -> str:
        return CHECKPOINTS[name][found is not None and found.language == "en"]

    def _dev_file(self) -> str | None:
        """The development file beside the training file."""
        path = Path(self.train)
        for name in DEV_NAMES:
            other = path.with_name(path.name.replace("train", name, 1))
            if other != path and (self.folder / other).is_file():
                return str(other)
        return None


def _family_for(task_name: str) -> str:
    from zoo_cli.registry import FAMILIES, family

    return next((name for name in ("ernie", *FAMILIES) if task_name in family(name).tasks), "ernie")


def _task_values(name: str, found: Guess, options: set[str]) -> dict[str, Any]:
    """Options of the task that the data suggest."""
    values: dict[str, Any] = {}
    if name == "extraction" and found.labels:
        related = found.relations
        values["schema"] = [{label: related[label]} if label in related else label for label in found.labels]
        values["schema_lang"] = found.language
    if "kind" in options and found.options.get("label_type") == "score":
        values["kind"] = "regression"
    if "kind" in options and found.several_labels:
        values["kind"] = "multi_label"
    if name in ("sequence_classification", "token_classification") and found.characters and "max_length" in options:
        # About four letters of English make a token; two tokens more for the special ones.
        tokens = found.characters if found.language == "zh" else found.characters // 4 * 3 // 2
        values["max_length"] = min(512, max(64, -(-(tokens + 2) // 32) * 32))
    return values
