"""Public data sets by name: `configs/datasets/*.yaml`, and the files that recipes read.

`fetch` downloads what was published into `ZOO_HOME/datasets/<name>` and writes the files that recipes name, by default
`data/<name>/...`. Of an archive only the files that the configuration names are unpacked, under names that it gives
them: nothing in an archive decides where something is written.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import IO, Annotated, Literal

from pydantic import ConfigDict, Field

from zoo_cli.base.download import download
from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import atomic_file
from zoo_cli.base.locks import exclusive
from zoo_cli.base.names import closest
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.presets import (
    FileName,
    FileProgress,
    Sha256,
    Url,
    datasets_lock,
    datasets_root,
    read_configuration,
)
from zoo_cli.recipe.schema import Section

Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]

ARCHIVES = (".zip", ".tar.gz", ".tgz")


class Download(Section):
    """A published file."""

    model_config = ConfigDict(frozen=True)

    url: Url
    """Where it is published."""
    sha256: Sha256 | None = None
    """Its checksum, where known."""
    md5: Md5 | None = None
    """Its MD5, where only that was published."""
    files: Annotated[dict[FileName, str], Field(min_length=1)]
    """Name to write -> name in the archive, with or without its folder; of a file that is no archive its own name."""

    @property
    def name(self) -> str:
        """Name of the published file."""
        return self.url.rsplit("/", 1)[-1]


class Dataset(Section):
    """A public data set."""

    model_config = ConfigDict(frozen=True)

    description: str
    """One line for `zoo data list`."""
    source: Url
    """Page of those who made it; their terms hold."""
    downloads: Annotated[list[Download], Field(min_length=1)]
    """What was published."""
    divide: Literal["mrpc", "xnli"] | None = None
    """How some of the files are divided into those that recipes name; see `DIVISIONS`."""

    @property
    def published(self) -> list[str]:
        """Names of the files as they are unpacked."""
        return [name for each in self.downloads for name in each.files]


@cache
def _files() -> dict[str, Path]:
    return {path.stem: path for path in sorted((resource_folder("configs") / "datasets").glob("*.yaml"))}


def dataset_names() -> list[str]:
    """Names of the data sets that can be fetched."""
    return list(_files())


@cache
def load_dataset(name: str) -> Dataset:
    """The data set of that name.

    Raises:
        UsageError: there is none (`unknown-dataset`), or its file is wrong (`bad-dataset`).
    """
    if name not in _files():
        near = closest(name, _files(), most=3)
        raise UsageError(
            "unknown-dataset",
            "there is no data set {name!r}",
            fix="did you mean {near}?" if near else "choose one of `zoo data list`",
            name=name,
            near=near,
        )
    return read_configuration(_files()[name], Dataset, "bad-dataset")


def fetch(name: str, folder: Path, progress: FileProgress | None = None) -> list[Path]:
    """Write the files of a data set into a folder, downloading what is not in the cache.

    Files that are there already stay as they are. Archives that the user put into the cache by hand are taken.

    Args:
        name: of the data set.
        folder: where its files go; made if need be.
        progress: called as bytes come in.

    Returns:
        the files.

    Raises:
        UsageError: there is no data set of that name.
        ArtifactError: a file cannot be had (see `download`), is not what was published (`checksum`), or an archive is
            broken (`broken-archive`) or lacks a file (`not-in-archive`).
    """
    dataset = load_dataset(name)
    cached = datasets_root() / name
    with exclusive(datasets_lock(name)):
        for each in dataset.downloads:
            if all((folder / file).is_file() for file in each.files):
                continue
            path = cached / each.name
            download(each.url, path, sha256=each.sha256, progress=partial(progress, each.name) if progress else None)
            _check_md5(path, each)
            for file, member in each.files.items():
                if not (folder / file).is_file():
                    with _opened(path, member) as source, atomic_file(folder / file) as part, part.open("wb") as target:
                        shutil.copyfileobj(source, target)
        divided = DIVISIONS[dataset.divide](folder) if dataset.divide else []
    return [folder / file for file in dataset.published] + divided


def _check_md5(path: Path, each: Download) -> None:
    if each.md5 is None:
        return
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, "md5").hexdigest()
    if found != each.md5:
        raise ArtifactError(
            "checksum",
            "the MD5 is {found}, but {expected} was published: the file is not used",
            at=Location.of(path),
            fix="delete it and start again; if that does not help, get {url} by other means and save it as {path}",
            found=found,
            expected=each.md5,
            url=each.url,
            path=path,
        )


@contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """A file of an archive, or the file itself if it is none."""
    if not path.name.endswith(ARCHIVES):
        with path.open("rb") as handle:
            yield handle
        return
    try:
        with ExitStack() as stack:
            if path.name.endswith(".zip"):
                zipped = stack.enter_context(zipfile.ZipFile(path))
                names = [info.filename for info in zipped.infolist() if not info.is_dir()]
                yield stack.enter_context(zipped.open(_member(names, member, path)))
            else:
                archive = stack.enter_context(tarfile.open(path))
                names = [info.name for info in archive.getmembers() if info.isfile()]
                unpacked = archive.extractfile(_member(names, member, path))
                assert unpacked is not None  # it is a regular file
                yield stack.enter_context(unpacked)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError) as error:
        raise ArtifactError(
            "broken-archive",
            "the archive cannot be read: {reason}",
            at=Location.of(path),
            fix="delete it and start again",
            reason=str(error) or type(error).__name__,
        ) from error


def _member(names: list[str], wanted: str, path: Path) -> str:
    """The name in the archive that ends in `wanted`, the one nearest to the top if there are several."""
    found = [name for name in names if f"/{name}".endswith(f"/{wanted}") and "__MACOSX" not in name]
    if not found:
        raise ArtifactError(
            "not-in-archive",
            "there is no {wanted} in the archive",
            at=Location.of(path),
            fix="the publisher may have changed it: unpack it yourself",
            wanted=wanted,
        )
    return min(found, key=lambda name: (name.count("/"), name))


# -- files that were published together --------------------------------------------------------------------------------

XNLI_LANGUAGES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


def _rows(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        yield from csv.reader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)


def _write_rows(path: Path, rows: list[list[str]]) -> Path:
    """Write rows, unless the file is there already."""
    if not path.is_file():
        with atomic_file(path) as partial_file:
            text = "".join("\t".join(row) + "\n" for row in rows)
            partial_file.write_text(text, encoding="utf-8", newline="\n")
    return path


def divide_mrpc(folder: Path) -> list[Path]:
    """GLUE's `train.tsv` and `dev.tsv`: Microsoft's training pairs, without and with a number in `dev_ids.tsv`."""
    chosen = {tuple(row) for row in _rows(folder / "dev_ids.tsv")}
    header, *rows = _rows(folder / "msr_paraphrase_train.txt")
    header[0] = header[0].removeprefix("\ufeff")
    return [
        _write_rows(folder / name, [header, *(row for row in rows if (tuple(row[1:3]) in chosen) == is_dev)])
        for name, is_dev in (("train.tsv", False), ("dev.tsv", True))
    ]


def divide_xnli(folder: Path) -> list[Path]:
    """`dev.LANGUAGE.tsv` and `test.LANGUAGE.tsv`, with the columns of the training files."""
    made = []
    for part in ("dev", "test"):
        header, *rows = _rows(folder / f"xnli.{part}.tsv")
        language, *columns = (header.index(name) for name in ("language", "sentence1", "sentence2", "gold_label"))
        for code in XNLI_LANGUAGES:
            own = [[row[column] for column in columns] for row in rows if row[language] == code]
            made.append(_write_rows(folder / f"{part}.{code}.tsv", [["premise", "hypo", "label"], *own]))
    return made


DIVISIONS: dict[str, Callable[[Path], list[Path]]] = {"mrpc": divide_mrpc, "xnli": divide_xnli}
"""What `Dataset.divide` names: it gets the folder with the published files and returns the files that it wrote."""
