"""Recipes on the public data that they are for, or on copies of them in other formats; skipped without `ZOO_DATA`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zoo_cli.base.resources import locate
from zoo_cli.data.checks import check_files
from zoo_cli.recipe.loading import load_recipe

TABLE = ["data.format=tsv", "data.options.columns={text: 0, text_pair: 1, label: 2}"]
PUBLIC = [
    (
        "bert/sst2",
        "sst2_en",
        "train.tsv",
        "dev.tsv",
        ["data.options.columns={text: 1, label: 0}"],
        2,
    ),
    ("bert/stsb", "stsb_en", "train.tsv", "dev.tsv", [], 0),
    ("ernie-3.0/afqmc", "afqmc", "train.txt", "dev.txt", TABLE, 2),
    ("ernie-3.0/afqmc", "bq", "train.tsv", "dev.tsv", TABLE, 2),
    ("ernie-3.0/afqmc", "lcqmc", "train.txt", "dev.txt", TABLE, 2),
    ("ernie-3.0/afqmc", "oppo", "train.txt", "dev.txt", TABLE, 2),
    ("ernie-3.0/afqmc", "pawsx_zh", "train.tsv", "dev.tsv", ["data.format=tsv"], 2),
    ("ernie-3.0/c3", "c3", "c3-d-train.json", "c3-m-dev.json", [], 4),
    ("ernie-3.0/chid", "fewclue_chid", "train_few_all.json", "dev_few_all.json", ["data.options.answers=[]"], None),
    ("ernie-3.0/cluewsc2020", "fewclue_cluewsc", "train_few_all.json", "dev_few_all.json", [], 2),
    ("ernie-3.0/cmnli", "cmnli", "train.txt", "dev.txt", TABLE, 3),
    ("ernie-3.0/cmnli", "csnli", "train.txt", "dev.txt", TABLE, 3),
    ("ernie-3.0/cmrc2018", "cmrc2018", "train.json", "dev.json", [], 0),
    ("ernie-3.0/csl", "fewclue_csl", "train_few_all.json", "dev_few_all.json", [], 2),
    ("ernie-3.0/iflytek", "fewclue_iflytek", "train_few_all.json", "dev_few_all.json", [], 119),
    ("ernie-3.0/intent_slot", "smp2019_nlu", "train.json", "dev.json", [], None),
    ("ernie-3.0/msra_ner", "msra", "dev.txt", "dev.txt", [], 3),
    ("ernie-3.0/ocnli", "ocnli", "train.json", "dev.json", [], 3),
    ("ernie-3.0/tnews", "fewclue_tnews", "train_few_all.json", "dev_few_all.json", [], 15),
    ("ernie-doc/drcd", "drcd", "train.json", "dev.json", [], 0),
    ("ernie-doc/thucnews", "sudanews_cls", "train.txt", "dev.txt", [], None),
    ("ernie-health/chip_ctc", "cblue/CHIP-CTC", "train.jsonl", "dev.jsonl", [], 44),
    ("ernie-health/chip_sts", "cblue/CHIP-STS", "train.jsonl", "dev.jsonl", [], 2),
    ("ernie-health/cmeee", "cblue/CMeEE", "train.jsonl", "dev.jsonl", [], 9),
    ("ernie-health/cmeie", "cblue/CMeIE", "train.jsonl", "dev.jsonl", [], None),
    ("ernie-health/kuake_qic", "cblue/KUAKE-QIC", "train.jsonl", "dev.jsonl", [], 11),
    ("ernie-health/kuake_qqr", "cblue/KUAKE-QQR", "train.jsonl", "dev.jsonl", [], 3),
    ("ernie-m/xnli_transfer", "xnli_de", "train.tsv", "dev.tsv", TABLE, 3),
    ("uie/cluener", "cluener", "train.json", "dev.json", [], 10),
]


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA names no folder of public data")
@pytest.mark.parametrize(("name", "folder", "train", "dev", "overrides", "labels"), PUBLIC)
def test_public_data_are_read(
    name: str, folder: str, train: str, dev: str, overrides: list[str], labels: int | None
) -> None:
    root = Path(os.environ["ZOO_DATA"]) / folder
    if not root.is_dir():
        pytest.skip(f"{folder} is not there")
    files = [f"data.train={root / train}", f"data.dev={root / dev}"]
    section = load_recipe(name, [*files, *overrides]).recipe.data
    assert section.format is not None
    paths = {"train": locate(section.train[0]), "dev": locate(section.dev[0])}
    report = check_files(paths, section.format, section.options)
    # CMRC 2018 has wrong offsets, which the reader mends.
    assert {finding.code for finding in report.errors} <= ({"offset-outside"} if section.format == "squad" else set())
    assert all(part.rows for part in report.parts)
    if labels is not None:
        assert len(report.parts[0].labels) == labels
