"""Public data sets by name, from a server and from files put into the cache by hand."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.base.file_server import FileServer, serving
from zoo_cli.base import download as downloads
from zoo_cli.base.errors import ArtifactError, DataError, UsageError
from zoo_cli.data import datasets
from zoo_cli.data.datasets import Dataset, dataset_names, fetch, load_dataset
from zoo_cli.data.lines import byte_lines
from zoo_cli.recipe.loading import load_recipe, recipe_names
from zoo_cli.recipe.presets import cache_list, cache_prune

TRAIN, DEV = b'{"sentence": "a"}\n' * 1000, b'{"sentence": "b"}\n'


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server that stands in for every published address."""
    with serving() as running:
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("ZOO_MIRROR", running.url(""))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("ZOO_OFFLINE", raising=False)
        monkeypatch.setattr(downloads, "FIRST_PAUSE", 0.0)
        yield running


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch, server: FileServer):
    """Publish a data set `toy` in one file."""

    def publish(name: str, content: bytes, files: dict[str, str], **values: str) -> None:
        server.files[f"/{name}"] = content
        each = {"url": f"https://example.org/{name}", "files": files, **values}
        toy = Dataset.model_validate({"description": "toy", "source": "https://example.org", "downloads": [each]})
        monkeypatch.setattr(datasets, "load_dataset", lambda _: toy)

    return publish


FILES = {"train.json": "train.json", "dev.json": "dev.json"}


@pytest.mark.parametrize(("name", "pack"), [("toy.zip", zipped), ("toy.tar.gz", tarred), ("toy.tgz", tarred)])
@pytest.mark.parametrize("folder", ["", "toy_public/"])
def test_named_files_are_unpacked(name, pack, folder, add, server, tmp_path):
    content = pack(
        {
            "__MACOSX/toy_public/train.json": b"junk",
            f"{folder}old/train.json": b"older",
            f"{folder}train.json": TRAIN,
            f"{folder}dev.json": DEV,
            "../../outside.json": b"never written",
        }
    )
    add(name, content, FILES, md5=hashlib.md5(content).hexdigest())
    found = fetch("toy", tmp_path / "data")
    assert found == [tmp_path / "data" / "train.json", tmp_path / "data" / "dev.json"]
    assert [path.read_bytes() for path in found] == [TRAIN, DEV]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["dev.json", "train.json"]
    assert not list(tmp_path.rglob("outside.json")) and not (tmp_path.parent / "outside.json").exists()
    # Nothing more is asked of the network: neither for files that are there nor for those of the cache.
    found[1].unlink()
    found[0].write_bytes(b"my own\n")
    server.files.clear()
    fetch("toy", tmp_path / "data")
    assert [path.read_bytes() for path in found] == [b"my own\n", DEV]
    assert len(server.requests) == 1


def test_the_cache_lists_and_prunes_what_was_downloaded(add, tmp_path):
    add("train.txt", TRAIN, {"train.txt": "train.txt"})
    kept = fetch("toy", tmp_path / "data")
    entry = next(entry for entry in cache_list() if entry.kind == "dataset")
    assert (entry.name, entry.size, entry.complete) == ("toy", len(TRAIN), True)
    assert cache_prune() == []
    assert [each.name for each in cache_prune(["toy"])] == ["toy"]
    assert not entry.path.exists() and kept[0].is_file()


def test_a_plain_file_gets_the_name_that_recipes_use(add, tmp_path):
    add("c3-d-train.json", TRAIN, {"train.json": "c3-d-train.json"})
    assert fetch("toy", tmp_path)[0].read_bytes() == TRAIN


def test_a_broken_connection_is_resumed(add, server, tmp_path):
    content = zipped({"train.json": TRAIN, "dev.json": DEV})
    server.drops = [100]
    add("toy.zip", content, FILES)
    fetch("toy", tmp_path / "data")
    assert server.asked_ranges == [None, "bytes=100-"]


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("toy.zip", b"this is no archive", "broken-archive"),
        ("toy.tar.gz", tarred({"train.json": TRAIN})[:-20], "broken-archive"),
        ("toy.tar.gz", b"this is no archive", "broken-archive"),
        ("toy.zip", zipped({"train.json": TRAIN}), "not-in-archive"),
        ("toy.zip", zipped({"retrain.json": TRAIN, "dev.json": DEV}), "not-in-archive"),
    ],
)
def test_wrong_archives(name, content, code, add, tmp_path):
    add(name, content, FILES)
    with pytest.raises(ArtifactError) as caught:
        fetch("toy", tmp_path / "data")
    assert caught.value.code == code and name in str(caught.value)
    assert not list(tmp_path.rglob(".partial*"))


def test_another_file_than_the_published_one_is_not_used(add, tmp_path):
    add("toy.zip", zipped({"train.json": TRAIN, "dev.json": DEV}), FILES, md5="0" * 32)
    with pytest.raises(ArtifactError) as caught:
        fetch("toy", tmp_path / "data")
    assert caught.value.code == "checksum"
    assert not (tmp_path / "data").exists()


def test_offline_says_which_file_to_put_where_and_takes_it_then(add, tmp_path, monkeypatch):
    content = zipped({"train.json": TRAIN, "dev.json": DEV})
    add("toy.zip", content, FILES)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    place = tmp_path / "home" / "datasets" / "toy" / "toy.zip"
    with pytest.raises(ArtifactError) as caught:
        fetch("toy", tmp_path / "data")
    assert caught.value.code == "offline"
    assert f"get https://example.org/toy.zip by other means and save it as {place}" in str(caught.value)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    assert fetch("toy", tmp_path / "data")[0].read_bytes() == TRAIN


def test_mrpc_is_divided_as_glue_does(server, tmp_path, monkeypatch):
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
    rows = [f'{number % 2}\t{number}\t{number + 10}\tone "{number}\ttwo\r\n' for number in range(4)]
    files = {"msr_paraphrase_train.txt": header + "".join(rows), "dev_ids.tsv": "1\t11\n3\t99\n"}
    files["msr_paraphrase_test.txt"] = header
    server.files.update({f"/dataset/glue/mrpc/{name}": text.encode() for name, text in files.items()})
    real = load_dataset("mrpc")
    bare = real.model_copy(update={"downloads": [each.model_copy(update={"md5": None}) for each in real.downloads]})
    monkeypatch.setattr(datasets, "load_dataset", lambda _: bare)
    folder = tmp_path / "mrpc"
    fetch("mrpc", folder)
    dev, train = (
        (tmp_path / "mrpc" / name).read_text(encoding="utf-8").splitlines() for name in ("dev.tsv", "train.tsv")
    )
    assert dev == ["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", '1\t1\t11\tone "1\ttwo']
    assert [row.split("\t")[1] for row in train[1:]] == ["0", "2", "3"]


def test_xnli_gets_a_file_for_each_language(tmp_path):
    for part in ("dev", "test"):
        text = "language\tgold_label\tpairID\tsentence1\tsentence2\nen\tneutral\t1\tA\tB\nzh\tneutral\t1\t甲\t乙\n"
        (tmp_path / f"xnli.{part}.tsv").write_text(text, encoding="utf-8")
    made = datasets.divide_xnli(tmp_path)
    assert len(made) == 30
    assert (tmp_path / "dev.zh.tsv").read_text(encoding="utf-8") == "premise\thypo\tlabel\n甲\t乙\tneutral\n"
    assert (tmp_path / "test.de.tsv").read_text(encoding="utf-8") == "premise\thypo\tlabel\n"


def test_a_missing_file_of_a_known_set_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="zoo data fetch tnews"):
        next(byte_lines(Path("data/tnews/train.json")))
    with pytest.raises(DataError) as caught:
        next(byte_lines(Path("data/mine/train.json")))
    assert caught.value.fix is None


def test_shipped_configurations():
    for name in dataset_names():
        dataset = load_dataset(name)
        assert dataset.description
        assert len(set(dataset.published)) == len(dataset.published)
    with pytest.raises(UsageError, match="tnews"):
        load_dataset("tnew")


MADE = {"mrpc": {"train.tsv", "dev.tsv"}}
MADE["xnli"] = {f"{part}.{code}.tsv" for part in ("dev", "test") for code in datasets.XNLI_LANGUAGES}


@pytest.mark.parametrize("name", sorted(name for name in recipe_names() if not name.startswith("unimo-text/")))
def test_recipes_name_files_that_fetch_writes(name):
    section = load_recipe(name).recipe.data
    for path in map(Path, [*section.train, *section.dev, *section.test, *section.options.get("answers", [])]):
        if len(path.parts) == 3 and path.parts[1] in dataset_names():
            known = set(load_dataset(path.parts[1]).published) | MADE.get(path.parts[1], set())
            assert path.name in known
