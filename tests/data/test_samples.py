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
NAMES = sorted(name for *_, files, _, _ in SETS for name in files.values())


@pytest.mark.parametrize(("format", "options", "files", "rows", "labels"), SETS)
def test_samples_pass_the_checks(format, options, files, rows, labels):
    conversion = ConversionOptions() if format in ("bio", "cluener", "doccano") else None
    paths = {part: SAMPLES / name for part, name in files.items()}
    long = files["train"].startswith(("iflytek", "imdb", "cmrc2018"))  # documents, read in segments
    report = check_files(paths, format, options, conversion=conversion, max_length=512 if long else 96)
    assert {finding.code for finding in report.findings} <= {"unlabelled"}
    assert tuple(part.rows for part in report.parts) == rows
    for part in report.parts:
        assert set(part.labels) == labels if isinstance(labels, set) else len(part.labels) == labels


@pytest.mark.parametrize("name", NAMES)
def test_samples_are_small(name):
    assert (SAMPLES / name).stat().st_size < 60_000


def test_samples_are_what_the_tool_makes(tmp_path):
    tool = ROOT / "tools" / "make_sample_data.py"
    if not tool.is_file():
        pytest.skip("the tools are not installed")
    subprocess.run([sys.executable, str(tool), str(tmp_path)], check=True)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == NAMES
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()


def test_chinese_samples_have_no_character_that_the_sample_vocabulary_lacks():
    vocabulary = set((SAMPLES / "vocab" / "wordpiece" / "vocab.txt").read_text(encoding="utf-8").splitlines())
    for name in NAMES:
        text = (SAMPLES / name).read_text(encoding="utf-8")
        assert {character for character in text if not character.isspace()} <= vocabulary
