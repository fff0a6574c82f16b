import subprocess
import sys
from pathlib import Path

import pytest

from zoo_cli.data.checks import check_files
from zoo_cli.data.conversion import ConversionOptions

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "zoo_cli" / "data" / "samples"
SETS = [
    ("bio", {}, {"train": "msra/train.txt", "dev": "msra/dev.txt"}, (120, 40), {"PER", "LOC", "ORG"}),
    ("cluener", {}, {"train": "cluener/train.json", "dev": "cluener/dev.json"}, (120, 40), 10),
    ("doccano", {}, {"train": "doccano/train.jsonl"}, (60,), {"人物", "组织机构", "地点", "时间", "任职于", "出生地"}),
    (
        "jsonl",
        {"columns": {"text": "sentence", "label": "label_desc"}},
        {"train": "tnews/train.json", "dev": "tnews/dev.json"},
        (150, 50),
        5,
    ),
    (
        "tsv",
        {"columns": {"text": "sentence", "label": "label"}},
        {"train": "sst2/train.tsv", "dev": "sst2/dev.tsv"},
        (150, 50),
        {"0", "1"},
    ),
    (
        "jsonl",
        {"columns": {"text": "sentence", "label": "label_des"}},
        {"train": "iflytek/train.json", "dev": "iflytek/dev.json"},
        (120, 40),
        4,
    ),
    ("jsonl", {}, {"train": "imdb/train.json", "dev": "imdb/dev.json"}, (90, 30), {"0", "1"}),
    ("squad", {}, {"train": "cmrc2018/train.json", "dev": "cmrc2018/dev.json"}, (120, 40), set()),
]
PAIR = {"columns": {"text": "sentence1", "text_pair": "sentence2"}}
XNLI = {"columns": {"text": "premise", "text_pair": "hypo"}}
NLI = {"entailment", "contradiction", "neutral"}


def parts(name, end):
    return {part: f"{name}/{part}.{end}" for part in ("train", "dev")}


TASK_SETS = [
    ("jsonl", PAIR, parts("afqmc", "json"), (134, 46), {"0", "1"}),
    ("jsonl", {**PAIR, "skip_labels": ["-"]}, parts("ocnli", "json"), (126, 42), NLI),
    ("jsonl", {"columns": {"text": "keyword", "text_pair": "abst"}}, parts("csl", "json"), (72, 24), {"0", "1"}),
    ("cluewsc", {}, parts("cluewsc2020", "json"), (90, 30), {"true", "false"}),
    ("tsv", PAIR, parts("rte", "tsv"), (134, 46), {"entailment", "not_entailment"}),
    (
        "tsv",
        {"columns": {**PAIR["columns"], "label": "score"}, "label_type": "score"},
        parts("stsb", "tsv"),
        (135, 45),
        set(),
    ),
    ("tsv", XNLI, parts("xnli", "en.tsv"), (90, 30), NLI),
    ("tsv", XNLI, parts("xnli", "zh.tsv"), (90, 30), NLI),
    ("jsonl", {"columns": {"text": "query"}}, parts("kuake_qic", "json"), (120, 40), 4),
    ("utc", {}, parts("utc", "txt"), (120, 40), {"体育", "财经", "教育", "科技"}),
    ("squad", {}, parts("squad", "json"), (180, 60), set()),
    ("c3", {}, parts("c3", "json"), (132, 45), 4),
    ("chid", {}, parts("chid", "json"), (120, 40), 6),
    ("cail_scm", {}, parts("cail_scm", "json"), (90, 30), 2),
    ("cmeee", {}, parts("cmeee", "json"), (90, 30), {"bod", "dis", "dru", "sym"}),
    ("spo", {}, parts("cmeie", "json"), (90, 30), 7),
    ("nlu", {}, parts("smp2019", "json"), (120, 40), 11),
    ("doccano", {}, parts("opinions", "json"), (120, 40), {"评价维度##正向", "评价维度##负向", "观点词"}),
]
TOOLS = {"make_sample_data.py": SETS, "make_task_samples.py": TASK_SETS}


def names_of(sets):
    return sorted(name for *_, files, _, _ in sets for name in files.values())


NAMES = names_of(SETS + TASK_SETS)


@pytest.mark.parametrize(("format", "options", "files", "rows", "labels"), SETS + TASK_SETS)
def test_samples_pass_the_checks(format, options, files, rows, labels):
    conversion = ConversionOptions() if format in ("bio", "cluener", "doccano") else None
    paths = {part: SAMPLES / name for part, name in files.items()}
    # Documents, which are read in segments, and English, whose words have several characters.
    long = files["train"].startswith(("iflytek", "imdb", "cmrc2018", "rte", "xnli"))
    report = check_files(paths, format, options, conversion=conversion, max_length=512 if long else 96)
    expected = {"unlabelled", "rare-label", "nested-spans" if format == "cmeee" else ""}
    # All reviews are asked for the same two things.
    expected |= {"no-negatives"} if files["train"].startswith("opinions") else set()
    assert {finding.code for finding in report.findings} <= expected
    assert tuple(part.rows for part in report.parts) == rows
    for part in report.parts:
        assert set(part.labels) == labels if isinstance(labels, set) else len(part.labels) == labels


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_small(name):
    assert (SAMPLES / name).stat().st_size < 60_000


@pytest.mark.parametrize("tool", TOOLS)
def test_samples_are_what_the_tools_make(tool, tmp_path):
    path = ROOT / "tools" / tool
    if not path.is_file():
        pytest.skip("the tools are not installed")
    subprocess.run([sys.executable, str(path), str(tmp_path)], check=True)
    names = names_of(TOOLS[tool])
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_chinese_samples_have_no_character_that_the_sample_vocabulary_lacks():
    vocabulary = set((SAMPLES / "vocab" / "wordpiece" / "vocab.txt").read_text(encoding="utf-8").splitlines())
    for name in NAMES:
        text = (SAMPLES / name).read_text(encoding="utf-8")
        assert {character for character in text if not character.isspace()} <= vocabulary
