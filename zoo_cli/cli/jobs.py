"""What the verbs that read a recipe have in common."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.base.console import emit_json, say
from zoo_cli.base.errors import ArtifactError, Location, PlatformError, UsageError
from zoo_cli.base.files import read_json
from zoo_cli.cli.progress import go_offline

if TYPE_CHECKING:
    from zoo_cli.recipe.loading import LoadedRecipe
    from zoo_cli.recipe.schema import PretrainSection

_LOST = re.compile(r"connection (closed|reset) by peer|connection refused|gloo.*TIMEOUT self_rank", re.IGNORECASE)
"""What a process says of one that it can no longer reach."""

TRAININGS = {
    "pretrain": "zoo_cli.engine.pretrain:pretrain",
    "finetune": "zoo_cli.engine.finetune:finetune",
    "distill": "zoo_cli.distill.job:distill",
    "prune": "zoo_cli.compress.prune:prune",
}
"""Verbs that train, and the functions that do it."""


def load_job(
    recipe: str, overrides: list[str] | None, tiny: bool, seed: int | None = None, offline: bool = False
) -> LoadedRecipe:
    """Load and check the recipe of a verb; say so where a file hides a shipped recipe of the same name."""
    from zoo_cli.recipe.loading import load_recipe, recipe_names

    if offline or tiny:
        go_offline()
    values = [*(overrides or ()), *([f"train.seed={seed}"] if seed is not None else [])]
    loaded = load_recipe(recipe, values, tiny)
    shipped = recipe_names().get(recipe.removesuffix(".yaml"))
    if shipped is not None and shipped.resolve() != loaded.path.resolve():
        say("note: {path} is used, not the shipped recipe of that name", path=loaded.path)
    return loaded


def announce(verb: str, loaded: LoadedRecipe, folder: Path, source: Path | None, as_json: bool) -> None:
    """What a verb would do, for `--dry-run`; looks at the data so that a wrong path shows here."""
    task, rows = inputs_of(verb, loaded)
    plan: dict[str, Any] = {
        "verb": verb,
        "recipe": str(loaded.path),
        "model": str(source or loaded.recipe.model.init),
        "family": loaded.recipe.model.family,
        "task": task,
        "data": rows,
        "writes": str(folder),
    }
    show_plan(plan, as_json)


def show_plan(plan: dict[str, Any], as_json: bool) -> None:
    """Show what a verb would do."""
    if as_json:
        emit_json(plan)
        return
    for key, value in plan.items():
        say("{key}: {value}", key=key, value=value)


def inputs_of(verb: str, loaded: LoadedRecipe) -> tuple[str, dict[str, str]]:
    """Task or objective of a verb, and each file that it reads with the part that the file is; all are looked for.

    Raises:
        UsageError: the recipe is not for this verb.
        DataError: a file is missing, or its first row cannot be read.
    """
    if verb == "pretrain":
        return loaded.pretraining.objective, _corpora(loaded.pretraining)
    return loaded.task_name, _labelled_files(loaded)


def _labelled_files(loaded: LoadedRecipe) -> dict[str, str]:
    """Each labelled file and its part; the first row of each is read."""
    from zoo_cli.base.resources import locate
    from zoo_cli.data.sources import read_examples

    section = loaded.recipe.data
    rows = {}
    for part, files in (("train", section.train), ("dev", section.dev), ("test", section.test)):
        for name in files:
            next(read_examples([name], section))
            rows[str(locate(name))] = part
    if loaded.recipe.distill is not None and loaded.recipe.distill.labelling is not None:
        rows |= {str(locate(name)): "to be labelled" for name in loaded.recipe.distill.labelling.texts}
    return rows


def _corpora(section: PretrainSection) -> dict[str, str]:
    """Each corpus or raw text of pretraining and its part; all are looked for."""
    from zoo_cli.data.corpus.blend import parse_blend
    from zoo_cli.data.corpus.format import open_corpus
    from zoo_cli.data.corpus.raw import is_source

    rows = {}
    for part, entries in (("train", [*section.corpora, *section.parallel]), ("dev", section.dev)):
        for name, weight in parse_blend(entries) if entries else ():
            if not is_source(name):
                open_corpus(name)
            rows[name] = part if weight is None else f"{part} {weight:g}"
    return rows


def is_worker() -> bool:
    """Whether this process is one of several that a launch started."""
    return "PADDLE_TRAINER_ID" in os.environ


def launch(nproc: int, nnodes: int, master: str | None, device: str) -> None:
    """Run the same command in several processes and wait for them; exit with their code if they fail.

    SIGTERM and SIGINT go on to the launcher, whose processes save a checkpoint; the exit code then says so as it does
    for one process.

    Raises:
        UsageError: several machines without a first one.
        PlatformError: a process was killed, upon which the launcher ends the others (`worker-died`).
    """
    if nnodes > 1 and master is None:
        raise UsageError("no-master", "several machines need the address of the first", fix="add --master HOST:PORT")
    import zoo_cli

    logs = Path(tempfile.mkdtemp(prefix="zoo-launch-"))
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--log_overwrite", "True", "--log_dir", str(logs)]
    launcher += ["--nproc_per_node", str(nproc), "--nnodes", str(nnodes)]
    if master:
        launcher += ["--master", master]
    if device.startswith("gpu:"):
        launcher += ["--devices", device.removeprefix("gpu:")]
    # The launcher takes a file only; that file's folder must not come before the installed packages.
    command = [*launcher, str(Path(zoo_cli.__file__).parent / "__main__.py"), *sys.argv[1:]]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with (logs / "launcher.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    received: list[int] = []

    def forward(number: int, frame: object) -> None:
        received.append(number)
        process.send_signal(signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    say("{count} processes; their output is in {logs}", count=nproc, logs=logs)
    status = process.wait()
    if status:
        say("{text}", text=_tail(logs / "workerlog.0"))
        if not received:
            _explain_loss(logs)
        sys.exit({signal.SIGTERM: 75, signal.SIGINT: 130}[signal.Signals(received[0])] if received else status)
    shutil.rmtree(logs)


def _explain_loss(logs: Path) -> None:
    """Say so where a process of a launch was killed, or has lost another one.

    Raises:
        PlatformError: that is why the job ended (`worker-died`).
    """
    fix = "free memory if there was not enough, and go on from the latest checkpoint with --resume"
    ended = re.search(r"Container rank (\d+) status \w+ cmd .* code -(\d+) ", _tail(logs / "launcher.log", 1000))
    if ended:
        name = signal.Signals(int(ended[2])).name
        raise PlatformError("worker-died", "process {rank} was killed ({signal})", fix=fix, rank=ended[1], signal=name)
    for log in sorted(logs.glob("workerlog.*")):
        if _LOST.search(_tail(log)):
            raise PlatformError("worker-died", "another process than that of {log} was killed", fix=fix, log=log.name)


def run_training(
    job: str,
    loaded: LoadedRecipe,
    folder: Path,
    source: Path | None,
    resume: bool,
    force: bool,
    device: str,
    nproc: int,
    nnodes: int,
    master: str | None,
    as_json: bool,
) -> None:
    """Run a job here or in several processes, and say what it made.

    Args:
        job: dotted name of its function; the other arguments are those of its verb.
    """
    result = run_job(job, loaded, folder, source, resume, force, device, nproc, nnodes, master)
    if result is None:
        return
    if as_json:
        emit_json(result)
    elif result["score"] is not None:
        say("best model: {model} ({metric} {score:.4f} at step {best_step})", **result)
        say("report: {report}", **result)
    else:
        say("model: {model}", **result)


def run_job(
    job: str,
    loaded: LoadedRecipe,
    folder: Path,
    source: Path | None,
    resume: bool,
    force: bool,
    device: str,
    nproc: int,
    nnodes: int,
    master: str | None,
) -> dict[str, Any] | None:
    """Run a job here or in several processes; see `run_training`.

    Returns:
        What the finished run reports, or None in one of several processes, which has nothing to say.
    """
    loaded.recipe.train.parallel.groups(nproc * nnodes)  # refuses another number of processes
    if (nproc > 1 or nnodes > 1) and not is_worker():
        launch(nproc, nnodes, master, device)
    else:
        from zoo_cli.cli.progress import download_progress
        from zoo_cli.engine.device import use_device
        from zoo_cli.registry import resolve

        use_device(device)
        with download_progress() as progress:
            resolve(job)(loaded, folder, source, resume, force, progress)
    return None if is_worker() else run_result(folder)


def _tail(log: Path, lines: int = 20) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(text.splitlines()[-lines:])


def run_result(folder: Path) -> dict[str, Any]:
    """What a finished run reports: its folders, steps, seconds, and the score of its best model."""
    result = read_json(folder / "result.json")
    result["score"] = result.pop("best_score")
    return {"run": str(folder), "model": str(folder / "best"), "report": str(folder / "report.html"), **result}


def recipe_of(recipe: str | None, source: Path | None, overrides: list[str] | None, tiny: bool) -> LoadedRecipe:
    """The recipe that a verb names, or the one that its input was made with.

    Raises:
        ArtifactError: the input is not there (`no-model`).
        UsageError: there is neither (`no-recipe`).
    """
    if recipe is not None:
        return load_job(recipe, overrides, tiny)
    if source is None:
        fix = "name a recipe with --recipe, or a run with --from"
        raise UsageError("no-recipe", "nothing says what to do", fix=fix)
    for place in (source / "recipe.yaml", source / "best" / "recipe.yaml"):
        if place.is_file():
            return load_job(str(place), overrides, False)
    if not source.exists():
        fix = "name a model folder, a run folder or a bundle"
        raise ArtifactError("no-model", "there is no model here", at=Location.of(source), fix=fix)
    fix = "name a recipe with --recipe"
    raise UsageError("no-recipe", "there is no recipe.yaml that says what to do", at=Location.of(source), fix=fix)


def source_of(loaded: LoadedRecipe | None, source: Path | None, verb: str | None = None) -> Path:
    """The model folder or bundle that a verb reads: `--from`, else what the nearest verb before it made whose section
    the recipe has.

    A tiny verb without its input makes it first.

    Args:
        loaded: the recipe.
        source: value of `--from`.
        verb: which verb reads; unless it trains, that is the last model that was trained.

    Raises:
        ArtifactError: there is none (`no-model`).
    """
    from zoo_cli.pipeline.steps import model_source
    from zoo_cli.recipe.loading import run_folder

    path, maker = source, "finetune"
    if path is None:
        assert loaded is not None
        maker = model_source(loaded.recipe, verb or "export")
        path = run_folder(loaded, maker)
        if loaded.tiny and not (path / "result.json").is_file():
            _train_tiny(loaded, maker, path)
    for folder in (path, path / "best", path / "bundle"):
        if (folder / "config.json").is_file():
            return folder
    known = "name a model folder, a run folder or a bundle"
    fix = known if source else "run `zoo {maker}` first, or name one with --from"
    raise ArtifactError("no-model", "there is no model here", at=Location.of(path), fix=fix, maker=maker)


def _train_tiny(loaded: LoadedRecipe, verb: str, folder: Path) -> None:
    """Do what a verb that trains does by itself, and what it needs before."""
    from zoo_cli.engine.device import use_device
    from zoo_cli.registry import resolve

    teacher = source_of(loaded, None, verb) if verb in ("distill", "prune") else None
    use_device("cpu")
    say("{folder}: nothing there yet, so `zoo {verb}` is run first", folder=folder, verb=verb)
    resolve(TRAININGS[verb])(loaded, folder, teacher, resume=True)


def open_pipeline(folder: Path, backend: str, batch_tokens: int, device: str) -> Any:
    """A pipeline on a bundle (without paddle where the back end allows), or on a model folder."""
    if (folder / "onnx").is_dir() or (folder / "paddle").is_dir():
        from zoo_cli import runtime

        return runtime.load(folder, backend=backend, batch_tokens=batch_tokens)
    from zoo_cli.engine.device import use_device

    use_device(device)
    from zoo_cli.engine.answering import load_pipeline

    return load_pipeline(folder, batch_tokens)
