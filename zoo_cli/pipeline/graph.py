"""Which steps of a run are still good, and which are to be done, and why."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.pipeline.facts import Facts, differences, facts_of
from zoo_cli.pipeline.state import State
from zoo_cli.pipeline.steps import BENCH, PRUNE, QUANTIZE, REPORT, SPLIT, VERIFY, Step, chosen, served, steps_of
from zoo_cli.recipe.loading import LoadedRecipe

Verdict = Literal["done", "adopt", "new", "again", "resume", "rejected", "taken", "left out"]
"""``done``: nothing changed since. ``adopt``: it was finished, but the process was killed before that was written down.
``new``: never run. ``again``: something changed. ``resume``: begun and not finished. ``rejected``: a gate failed and
nothing changed. ``taken``: before the first step, so used as it is. ``left out``: behind the last step."""

TO_DO = frozenset({"new", "again", "resume"})
GATE_FAILED = 6


@dataclass
class Judgement:
    """What is to be done about a step.

    Args:
        step: the step.
        verdict: see `Verdict`.
        reasons: why, for people.
        facts: what its output depends on; None where that is not known before other steps are done.
    """

    step: Step
    verdict: Verdict
    reasons: list[str] = field(default_factory=list)
    facts: Facts | None = None


@dataclass
class Road:
    """All of a run.

    Args:
        recipe: name or path, as it was given.
        overrides: of the recipe.
        loaded: the recipe.
        root: folder of the run.
        first: name of the first step to do, or None.
        last: name of the last one, or None.
        forced: steps to repeat.
        device: value of `--device` for the steps that train.
        processes: how many processes train.

    Raises:
        UsageError: there is no such step.
    """

    recipe: str
    overrides: list[str]
    loaded: LoadedRecipe
    root: Path
    first: str | None = None
    last: str | None = None
    forced: tuple[str, ...] = ()
    device: str = "cpu"
    processes: int = 1

    def __post_init__(self) -> None:
        self.steps = steps_of(self.loaded.recipe)
        self.by_name = {step.name: step for step in self.steps}
        self.chosen = chosen(self.steps, self.first, self.last, self.forced)

    def command(self, step: Step) -> list[str]:
        """Words behind ``zoo`` that do a step."""
        recipe, root = self.loaded.recipe, self.root
        if step.name == REPORT:
            return [*step.verb, str(root), "--json"]
        if step.name == VERIFY:
            return [*step.verb, str(self._output(served(recipe))), "--json"]
        if step.name == BENCH:
            return [*step.verb, *(str(self._output(name)) for name in step.needs), *self._shapes(), "--json"]
        if step.name == SPLIT:
            return [*step.verb, *self._split(), "--json"]
        words = [*step.verb, "--recipe", self.recipe, *self.overrides, "--json"]
        words += ["--tiny"] if self.loaded.tiny else []
        if step.artifact == "answer":
            return words
        words += [*self._divided(), "--output-dir", str(root / step.name)]
        models = [name for name in step.needs if name != SPLIT]
        words += ["--from", str(self._output(models[0]))] if models else []
        words += ["--resume"] if step.trains or step.name == QUANTIZE else []
        if step.trains:
            words += ["--device", self.device]
            # Pruning has one process.
            words += ["--nproc", str(self.processes)] if self.processes > 1 and step.name != PRUNE else []
        return words

    def _output(self, name: str) -> Path:
        place = self.by_name[name].output(self.root)
        assert place is not None  # steps that are needed leave files
        return place

    def _shapes(self) -> list[str]:
        """Options of `zoo bench`: lengths that the model reads; few of everything in a tiny run."""
        longest = getattr(self.loaded.task, "max_length", None) or 128
        lengths = [length for length in ((32,) if self.loaded.tiny else (32, 128)) if length <= longest] or [longest]
        rounds = 2 if self.loaded.tiny else 5
        return ["--batch", "1,8", "--length", ",".join(map(str, lengths)), "--rounds", str(rounds)]

    def _split(self) -> list[str]:
        from zoo_cli.base.resources import locate

        recipe = self.loaded.recipe
        section, seed = recipe.data, recipe.train.seed
        sizes = f"{round(1 - section.dev_fraction, 12)!r},{section.dev_fraction!r}"
        words = [str(locate(section.train[0])), str(self.root / SPLIT), "--format", str(section.format)]
        words += ["--sizes", sizes, "--seed", str(seed)]
        for key, value in section.options.items():
            words += ["--option", f"{key}={json.dumps(value, ensure_ascii=False)}"]
        return words

    def _divided(self) -> list[str]:
        """Recipe values that name the files which the step `split` wrote."""
        if SPLIT not in self.by_name:
            return []
        name = Path(self.loaded.recipe.data.train[0].removesuffix(".gz"))
        folder, suffix = self.root / SPLIT, name.suffix or ".txt"
        files = {part: json.dumps([str(folder / f"{part}{suffix}")], ensure_ascii=False) for part in ("train", "dev")}
        return [f"data.train={files['train']}", f"data.dev={files['dev']}", "data.dev_fraction=0.0"]

    def judge(self, step: Step, state: State, undone: frozenset[str] = frozenset()) -> Judgement:
        """What is to be done about a step.

        Args:
            step: the step.
            state: the records so far.
            undone: steps that will be done before it, whose outputs are not known yet.
        """
        if step not in self.chosen:
            before = self.steps.index(step) < self.steps.index(self.chosen[0])
            return Judgement(step, "taken" if before else "left out")
        record = state.records.get(step.name)
        # A step that is not among the chosen ones is taken as it is: it was not asked for.
        waiting = [name for name in step.needs if name in undone]
        if waiting:
            return Judgement(step, "again" if record else "new", [f"after {', '.join(waiting)}"])
        inputs = {name: state.output(self.by_name[name]) for name in step.needs}
        facts = _as_json(facts_of(step, self.loaded, inputs, state.hashes))
        if step.name in self.forced:
            return Judgement(step, "again", ["forced"], facts)
        if record is None:
            self._refuse_strange(step)
            return Judgement(step, "new", ["never run"], facts)
        changed = differences(record.facts, facts)
        if changed:
            return Judgement(step, "again", changed, facts)
        output = state.output(step)
        if record.state == "done":
            if output is not None and output == record.output:
                return Judgement(step, "done", [], facts)
            return Judgement(step, "again", ["its output is gone" if output is None else "its output changed"], facts)
        if record.state == "failed" and record.exit_code == GATE_FAILED:
            return Judgement(step, "rejected", ["a gate failed, and nothing changed since"], facts)
        # What a step left is removed before it is begun anew, so a finished output was made by this begun step.
        if output is not None and step.artifact in ("best", "bundle"):
            return Judgement(step, "adopt", ["finished, though that was not written down"], facts)
        return Judgement(step, "resume", [{"running": "killed"}.get(record.state, record.state)], facts)

    def _refuse_strange(self, step: Step) -> None:
        folder = self.root / step.name
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise UsageError(
                "step-exists",
                "this folder was not made by `zoo run`, so nobody knows of what",
                at=Location.of(folder),
                fix="replace it with --force-step {name}, or take it as it is with --from-step and a later step",
                name=step.name,
            )

    def plan(self, state: State) -> list[Judgement]:
        """What would be done about each step.

        Raises:
            ArtifactError: a step before the first is needed and not finished (`missing-step`).
            UsageError: see `judge`.
        """
        judgements: list[Judgement] = []
        undone: set[str] = set()
        for step in self.chosen:
            self._demand_inputs(step)
        for step in self.steps:
            judgement = self.judge(step, state, frozenset(undone))
            judgements.append(judgement)
            if judgement.verdict in TO_DO:
                undone.add(step.name)
        return judgements

    def _demand_inputs(self, step: Step) -> None:
        names = {each.name for each in self.chosen}
        for name in step.needs:
            needed = self.by_name[name]
            if name not in names and step.name != REPORT and not needed.finished(self.root):
                raise ArtifactError(
                    "missing-step",
                    "{step} needs {needed}, which is not finished",
                    at=Location.of(self.root / name),
                    fix="begin earlier with --from-step",
                    step=step.name,
                    needed=name,
                )


def _as_json(facts: Facts) -> Any:
    """The same as it will be when it is read again."""
    return json.loads(json.dumps(facts))
