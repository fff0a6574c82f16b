"""From a recipe, or from a model folder, to tokenizer, task and model that fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from zoo_cli import models, registry, tokenizers
from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import MANIFEST, verify_manifest
from zoo_cli.base.resources import locate
from zoo_cli.engine.distributed import World
from zoo_cli.engine.run import BEST
from zoo_cli.models.base import Model
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress, fetch, fetch_tokenizer
from zoo_cli.tasks.base import Task, load_task
from zoo_cli.tasks.generative import special_ids_of
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.loading import tokenizer_class
from zoo_cli.tokenizers.pretrained import CONFIG_FILE, PretrainedTokenizer


@dataclass
class Assembly:
    """A model with all that it needs to read text and answer.

    Args:
        model: the network.
        tokenizer: its tokenizer.
        task: what it is used for.
    """

    model: Model
    tokenizer: Tokenizer
    task: Task[Any]

    def save(self, folder: Path) -> None:
        """Write configuration, weights, tokenizer and task into an existing folder."""
        models.save(self.model, folder)
        self.tokenizer.save(folder)
        self.task.save(folder)


def load_folder(folder: Path) -> Assembly:
    """A model folder as training wrote it.

    Raises:
        ArtifactError: a file is missing, damaged, or does not fit.
    """
    if (folder / MANIFEST).is_file():
        verify_manifest(folder)
    model = models.load(folder)
    spec = registry.family(model.config.family)
    tokenizer = load_tokenizer(folder, spec.tokenizer)
    task = load_task(folder, tokenizer, spec.inputs)
    task.fit_model(model.config.state_shapes)
    return Assembly(model, tokenizer, task)


def find_model_folder(path: Path) -> Path:
    """The model folder that a path means: itself, or the best model of a run folder.

    Raises:
        ArtifactError: there is none (`no-model`).
    """
    for folder in (path, path / BEST):
        if (folder / "config.json").is_file() or (folder / "model_config.json").is_file():
            return folder
    raise ArtifactError(
        "no-model",
        "there is no model here, neither in this folder nor in its {best}",
        at=Location.of(path),
        fix="name a run folder, a model folder or a bundle",
        best=BEST,
    )


def from_recipe(
    loaded: LoadedRecipe, examples: Sequence[Any], source: Path | None = None, progress: FileProgress | None = None
) -> Assembly:
    """Tokenizer, task and model as a recipe describes them.

    Args:
        loaded: the recipe.
        examples: training examples, from which the task takes what the recipe leaves open, e.g. its labels.
        source: model folder to start from instead of `model.init`.
        progress: see `zoo_cli.recipe.presets.fetch`.

    Raises:
        ArtifactError: weights cannot be had or do not fit the configuration.
        DataError: the examples do not fit the task.
    """
    section = loaded.recipe.model
    spec = registry.family(section.family)
    folder, tokenizer = starting_point(loaded, source, progress)
    task_class = registry.resolve(registry.task(loaded.task_name).implementation)
    task: Task[Any] = task_class(loaded.task, tokenizer, spec.inputs)
    task.fit(examples)
    architecture = section.architecture or spec.tasks[loaded.task_name]
    model = make_model(loaded, architecture, folder, tokenizer, task.model_config(), source)
    task.fit_model(model.config.state_shapes)
    return Assembly(model, tokenizer, task)


def starting_point(
    loaded: LoadedRecipe, source: Path | None, progress: FileProgress | None
) -> tuple[Path | None, PretrainedTokenizer]:
    """Folder of the weights to start from, None for fresh ones, and the tokenizer; arguments as of `from_recipe`."""
    folder = source or _checkpoint_folder(loaded, progress)
    return folder, _tokenizer(loaded, folder, progress)


def make_model(
    loaded: LoadedRecipe,
    architecture: str,
    folder: Path | None,
    tokenizer: Tokenizer,
    values: Mapping[str, Any],
    source: Path | None = None,
) -> Model:
    """The model of a recipe, with the weights of a folder or fresh ones.

    Args:
        loaded: the recipe.
        architecture: class name.
        folder: weights to start from, or None.
        tokenizer: the model's.
        values: configuration keys that replace those of the recipe.
        source: the same folder where `model.init` does not name it. Then its configuration tells the shape, not that of
            the checkpoint in `model.init`.

    Raises:
        ArtifactError: the weights do not fit.
    """
    section = loaded.recipe.model
    group = World.join(loaded.recipe.train.parallel).shares
    paddle.seed(loaded.recipe.train.seed)
    if folder is not None:
        given = section.config if source is None else loaded.own_config
        return models.load(folder, architecture, overrides={**given, **values}, group=group)
    own: dict[str, Any] = {}
    if section.vocab is not None:
        fields = registry.family(section.family).config.model_fields
        own = {name: index for name, index in special_ids_of(tokenizer).items() if name in fields}
        own["vocab_size"] = len(tokenizer)
    return models.build(architecture, {**section.config, **own, **values}, group=group)


def load_tokenizer(folder: Path, default_class: str) -> PretrainedTokenizer:
    """A folder's tokenizer; of the given class where the folder does not say (older PaddleNLP folders do not)."""
    try:
        return tokenizers.load(folder)
    except UsageError as error:
        if error.code != "no-tokenizer-class":
            raise
        return tokenizers.load(folder, class_name=default_class)


def _checkpoint_folder(loaded: LoadedRecipe, progress: FileProgress | None) -> Path | None:
    """Folder of the weights to start from, downloaded if need be, or None for fresh weights."""
    name = loaded.checkpoint
    if name is None:
        return None
    return fetch(name, progress) if loaded.preset == name else find_model_folder(Path(name))


def _tokenizer(loaded: LoadedRecipe, folder: Path | None, progress: FileProgress | None) -> PretrainedTokenizer:
    section = loaded.recipe.model
    default = registry.family(section.family).tokenizer
    if section.vocab is not None:
        place = locate(section.vocab)
        names = tokenizer_class(default).resource_files_names.values()
        # A family may have two tokenizers, as GPT has an English and a Chinese one.
        other = (place / CONFIG_FILE).is_file() and not any((place / name).is_file() for name in names)
        return tokenizers.load(place, class_name=None if other else default)
    if folder is None:
        assert loaded.preset is not None  # a check of the recipe: fresh weights have a vocabulary or a preset
        folder = fetch_tokenizer(loaded.preset, progress)
    return load_tokenizer(folder, default)
