"""`zoo sweep`: a run for each combination of some recipe values (a grid search).

runs/<family>/<name>/sweep/         of fine-tuning; ``sweep-pretrain/`` and ``sweep-distill/`` of the other verbs
    <combination>/              the run folder of its verb, e.g. ``learning_rate=1e-5__batch_size=16``
    logs/<combination>.log      what the last process of that run wrote to standard error; `.json` has its answer
    sweep.json                  the runs of the last call, the best first; written anew after each of them

An override of a sweep names *candidates*, separated by commas. Commas within brackets, braces and quotes separate
nothing, so ``data.train=[a.json,b.json],[c.json]`` has two candidates, both lists, and ``model.init="a,b",c`` has the
candidates ``a,b`` and ``c``: quotes around a whole candidate are taken off.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import InterruptedByUser, Location, PreemptedError, UsageError, ZooError, raise_all
from zoo_cli.base.files import read_json, write_json
from zoo_cli.base.locks import exclusive
from zoo_cli.engine.signals import StopSignals
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.yaml12 import load_yaml
from zoo_cli.registry import resolve

SUMMARY, LOGS = "sweep.json", "logs"

VERBS = {
    "finetune": "zoo_cli.engine.run:SECTIONS",
    "pretrain": "zoo_cli.engine.pretrain:SECTIONS",
    "distill": "zoo_cli.distill.course:SECTIONS",
}
"""Verbs that can be swept, and what holds the sections of the recipe that each reads."""

State = Literal["waiting", "running", "done", "failed", "stopped"]

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"\\]|\\.)*\"""")
_LONGEST_VALUE, _LONGEST_NAME = 40, 150
_POLL_SECONDS = 0.1


def candidates(text: str) -> list[str]:
    """What the value of an override is to be set to, one after another; see the head of this module.

    Raises:
        UsageError: a bracket is not closed (`open-bracket`), or one of several candidates is empty (`empty-candidate`).
    """
    found = []
    start = position = depth = 0
    begins = True  # whether a value can begin here, which is where quotes and brackets have a meaning in YAML
    while position < len(text):
        if begins and (quoted := _QUOTED.match(text, position)):
            position, begins = quoted.end(), False
            continue
        letter = text[position]
        if letter in "[{" and (begins or depth):
            depth += 1
        elif letter in "]}" and depth:
            depth -= 1
        elif letter == "," and not depth:
            found.append(text[start:position])
            start = position + 1
        begins = letter in "[{," or (letter == ":" and depth > 0) or (letter == " " and begins)
        position += 1
    if depth:
        raise UsageError(
            "open-bracket",
            "a bracket is not closed in {text!r}",
            fix="put quotes around a candidate that begins with a bracket and is no list",
            text=text,
        )
    found = [each.strip() for each in (*found, text[start:])]
    if len(found) > 1 and "" in found:
        raise UsageError(
            "empty-candidate", "one of the candidates {text!r} is empty", fix='write "" or null, or nothing', text=text
        )
    return [load_yaml(each, "") if _QUOTED.fullmatch(each) else each for each in found]


@dataclass
class Trial:
    """One combination and what became of it.

    Args:
        name: of its folder.
        values: what sets it apart: key -> value as text.
        overrides: all overrides of its recipe.
        run: its run folder.
        state: ``waiting``, ``running``, ``done``, ``failed``, or ``stopped`` by SIGTERM or SIGINT.
        metric: name of the score.
        score: that of its best model; None where it is not done or nothing was evaluated.
        best_step: step of the best model.
        seconds: time spent in steps.
        exit_code: of its process if that failed; 1 if it was killed.
        error: why it failed.
    """

    name: str
    values: dict[str, str]
    overrides: list[str]
    run: str
    state: State = "waiting"
    metric: str | None = None
    score: float | None = None
    best_step: int | None = None
    seconds: float | None = None
    exit_code: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Sweep:
    """All that is to be run.

    Args:
        recipe: name or path, as the verb takes it.
        verb: key of `VERBS`.
        options: further arguments of the verb, the same for all runs.
        folder: the sweep's folder.
        trials: the combinations; not yet done are those in the state ``waiting``.
        loaded: the recipe of each.
    """

    recipe: str
    verb: str
    options: tuple[str, ...]
    folder: Path
    trials: list[Trial]
    loaded: list[LoadedRecipe] = field(repr=False)


def combinations(overrides: Sequence[str]) -> list[tuple[dict[str, str], list[str]]]:
    """All combinations of the candidates of some overrides, the last override changing fastest.

    Args:
        overrides: ``key.sub=candidate,candidate``.

    Returns:
        for each combination the values of the keys that have several candidates, and all its overrides.

    Raises:
        UsageError: no key has several candidates (`no-candidates`), or one is named twice (`repeated-key`).
    """
    choices: dict[str, list[str]] = {}
    for text in overrides:
        key, sign, value = text.partition("=")
        if not sign:
            raise UsageError(
                "override-syntax",
                "{text!r} is not of the form key.sub=value",
                fix="for example train.epochs=3,5",
                text=text,
            )
        if key in choices:
            raise UsageError("repeated-key", "{key} is given twice", fix="name all its candidates at once", key=key)
        choices[key] = candidates(value)
    varying = [key for key, values in choices.items() if len(values) > 1]
    if not varying:
        raise UsageError(
            "no-candidates",
            "there is one combination only",
            fix="separate the candidates of a key by commas, for example train.learning_rate=1e-5,2e-5",
        )
    found = []
    for chosen in itertools.product(*choices.values()):
        values = dict(zip(choices, chosen, strict=True))
        found.append(({key: values[key] for key in varying}, [f"{key}={value}" for key, value in values.items()]))
    return found


def short_name(values: Mapping[str, str]) -> str:
    """The name of a combination's folder: ``{"train.seed": "1", "model.init": "a/b"}`` -> ``seed=1__init=a-b-c14cdd``.

    Where a value is long or has letters that file names should not have, six digits of its hash keep names apart.
    """
    endings = Counter(key.rpartition(".")[2] for key in values)
    parts = []
    for key, value in values.items():
        ending = key.rpartition(".")[2]
        plain = re.sub(r"[^\w.+-]+", "-", value).strip("-")
        parts.append(f"{ending if endings[ending] == 1 else key}={_limited(plain, value, _LONGEST_VALUE)}")
    name = "__".join(parts)
    return _limited(name, name, _LONGEST_NAME)


def _limited(plain: str, text: str, limit: int) -> str:
    """`plain`, or its beginning and a hash of `text` where it is longer than `limit` or not the same as `text`."""
    if plain == text and 0 < len(plain) <= limit:
        return plain
    return f"{plain[:limit]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


def plan(
    recipe: str,
    overrides: Sequence[str],
    folder: Callable[[LoadedRecipe], Path],
    verb: str = "finetune",
    tiny: bool = False,
    options: Sequence[str] = (),
) -> Sweep:
    """Check the recipes of all combinations.

    Args:
        recipe: name or path.
        overrides: ``key.sub=candidate,candidate``.
        folder: gives the sweep's folder, from the recipe of the first combination.
        verb: key of `VERBS`.
        tiny: lay the recipe's `tiny` values over it.
        options: further arguments of the verb.

    Raises:
        UsageError: what is wrong with any of them; candidates that mean the same (`same-combination`); several metrics,
            whose scores cannot be compared (`several-metrics`).
    """
    combined = combinations(overrides)
    loaded: list[LoadedRecipe] = []
    errors: dict[str, ZooError] = {}
    for _, given in combined:
        try:
            loaded.append(load_recipe(recipe, given, tiny))
        except ZooError as error:
            errors.setdefault(str(error), error)
    raise_all(list(errors.values()))
    seen: dict[str, dict[str, str]] = {}
    for (values, _), each in zip(combined, loaded, strict=True):
        earlier = seen.setdefault(to_yaml(each, defaults=True, origins=False), values)
        if earlier is not values:
            raise UsageError(
                "same-combination", "{one} and {other} mean the same", one=_described(earlier), other=_described(values)
            )
    if len({(each.recipe.train.metric, (each.recipe.task or {}).get("name")) for each in loaded}) > 1:
        raise UsageError(
            "several-metrics",
            "the runs of a sweep are compared by one score, so train.metric and task.name cannot be swept",
            fix="make a sweep for each",
        )
    place = folder(loaded[0])
    trials = []
    for values, given in combined:
        name = short_name(values)
        trials.append(Trial(name, values, given, str(place / name)))
    return Sweep(recipe, verb, tuple(options), place, trials, loaded)


def _described(values: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in values.items())


def take_finished(sweep: Sweep, resume: bool, force: bool) -> None:
    """Look at the runs that are there already, and mark those that are finished as done.

    Args:
        sweep: its trials are changed.
        resume: keep finished runs and go on with unfinished ones.
        force: repeat all; takes precedence.

    Raises:
        UsageError: there are runs, but neither `resume` nor `force` (`sweep-exists`), or a run was made by another
            recipe (`recipe-changed`).
    """
    if force:
        return
    there = [
        (trial, loaded)
        for trial, loaded in zip(sweep.trials, sweep.loaded, strict=True)
        if Path(trial.run, "recipe.yaml").is_file()
    ]
    if not there:
        return
    if not resume:
        raise UsageError(
            "sweep-exists",
            "{count} of these runs are there already",
            at=Location.of(sweep.folder),
            fix="keep finished ones and go on with --resume, or repeat all with --force",
            count=len(there),
        )
    from zoo_cli.engine.run import RECIPE, RESULT, check_same

    sections = resolve(VERBS[sweep.verb])
    errors: list[ZooError] = []
    for trial, loaded in there:
        try:
            check_same(Path(trial.run, RECIPE), to_yaml(loaded, defaults=True, origins=False), sections)
        except ZooError as error:
            errors.append(error)
        if Path(trial.run, RESULT).is_file():
            _conclude(trial)
    raise_all(errors)


def _conclude(trial: Trial) -> None:
    """Take over what a finished run reports."""
    result = read_json(Path(trial.run, "result.json"))
    trial.metric, trial.score = result["metric"], result["best_score"]
    trial.best_step, trial.seconds = result["best_step"], result["seconds"]
    if Path(trial.run, "best").is_dir():
        trial.state = "done"
    else:  # distillation moves a student that breaks a gate to `rejected`
        trial.state, trial.exit_code, trial.error = "failed", 6, "the model was rejected by its gates"


def run(
    sweep: Sweep, jobs: int = 1, force: bool = False, ended: Callable[[Trial], None] | None = None
) -> dict[str, Any]:
    """Run what is not done, each combination in a process of its own.

    A combination that fails stops no other. SIGTERM and SIGINT are handed on, so that each run saves a checkpoint.

    Args:
        sweep: from `plan`; its trials are changed.
        jobs: processes at a time.
        force: replace runs that are there; without it unfinished ones go on.
        ended: called with each trial that has ended.

    Returns:
        what `sweep.json` holds: ``recipe``, ``verb``, ``metric``, ``best`` (the best trial, or None where none has a
        score), and ``runs``, the best first.

    Raises:
        UsageError: another process runs this sweep (`sweep-busy`).
        PreemptedError, InterruptedByUser: stopped by a signal.
    """
    (sweep.folder / LOGS).mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(sweep.folder / ".lock", wait=False))
        except BlockingIOError as error:
            raise UsageError(
                "sweep-busy", "another process runs this sweep", at=Location.of(sweep.folder), fix="wait for it"
            ) from error
        signals = stack.enter_context(StopSignals())
        processes = stack.enter_context(_Processes(sweep, force))
        waiting = [trial for trial in sweep.trials if trial.state == "waiting"]
        handed_on = False
        while processes.running or (waiting and not signals.received):
            while waiting and len(processes.running) < jobs and not signals.received:
                processes.start(waiting.pop(0))
            if signals.received and not handed_on:
                processes.send(signals.received)
                handed_on = True
            for trial in processes.collect():
                write_json(sweep.folder / SUMMARY, summary(sweep))
                if ended is not None:
                    ended(trial)
            time.sleep(_POLL_SECONDS)
        result = summary(sweep)
        write_json(sweep.folder / SUMMARY, result)
    if signals.received:
        kind = InterruptedByUser if signals.received == signal.SIGINT else PreemptedError
        raise kind(
            "sweep-stopped",
            "stopped by {name}; {done} of {total} runs are done",
            fix="run the same command with --resume to go on",
            name=signal.Signals(signals.received).name,
            done=sum(trial.state == "done" for trial in sweep.trials),
            total=len(sweep.trials),
        )
    return result


class _Processes:
    """The runs that are going on. What still runs when the context is left is killed."""

    def __init__(self, sweep: Sweep, force: bool) -> None:
        self.running: list[tuple[Trial, subprocess.Popen[bytes]]] = []
        self._sweep = sweep
        self._force = force

    def __enter__(self) -> _Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for _, process in self.running:
            process.kill()
            process.wait()

    def start(self, trial: Trial) -> None:
        sweep = self._sweep
        command = [sys.executable, "-m", "zoo_cli", sweep.verb, "--recipe", sweep.recipe, *trial.overrides]
        command += ["--output-dir", trial.run, "--force" if self._force else "--resume", "--json", *sweep.options]
        with self._log(trial, "json").open("wb") as answer, self._log(trial, "log").open("wb") as log:
            # In a session of its own, so that Ctrl-C reaches it once only: from here.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=answer, stderr=log, start_new_session=True
            )
        trial.state = "running"
        self.running.append((trial, process))

    def _log(self, trial: Trial, kind: str) -> Path:
        return self._sweep.folder / LOGS / f"{trial.name}.{kind}"

    def send(self, number: int) -> None:
        for _, process in self.running:
            process.send_signal(number)

    def collect(self) -> list[Trial]:
        """The trials whose process has ended since the last call."""
        ended = [entry for entry in self.running if entry[1].poll() is not None]
        for entry in ended:
            self.running.remove(entry)
            trial, process = entry
            if process.returncode:
                _fail(trial, process.returncode, self._log(trial, "json").read_text("utf-8", "replace"))
            else:
                _conclude(trial)
        return [trial for trial, _ in ended]


def _fail(trial: Trial, code: int, answer: str) -> None:
    """Note why a process failed.

    Args:
        code: exit code, or minus the number of the signal that killed it.
        answer: its standard output, whose last line is the error as JSON.
    """
    stopped = (PreemptedError.exit_code, InterruptedByUser.exit_code, -signal.SIGTERM, -signal.SIGINT)
    trial.state = "stopped" if code in stopped else "failed"
    trial.exit_code = max(code, 1)
    try:
        trial.error = json.loads(answer.splitlines()[-1])["error"]["message"]
    except (IndexError, KeyError, TypeError, ValueError):  # it was killed, or ended by a fault that has no JSON
        trial.error = f"killed by {signal.Signals(-code).name}" if code < 0 else "see its log"


def summary(sweep: Sweep) -> dict[str, Any]:
    """The trials, the best first, those without a score last; see `run`."""
    metric = next((trial.metric for trial in sweep.trials if trial.metric is not None), None)
    sign = 1 if metric == "loss" else -1

    def rank(trial: Trial) -> tuple[bool, float]:
        return (trial.state != "done" or trial.score is None), sign * (trial.score or 0.0)

    ranked = sorted(sweep.trials, key=rank)
    best = next((trial for trial in ranked[:1] if not rank(trial)[0]), None)
    return {
        "recipe": sweep.recipe,
        "verb": sweep.verb,
        "metric": metric,
        "best": asdict(best) if best else None,
        "runs": [asdict(trial) for trial in ranked],
    }
