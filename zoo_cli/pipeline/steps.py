"""The steps from labelled text to a proven bundle, and what each of them reads and writes.

check       `zoo data check`: the labelled files
prepare     `zoo data split` or `convert`: a development file, where the recipe sets rows apart (`data.dev_fraction`)
finetune    `zoo finetune`; of a recipe that pretrains `zoo pretrain`
distill     `zoo distill`, if the recipe has that section
prune       `zoo prune`, if the recipe has that section
export      `zoo export`: graphs of the last model that was trained, and their proof
quantize    `zoo quantize`, if the recipe has that section
verify      `zoo verify`: the bundle that will be served
bench       `zoo bench`: all bundles
report      `zoo runs report`: all of it on one page
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import MANIFEST
from zoo_cli.data.formats import FORMATS
from zoo_cli.recipe.schema import Recipe

PRETRAIN, FINETUNE, DISTILL, PRUNE = "pretrain", "finetune", "distill", "prune"
CHECK, SPLIT, EXPORT, QUANTIZE, VERIFY, BENCH, REPORT = (
    "check",
    "split",
    "export",
    "quantize",
    "verify",
    "bench",
    "report",
)

Artifact = Literal["best", "bundle", "files", "page", "answer"]

_READING = ("tokenizers", "data", "tasks")  # what reads recipes and files computes nothing
_TRAINING = (*_READING, "decoding", "models", "engine")
_EXPORTING = (*_TRAINING, "runtime", "export")

_ONE_A_ROW = frozenset({"AnnotatedText", "TaggedTokens", "TextExample", "OptionExample"})
"""Examples of which a row of a file makes exactly one."""


@dataclass(frozen=True)
class Step:
    """One step.

    Args:
        name: of the step, and of its folder.
        verb: words of its command.
        needs: steps whose output it reads.
        reads: sections and keys of the recipe that it reads.
        parts: parts of the data that it reads, see `zoo_cli.pipeline.facts.data_files`.
        code: packages of `zoo_cli` that compute its result.
        artifact: what it leaves: a run with a model folder (`best`), a `bundle`, data `files`, a `page`, or only the
            `answer` that its command prints.
    """

    name: str
    verb: tuple[str, ...]
    needs: tuple[str, ...]
    reads: tuple[str, ...]
    parts: tuple[str, ...]
    code: tuple[str, ...]
    artifact: Artifact

    @property
    def trains(self) -> bool:
        return self.artifact == "best"

    def output(self, root: Path) -> Path | None:
        """What later steps read, below the folder of the whole run; None where that is only an answer."""
        folder = root / self.name
        return {
            "best": folder / "best",
            "bundle": folder / "bundle",
            "files": folder,
            "page": root / "report.html",
        }.get(self.artifact)

    def witness(self, root: Path) -> Path:
        """The file whose content stands for the output: it is written last."""
        folder = root / self.name
        return {
            "best": folder / "best" / MANIFEST,
            "bundle": folder / "bundle" / MANIFEST,
            "files": folder / "sample_index.json",
            "page": root / "report.html",
            "answer": answer_file(root, self.name),
        }[self.artifact]

    def finished(self, root: Path) -> bool:
        """Whether the output is there and whole."""
        return self.witness(root).is_file() and (not self.trains or (root / self.name / "result.json").is_file())


def answer_file(root: Path, name: str) -> Path:
    """The JSON that a step's command printed; beside it, with the ending `.log`, what it said."""
    return root / "steps" / f"{name}.json"


def trainings(recipe: Recipe) -> list[str]:
    """The steps that train models, in their order."""
    if recipe.pretrain is not None:
        return [PRETRAIN]
    sections = ((DISTILL, recipe.distill), (PRUNE, recipe.prune))
    return [FINETUNE, *(name for name, section in sections if section is not None)]


def model_source(recipe: Recipe, verb: str) -> str:
    """The step whose model a verb reads: the nearest before it that the recipe has."""
    known = trainings(recipe)
    return known[known.index(verb) - 1] if verb in known[1:] else known[-1]


def served(recipe: Recipe) -> str:
    """The step whose bundle is the end of the road."""
    return QUANTIZE if recipe.quantize is not None else EXPORT


def can_split(recipe: Recipe) -> bool:
    """Whether the rows that a recipe sets apart can be written to files.

    Otherwise, where several files are read, not every row counts, or rows cannot be cut apart, each verb chooses the
    same rows as it reads them.
    """
    section = recipe.data
    if section.dev or not section.dev_fraction or len(section.train) != 1 or section.limit is not None:
        return False
    entry, filters = FORMATS[section.format or ""], ("where", "skip_labels", "ragged_rows")
    return entry.example in _ONE_A_ROW and not any(section.options.get(key) for key in filters)


def steps_of(recipe: Recipe) -> list[Step]:
    """The steps of a recipe; each stands behind those that it needs."""
    if recipe.pretrain is not None:
        reads: tuple[str, ...] = ("model", "pretrain", "train")
        return [
            Step(PRETRAIN, (PRETRAIN,), (), reads, ("corpora",), _TRAINING, "best"),
            Step(REPORT, ("runs", "report"), (PRETRAIN,), (), (), ("pipeline", "engine"), "page"),
        ]
    labelled = ("data", "task", "train.seed")
    trained = ("model", "task", "data", "train")
    steps = [Step(CHECK, ("data", "check"), (), ("data", "task"), ("train", "dev", "test"), _READING, "answer")]
    files: tuple[str, ...] = ()
    if can_split(recipe):
        reads = ("data", "train.seed")
        steps.append(Step(SPLIT, ("data", "split"), (), reads, ("train",), ("data",), "files"))
        files = (SPLIT,)

    def add(name: str, needs: tuple[str, ...], reads: tuple[str, ...], code: tuple[str, ...], kind: Artifact) -> None:
        parts: tuple[str, ...] = () if files else ("dev",) if name == EXPORT else ("train", "dev")
        if name == DISTILL:
            parts = (*parts, "texts")
        steps.append(Step(name, (name,), (*files, *needs), reads, parts, code, kind))

    sections = {DISTILL: "distill", PRUNE: "prune"}
    for name in trainings(recipe):
        own = (sections[name], "gates") if name in sections else ()
        code = {DISTILL: ("distill",), PRUNE: ("distill", "compress")}.get(name, ())
        needs = (model_source(recipe, name),) if own else ()
        add(name, needs, (*trained, *own), (*_TRAINING, *code), "best")
    add(EXPORT, (model_source(recipe, EXPORT),), (*labelled, "export"), _EXPORTING, "bundle")
    bundles: tuple[str, ...] = (EXPORT,)
    if recipe.quantize is not None:
        reads = (*labelled, "train", "export", "quantize", "gates")
        add(QUANTIZE, (EXPORT,), reads, (*_EXPORTING, "compress"), "bundle")
        bundles = (EXPORT, QUANTIZE)
    answering = ("tokenizers", "tasks", "decoding", "runtime")
    steps.append(Step(VERIFY, (VERIFY,), (served(recipe),), (), (), answering, "answer"))
    steps.append(Step(BENCH, (BENCH,), bundles, ("task",), (), (*answering, "pipeline"), "answer"))
    everything = tuple(step.name for step in steps)
    steps.append(Step(REPORT, ("runs", "report"), everything, (), (), (*answering, "engine", "pipeline"), "page"))
    return steps


def chosen(
    steps: list[Step], first: str | None = None, last: str | None = None, forced: tuple[str, ...] = ()
) -> list[Step]:
    """The steps from one to another.

    Args:
        steps: all steps.
        first: name of the first; by default that of the recipe.
        last: name of the last; by default that of the recipe.
        forced: names of steps that must be among them.

    Raises:
        UsageError: the recipe has no such step (`unknown-step`), or none is left (`no-step`).
    """
    names = [step.name for step in steps]
    for name in (first, last, *forced):
        if name is not None and name not in names:
            raise UsageError(
                "unknown-step",
                "the recipe has no step {name!r}",
                fix="it has: {names}",
                name=name,
                names=", ".join(names),
            )
    start = names.index(first) if first is not None else 0
    stop = names.index(last) + 1 if last is not None else len(names)
    missing = [name for name in forced if name not in names[start:stop]]
    if start >= stop or missing:
        raise UsageError(
            "no-step",
            "{name} is not between the first and the last step",
            fix="the order is: {names}",
            name=(*missing, first or last)[0],
            names=", ".join(names),
        )
    return steps[start:stop]


UNSEEN = frozenset({"data.test", "train.log_steps", "train.save_steps", "train.keep_checkpoints"})
"""Keys that change no output; what is in the test files is looked at apart."""


def flat_values(tree: Mapping[str, Any], reads: tuple[str, ...]) -> dict[str, Any]:
    """The values of a resolved recipe below some of its sections and keys, by dotted name."""
    found: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                walk(item, f"{path}.{key}" if path else str(key))
        elif path not in UNSEEN and any(path == name or path.startswith(name + ".") for name in reads):
            found[path] = value

    walk(tree, "")
    return found
