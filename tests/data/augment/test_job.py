"""Files of copies: the same whatever the number of processes and interruptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import locate
from zoo_cli.data.augment import job
from zoo_cli.data.augment.copies import CopyOptions
from zoo_cli.data.augment.job import Sources, augment_file
from zoo_cli.data.readers import read

VECTORS = locate("sample:vectors/words.txt")
TRAIN = locate("sample:sst2/train.tsv")
OPTIONS = {"columns": {"text": "sentence"}}


def augment(output: Path, **changes: Any) -> dict[str, Any]:
    own = {"sources": Sources(None, "", VECTORS), "options": CopyOptions(copies=4), **changes}
    return augment_file(TRAIN, output, "tsv", OPTIONS, own.pop("sources"), own.pop("options"), **own)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("augment")
    augment(folder / "train.tsv")
    assert [path.name for path in folder.iterdir()] == ["train.tsv"]
    return folder / "train.tsv"


def test_rows_come_before_their_copies_with_the_same_label(finished: Path) -> None:
    rows: list[Any] = list(read(TRAIN, "tsv", OPTIONS))
    found: list[Any] = list(read(finished, "tsv", OPTIONS))
    texts = {row.text for row in rows}
    groups: list[list[Any]] = []
    for row in found:
        if row.text in texts and (len(groups) < len(rows) and row.text == rows[len(groups)].text):
            groups.append([])
        groups[-1].append(row)
    assert [group[0].text for group in groups] == [row.text for row in rows]
    for row, group in zip(rows, groups, strict=True):
        assert {each.label for each in group} == {row.label} and len(group) <= 5
        assert len({each.text for each in group}) == len(group)
    assert len(found) > 2 * len(rows)


def test_the_report_counts(tmp_path: Path) -> None:
    report = augment(tmp_path / "a.tsv")
    lines = (tmp_path / "a.tsv").read_text().splitlines()
    assert report["rows"] + report["copies"] + 1 == len(lines)
    assert (report["rows"], report["format"]) == (150, "tsv")


def test_several_processes_write_the_same(finished: Path, tmp_path: Path) -> None:
    augment(tmp_path / "a.tsv", processes=2)
    assert (tmp_path / "a.tsv").read_bytes() == finished.read_bytes()


def test_an_interrupted_file_is_finished(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    own = job._Copier.piece

    def piece(self: Any, first: int, rows: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(first)
        return own(self, first, rows)

    target = tmp_path / "a.tsv"
    with monkeypatch.context() as patch:
        patch.setattr(job._Copier, "piece", piece)
        with pytest.raises(KeyboardInterrupt):
            augment(target)
    assert not target.exists()
    for changes, code in (({}, "build-unfinished"), ({"options": CopyOptions(), "resume": True}, "build-changed")):
        with pytest.raises(UsageError) as caught:
            augment(target, **changes)
        assert caught.value.code == code
    made.clear()
    monkeypatch.setattr(job._Copier, "piece", lambda self, first, rows: made.append(first) or own(self, first, rows))
    augment(target, resume=True)
    assert made == [128]
    assert target.read_bytes() == finished.read_bytes()
    with pytest.raises(UsageError) as caught:
        augment(target)
    assert caught.value.code == "output-exists"
    augment(target, force=True)


def test_another_seed_writes_something_else(finished: Path, tmp_path: Path) -> None:
    augment(tmp_path / "a.tsv", options=CopyOptions(copies=4, seed=1))
    assert (tmp_path / "a.tsv").read_bytes() != finished.read_bytes()


def test_words_must_come_from_somewhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        augment(tmp_path / "a.tsv", sources=Sources(None, "", None))
    assert caught.value.code == "no-words"
    assert not list(tmp_path.iterdir())
