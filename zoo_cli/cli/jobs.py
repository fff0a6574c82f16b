"""What the verbs that read a recipe have in common."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_cli.base.console import emit_json, say
from zoo_cli.base.errors import UsageError
from zoo_cli.cli.progress import go_offline

if TYPE_CHECKING:
    from zoo_cli.recipe.loading import LoadedRecipe


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
    """What a verb would do, for `--dry-run`; reads the labelled data's first rows so that a wrong path shows here."""
    from zoo_cli.base.resources import locate
    from zoo_cli.data.sources import read_examples

    section = loaded.recipe.data
    rows = {}
    for part, files in (("train", section.train), ("dev", section.dev), ("test", section.test)):
        for name in files:
            next(read_examples([name], section))
            rows[str(locate(name))] = part
    plan: dict[str, Any] = {
        "verb": verb,
        "recipe": str(loaded.path),
        "model": str(source or loaded.recipe.model.init),
        "family": loaded.recipe.model.family,
        "task": loaded.task_name,
        "data": rows,
        "writes": str(folder),
    }
    if as_json:
        emit_json(plan)
        return
    for key, value in plan.items():
        say("{key}: {value}", key=key, value=value)


def launched(nproc: int, nnodes: int, master: str | None, device: str) -> bool:
    """Start the same command in several processes and wait for them; False where this process does the work itself.

    Raises:
        UsageError: several machines without a first one.
    """
    if (nproc == 1 and nnodes == 1) or "PADDLE_TRAINER_ID" in os.environ:
        return False
    if nnodes > 1 and master is None:
        raise UsageError("no-master", "several machines need the address of the first", fix="add --master HOST:PORT")
    launcher = [sys.executable, "-m", "paddle.distributed.launch", "--log_overwrite", "True"]
    launcher += ["--nproc_per_node", str(nproc), "--nnodes", str(nnodes), "--log_dir", ".zoo-launch"]
    if master:
        launcher += ["--master", master]
    if device.startswith("gpu:"):
        launcher += ["--devices", device.removeprefix("gpu:")]
    status = subprocess.run([*launcher, "-m", "zoo_cli", *sys.argv[1:]], check=False).returncode
    sys.exit(status)


def recipe_of(recipe: str | None, source: Path | None, overrides: list[str] | None, tiny: bool) -> LoadedRecipe:
    """The recipe that a verb names, or the one that its input was made with.

    Raises:
        UsageError: there is neither (`no-recipe`).
    """
    if recipe is not None:
        return load_job(recipe, overrides, tiny)
    if source is not None:
        for place in (source / "recipe.yaml", source / "best" / "recipe.yaml"):
            if place.is_file():
                return load_job(str(place), overrides, False)
    raise UsageError("no-recipe", "nothing says what to do", fix="name a recipe with --recipe, or a run with --from")


def source_of(loaded: LoadedRecipe | None, source: Path | None) -> Path:
    """The model folder or bundle that a verb reads: `--from`, else what fine-tuning by this recipe made.

    A tiny verb without its input makes it first.

    Raises:
        ArtifactError: there is none (`no-model`).
    """
    from zoo_cli.base.errors import ArtifactError, Location
    from zoo_cli.recipe.loading import run_folder

    path = source
    if path is None:
        assert loaded is not None
        path = run_folder(loaded, "finetune")
        if loaded.tiny and not (path / "result.json").is_file():
            _finetune_tiny(loaded, path)
    for folder in (path, path / "best"):
        if (folder / "config.json").is_file():
            return folder
    fix = "name a model folder, a run folder or a bundle" if source else "run `zoo finetune` first, or name one with --from"
    raise ArtifactError("no-model", "there is no model here", at=Location.of(path), fix=fix)


def _finetune_tiny(loaded: LoadedRecipe, folder: Path) -> None:
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    from zoo_cli.engine.finetune import finetune

    say("{folder}: nothing there yet, so the tiny model is fine-tuned first", folder=folder)
    finetune(loaded, folder, resume=True)


def open_pipeline(folder: Path, backend: str, batch_tokens: int, device: str) -> Any:
    """A pipeline on a bundle (without paddle where the back end allows), or on a model folder."""
    if (folder / "onnx").is_dir() or (folder / "paddle").is_dir():
        from zoo_cli import runtime

        return runtime.load(folder, backend=backend, batch_tokens=batch_tokens)
    from zoo_cli.engine.device import use_device

    use_device(device)
    from zoo_cli.engine.answering import load_pipeline

    return load_pipeline(folder, batch_tokens)


def flat_scores(scores: dict[str, Any], prefix: str = "") -> list[list[Any]]:
    """Nested scores as rows of name and number."""
    rows: list[list[Any]] = []
    for name, value in scores.items():
        if isinstance(value, dict):
            rows += flat_scores(value, f"{prefix}{name}.")
        else:
            rows.append([prefix + name, f"{value:.4f}" if isinstance(value, float) else value])
    return rows
