"""The published checkpoints: `configs/models/*.yaml`, and the folders that their files are downloaded to.

`fetch` makes `ZOO_HOME/weights/<name>` a model folder as PaddleNLP writes it. Its `MANIFEST.json` is written last: a
folder without one is unfinished.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, model_validator

from zoo_cli.base.download import cache_root, discard_unfinished, download, downloads_folder
from zoo_cli.base.errors import ArtifactError, ErrorGroup, Location, UsageError, raise_all
from zoo_cli.base.files import MANIFEST, read_json, remove_partial, verify_manifest, write_json, write_manifest
from zoo_cli.base.locks import exclusive
from zoo_cli.base.names import closest
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.schema import Section
from zoo_cli.recipe.yaml12 import parse

logger = logging.getLogger(__name__)

FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
Url = Annotated[str, Field(pattern=r"^https://\S+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Kind = TypeVar("Kind", bound=Section)

FileProgress = Callable[[str, int, int | None], None]
"""Called with a file name, the bytes that are there and the bytes that there will be, if known."""


class Weights(Section):
    """The weight file of a checkpoint."""

    file: FileName
    """Name in the model folder."""
    url: Url
    """Where it is published."""


class TokenizerFiles(Section):
    """The tokenizer of a checkpoint."""

    name: str = Field(alias="class")
    """Class name."""
    do_lower_case: bool | None = None
    """Where it differs from the class default."""
    files: dict[FileName, Url]
    """Name in the model folder -> where it is published."""


class Preset(Section):
    """One published checkpoint."""

    model_config = ConfigDict(frozen=True)

    family: str
    """Key in `zoo_cli.registry.FAMILIES`."""
    architecture: str
    """Class whose weights were published."""
    description: str
    """One line for `zoo weights list`."""
    language: Literal["zh", "en", "multilingual"]
    """Language of the text that it was trained on."""
    licence: str
    """SPDX name, or `see source` where the publisher does not state one for the weights."""
    source: Url
    """Project that made the weights."""
    parameters: Annotated[float, Field(gt=0)]
    """Millions of them, tied ones counted once."""
    config: dict[str, Any]
    """Architecture values that differ from the defaults of the family's configuration class."""
    weights: Weights | None = None
    """Absent where only the configuration was published."""
    tokenizer: TokenizerFiles
    """Tokenizer."""
    sha256: dict[FileName, Sha256] = Field(default_factory=dict)
    """Checksums of files, where known."""

    @model_validator(mode="after")
    def _checksums_of_known_files(self) -> Preset:
        unknown = sorted(set(self.sha256) - set(self.files))
        if unknown:
            raise ValueError(f"sha256 names files that there are not: {', '.join(unknown)}")
        return self

    @property
    def files(self) -> dict[str, str]:
        """Name in the model folder -> address, the weights last."""
        weights = {self.weights.file: self.weights.url} if self.weights else {}
        return {**self.tokenizer.files, **weights}

    def config_json(self) -> dict[str, Any]:
        """What `config.json` holds: PaddleNLP's keys."""
        model_type = "electra" if self.family == "ernie_health" else self.family
        return {"architectures": [self.architecture], "model_type": model_type, **self.config}

    def tokenizer_json(self) -> dict[str, Any]:
        """What `tokenizer_config.json` holds: PaddleNLP's keys."""
        lower = {} if self.tokenizer.do_lower_case is None else {"do_lower_case": self.tokenizer.do_lower_case}
        return {"tokenizer_class": self.tokenizer.name, **lower}


@cache
def _preset_files() -> dict[str, Path]:
    folder = resource_folder("configs") / "models"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def preset_names(family: str | None = None) -> list[str]:
    """Names of the published checkpoints, of one family or of all."""
    return [name for name in _preset_files() if family is None or load_preset(name).family == family]


@cache
def load_preset(name: str) -> Preset:
    """The checkpoint of that name.

    Raises:
        UsageError: there is none (`unknown-checkpoint`), or its file is wrong (`bad-preset`).
    """
    if name not in _preset_files():
        near = closest(name, _preset_files(), most=3)
        raise UsageError(
            "unknown-checkpoint",
            "there is no published checkpoint {name!r}",
            fix="did you mean {near}?" if near else "choose one of `zoo weights list`",
            name=name,
            near=near,
        )
    return read_configuration(_preset_files()[name], Preset, "bad-preset")


def read_configuration(path: Path, kind: type[Kind], code: str) -> Kind:
    """What a shipped YAML file says.

    Args:
        path: the file.
        kind: class of what it describes.
        code: of the errors.

    Raises:
        UsageError: the file is wrong, with the line of each fault.
    """
    document = parse(path.read_text(encoding="utf-8"), str(path))
    try:
        return kind.model_validate(document.value)
    except ValidationError as error:
        raise ErrorGroup(
            UsageError(
                code,
                "{key}: {reason}",
                at=document.place(problem["loc"]),
                key=".".join(str(part) for part in problem["loc"]) or path.stem,
                reason=problem["msg"],
            )
            for problem in error.errors()
        ) from error


def weights_root() -> Path:
    """The folder of all downloaded checkpoints."""
    return cache_root() / "weights"


def weights_folder(name: str) -> Path:
    """Where `fetch` puts a checkpoint."""
    return weights_root() / name


def fetch(name: str, progress: FileProgress | None = None) -> Path:
    """Download a checkpoint unless it is there, and return its model folder.

    Files that the user put there by hand are taken. What an interrupted call got is used.

    Raises:
        UsageError: there is no checkpoint of that name.
        ArtifactError: no weights were published (`no-weights`), or a file cannot be had (see `download`).
    """
    preset = load_preset(name)
    if preset.weights is None:
        raise ArtifactError(
            "no-weights",
            "only the configuration of {name} was published, no weights",
            fix="train it from fresh weights with `model.init: scratch:{name}`",
            name=name,
        )
    folder = weights_folder(name)
    with exclusive(_lock_file(name)):
        if _is_current(preset, folder):
            os.utime(folder / MANIFEST)  # when it was last used, for `cache_prune`
            return folder
        (folder / MANIFEST).unlink(missing_ok=True)
        remove_partial(folder)
        for file, url in preset.files.items():
            report = partial(progress, file) if progress else None
            download(url, folder / file, sha256=preset.sha256.get(file), progress=report)
        write_json(folder / "config.json", preset.config_json())
        write_json(folder / "tokenizer_config.json", preset.tokenizer_json())
        write_manifest(folder)
    logger.info("%s is in %s", name, folder)
    return folder


def fetch_tokenizer(name: str, progress: FileProgress | None = None) -> Path:
    """Download a checkpoint's vocabulary without its weights, for a model with fresh ones, and return its folder.

    Raises:
        UsageError: there is no checkpoint of that name.
        ArtifactError: a file cannot be had (see `download`).
    """
    preset = load_preset(name)
    folder = weights_folder(name)
    with exclusive(_lock_file(name)):
        if not _is_current(preset, folder):
            for file, url in preset.tokenizer.files.items():
                report = partial(progress, file) if progress else None
                download(url, folder / file, sha256=preset.sha256.get(file), progress=report)
            write_json(folder / "tokenizer_config.json", preset.tokenizer_json())
    return folder


def is_fetched(name: str) -> bool:
    """Whether `fetch` would return at once. Looks at names and sizes; `verify` reads every byte."""
    return _is_current(load_preset(name), weights_folder(name))


def _is_current(preset: Preset, folder: Path) -> bool:
    try:
        files = read_json(folder / MANIFEST)["files"]
        return (
            set(preset.files) <= set(files)
            and all((folder / file).stat().st_size == entry["size"] for file, entry in files.items())
            and read_json(folder / "config.json") == preset.config_json()
            and read_json(folder / "tokenizer_config.json") == preset.tokenizer_json()
        )
    except (ArtifactError, OSError, KeyError, TypeError):  # something is missing or is not what `fetch` writes
        return False


def _lock_file(name: str) -> Path:
    return downloads_folder() / f"weights-{name.replace('/', '--')}.lock"


def verify(name: str) -> dict[str, Any]:
    """Read every byte of a downloaded checkpoint and compare it with the manifest and the published checksums.

    Returns:
        the manifest.

    Raises:
        UsageError: there is no checkpoint of that name.
        ArtifactError: it was not downloaded (`not-fetched`), or a file is missing, damaged or not its own.
    """
    preset = load_preset(name)
    folder = weights_folder(name)
    if not (folder / MANIFEST).is_file():
        raise ArtifactError(
            "not-fetched", "{name} is not downloaded", at=Location.of(folder), fix="zoo weights fetch {name}", name=name
        )
    manifest = verify_manifest(folder)
    for file, expected in preset.sha256.items():
        found = manifest["files"].get(file, {}).get("sha256")
        if found != expected:
            raise ArtifactError(
                "checksum",
                "the SHA-256 is {found}, but {expected} was published",
                at=Location.of(folder / file),
                fix="delete the file and run `zoo weights fetch {name}`",
                found=found,
                expected=expected,
                name=name,
            )
    return manifest


@dataclass(frozen=True)
class CacheEntry:
    """Something in the cache.

    Args:
        kind: `weights` (a model folder), `dataset` (what was published of a data set) or `download` (a file that is not
            finished).
        name: name of the checkpoint or data set, or of the file.
        path: where it is.
        size: bytes.
        complete: whether it can be used.
        used: when it was last fetched or written, in seconds since 1970.
    """

    kind: Literal["weights", "dataset", "download"]
    name: str
    path: Path
    size: int
    complete: bool
    used: float


def _stats(paths: Iterable[Path]) -> dict[Path, os.stat_result]:
    """Paths with what the system says of them, without those that another process has just renamed or removed."""
    found = {}
    for path in paths:
        with suppress(FileNotFoundError):
            found[path] = path.stat()
    return found


def _weights_entry(folder: Path) -> CacheEntry:
    files = _stats(path for path in folder.iterdir() if path.is_file())
    manifest = files.get(folder / MANIFEST)
    used = max((each.st_mtime for each in files.values()), default=0.0) if manifest is None else manifest.st_mtime
    name, size = folder.relative_to(weights_root()).as_posix(), sum(each.st_size for each in files.values())
    return CacheEntry("weights", name, folder, size, manifest is not None, used)


def datasets_root() -> Path:
    """The folder of all that was downloaded of data sets (`zoo_cli.data.datasets`)."""
    return cache_root() / "datasets"


def datasets_lock(name: str) -> Path:
    """The lock of those who work on what was downloaded of a data set."""
    return downloads_folder() / f"datasets-{name}.lock"


def _dataset_entry(folder: Path) -> CacheEntry:
    files = _stats(folder.iterdir()).values()
    used = max((each.st_mtime for each in files), default=0.0)
    return CacheEntry("dataset", folder.name, folder, sum(each.st_size for each in files), bool(files), used)


def cache_list() -> list[CacheEntry]:
    """What takes up space in the cache: checkpoints by name, data sets by name, then unfinished downloads."""
    folders = sorted(Path(folder) for folder, _, files in os.walk(weights_root()) if files)
    parts = _stats(sorted(downloads_folder().glob("*.part")))
    return [
        *(_weights_entry(folder) for folder in folders),
        *(_dataset_entry(folder) for folder in sorted(datasets_root().glob("*"))),
        *(CacheEntry("download", path.name, path, each.st_size, False, each.st_mtime) for path, each in parts.items()),
    ]


def cache_prune(
    names: Iterable[str] = (), *, unused_days: float | None = None, dry_run: bool = False
) -> list[CacheEntry]:
    """Remove checkpoints and data sets from the cache; what was unpacked of a data set stays.

    Args:
        names: what to remove. Without any, whatever is not complete is removed.
        unused_days: without names, remove also what was not fetched for so many days.
        dry_run: only say what would be removed.

    Returns:
        what was removed; what another process is downloading stays.

    Raises:
        UsageError: a name is not in the cache (`not-in-cache`); nothing is removed then.
    """
    entries = cache_list()
    wanted = set(names)
    if wanted:
        known = {entry.name for entry in entries}
        raise_all([_not_in_cache(name, known) for name in sorted(wanted - known)])
        chosen = [entry for entry in entries if entry.name in wanted]
    else:
        oldest = time.time() - unused_days * 86400 if unused_days is not None else 0.0
        chosen = [entry for entry in entries if not entry.complete or entry.used < oldest]
    return chosen if dry_run else [entry for entry in chosen if _remove(entry)]


def _not_in_cache(name: str, known: Iterable[str]) -> UsageError:
    near = closest(name, known)
    return UsageError(
        "not-in-cache",
        "{name!r} is not in the cache",
        fix="did you mean {near}?" if near else "`zoo cache list` shows what is there",
        name=name,
        near=near,
    )


def _remove(entry: CacheEntry) -> bool:
    try:
        if entry.kind == "download":
            discard_unfinished(entry.path)
        elif entry.kind == "dataset":
            with exclusive(datasets_lock(entry.name), wait=False):
                shutil.rmtree(entry.path)
        else:
            with exclusive(_lock_file(entry.name), wait=False):
                (entry.path / MANIFEST).unlink(missing_ok=True)  # first, so that a half-removed folder does not count
                shutil.rmtree(entry.path)
    except BlockingIOError:
        logger.warning("%s stays: another process is downloading it", entry.name)
        return False
    return True
