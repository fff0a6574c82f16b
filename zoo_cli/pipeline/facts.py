"""What the output of a step depends on, as content: recipe values, data, starting weights, code, inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

import zoo_cli
from zoo_cli.base.files import MANIFEST, sha256_file
from zoo_cli.base.resources import locate
from zoo_cli.data.corpus.blend import parse_blend
from zoo_cli.data.corpus.raw import is_source
from zoo_cli.data.corpus.reading import find_files
from zoo_cli.pipeline.steps import Step, flat_values
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.render import resolved_tree

Facts = dict[str, dict[str, Any]]
"""``recipe``, ``data``, ``weights``, ``code`` and ``inputs``: name -> value or hash."""

_MODEL_ENDINGS = (".bin", ".json", ".model", ".pdparams", ".safetensors", ".txt")
"""Of weights, configurations and vocabularies, whoever wrote them."""


class Hashes:
    """SHA-256 of files, each computed once as long as the file keeps its size and time.

    Args:
        known: what an earlier run knew: path -> [size, time in nanoseconds, hash].
    """

    def __init__(self, known: Mapping[str, Any] | None = None) -> None:
        self.known: dict[str, list[Any]] = {name: list(entry) for name, entry in (known or {}).items()}

    def of(self, path: Path) -> str | None:
        """Hash of a file, or None where there is none."""
        if not path.is_file():
            return None
        found = path.stat()
        stamp = [found.st_size, found.st_mtime_ns]
        entry = self.known.get(str(path))
        if entry is None or entry[:2] != stamp:
            entry = self.known[str(path)] = [*stamp, sha256_file(path)]
        return str(entry[2])


def facts_of(step: Step, loaded: LoadedRecipe, inputs: Mapping[str, str | None], hashes: Hashes) -> Facts:
    """All that a step's output depends on.

    Args:
        step: the step.
        loaded: the recipe.
        inputs: hash of the output of each step that it needs.
        hashes: of the files.
    """
    return {
        "recipe": flat_values(resolved_tree(loaded), step.reads),
        "data": {str(path): hashes.of(path) for path in data_files(loaded, step.parts)},
        "weights": _weights(loaded, hashes) if step.trains else {},
        "code": {"zoo": code_version(step.code)},
        "inputs": dict(inputs),
    }


def data_files(loaded: LoadedRecipe, parts: tuple[str, ...]) -> Iterator[Path]:
    """The files of some parts of the data.

    Args:
        loaded: the recipe.
        parts: ``train``, ``dev``, ``test``; ``texts`` for a teacher to label; ``corpora`` of pretraining.

    Raises:
        DataError: a file or folder of raw text is not there.
    """
    section, distilling = loaded.recipe.data, loaded.recipe.distill
    for part, names in (("train", section.train), ("dev", section.dev), ("test", section.test)):
        # Where no file is named, the development rows are some of the training file's.
        wanted = part in parts or (part == "train" and "dev" in parts and not section.dev)
        yield from (locate(name) for name in names if wanted)
    if "texts" in parts and distilling is not None and distilling.labelling is not None:
        yield from map(locate, distilling.labelling.texts)
    if "corpora" in parts:
        pretraining = loaded.pretraining
        for entries in (pretraining.corpora, pretraining.parallel, pretraining.dev):
            for name, _ in parse_blend(entries) if entries else ():
                yield from _corpus_files(name)


def _corpus_files(name: str) -> list[Path]:
    """The files of a corpus, or of raw text that becomes one; two files of translations are ``a|b``."""
    if is_source(name):
        return find_files([Path(each) for each in name.split("|", 1)])[0]
    prefix = Path(name)
    return sorted(prefix.parent.glob(f"{escape(prefix.name)}*"))


def _weights(loaded: LoadedRecipe, hashes: Hashes) -> dict[str, str | None]:
    """Model folders and vocabularies that the recipe starts from; published checkpoints are known by name."""
    recipe = loaded.recipe
    student = recipe.distill.student.init if recipe.distill is not None else None
    found: dict[str, str | None] = {}
    for name in (recipe.model.init, student, recipe.model.vocab):
        place = None if name is None else locate(name)
        if name is None or place is None or not place.exists():
            continue
        if place.is_file():
            found[name] = hashes.of(place)
            continue
        folder = place / "best" if (place / "best").is_dir() else place
        manifest = folder / MANIFEST
        inside = [manifest] if manifest.is_file() else sorted(folder.iterdir())
        found |= {str(file): hashes.of(file) for file in inside if file.suffix in _MODEL_ENDINGS}
    return found


@cache
def code_version(packages: tuple[str, ...]) -> str:
    """Release and a hash of the source of some packages of `zoo_cli`, so that an edited checkout counts, too."""
    root = Path(zoo_cli.__file__).parent
    digest = hashlib.sha256()
    for name in sorted(packages):
        place = root / name
        for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{zoo_cli.__version__} {digest.hexdigest()[:16]}"


def differences(before: Facts, now: Facts) -> list[str]:
    """What makes two descriptions of a step differ, for people."""
    found = []
    for kind in ("recipe", "data", "weights", "code", "inputs"):
        old, new = before.get(kind, {}), now.get(kind, {})
        for name in [*old, *(name for name in new if name not in old)]:
            if name in old and name in new and old[name] == new[name]:
                continue
            if kind == "recipe":
                found.append(f"{name}: {old.get(name)!r} -> {new.get(name)!r}")
            elif kind == "inputs":
                found.append(f"{name} is new")
            elif kind == "code":
                found.append("the code changed")
            else:
                found.append(f"{name} changed")
    return found
