import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError, ErrorGroup, UsageError
from zoo_cli.data.checks import check_files
from zoo_cli.data.conversion import ConversionOptions, convert
from zoo_cli.data.convert import convert_file, preview
from zoo_cli.data.readers import read
from zoo_cli.data.repair import anchor, fix_file, fold_width
from zoo_cli.data.report import KINDS


@pytest.fixture
def file(tmp_path):
    def write(content, name="data"):
        path = tmp_path / name
        if isinstance(content, list):
            content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def codes(report, part=None):
    return {f.code: f.count for f in report.findings if part in (None, f.part)}


def spans(text, *places):
    return {"text": text, "label": [list(place) for place in places]}


def prompt(content, question, *places):
    answers = [{"start": start, "end": end, "text": text} for start, end, text in places]
    return {"content": content, "prompt": question, "result_list": answers}


# -- anchors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "start", "stated", "found", "cause"),
    [
        ("甲\n乙\n王芳", 6, "王芳", (4, 6), "crlf"),
        ("甲\r\n乙\r\n王芳", 4, "王芳", (6, 8), "crlf"),
        ("甲王芳\n\n王芳", 6, "王芳", (5, 7), "moved"),
        ("😀😀王芳", 4, "王芳", (2, 4), "utf16"),
        ("  王芳", 0, "王芳", (2, 4), "whitespace"),
        ("买iPhone１２了", 1, "iPhone12", (1, 9), "width"),
        ("王\u3000芳", 0, "王 芳", (0, 3), "width"),
        ("约翰 史密斯", 0, "约翰史密斯", (0, 6), "whitespace"),
        ("约翰史密斯", 0, "约翰 史密斯", (0, 5), "whitespace"),
        ("约翰\r\n史密斯", 0, "约翰\n史密斯", (0, 7), "crlf"),
        ("王芳和王芳", 2, "王芳", (3, 5), "moved"),
        ("王芳 王芳", 99, "王芳", (3, 5), "moved"),
        ("李四", 0, "王芳", None, None),
        ("a王芳丙a", 2, "a", None, None),
        ("李四", 0, " ", None, None),
    ],
)
def test_stated_texts_are_found(text, start, stated, found, cause):
    place = anchor(text, start, stated)
    assert (place and (place.start, place.end)) == found
    assert (place and place.cause) == cause


@given(st.text(), st.text(st.characters(exclude_categories=["Cs"])))
def test_folding_keeps_offsets(left, right):
    assert len(fold_width(left)) == len(left)
    assert fold_width(left) + fold_width(right) == fold_width(left + right)


TEXT = st.text(st.sampled_from("王芳\n😀 甲乙"), min_size=2, max_size=20)


@given(TEXT, st.data(), st.sampled_from(["crlf", "utf16", "exact"]))
def test_drifted_offsets_come_back(text, data, drift):
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    stated = text[start:end]
    shift = {"crlf": text[:start].count("\n"), "utf16": text[:start].count("😀"), "exact": 0}[drift]
    place = anchor(text, start + shift, stated)
    if place is not None:
        assert fold_width("".join(text[place.start : place.end].split())) == "".join(stated.split())
    if stated.strip() and text.count(stated) == 1:
        assert place is not None and (place.start, place.end) == (start, end)


# -- fixing ------------------------------------------------------------------------------------------------------------


def test_prompt_files_are_corrected(file, tmp_path):
    good = prompt("王芳来了", "人物", (0, 2, "王芳"))
    path = file(
        b"\xef\xbb\xbf"
        + "\r\n".join(
            json.dumps(row)  # ASCII escapes: an unchanged row stays as it was written
            for row in [
                good,
                prompt("甲\n王芳", "人物", (3, 5, "王芳")),
                prompt("很好", "情感[正向,负向]", (-6, -4, "正向")),
                prompt("很好", "人物", (0, 2, "王芳")),
            ]
        ).encode()
    )
    result = fix_file(path, "prompt", tmp_path / "fixed")
    assert (result.spans, dict(result.fixed)) == (4, {"crlf": 1, "moved": 1})
    ((at, description),) = result.unfixed
    assert at.line == 4 and "王芳" in description
    lines = (tmp_path / "fixed").read_bytes().decode().split("\n")
    assert lines[0] == json.dumps(good) and len(lines) == 5 and not any("\r" in line for line in lines)
    examples = list(read(tmp_path / "fixed", "prompt", strict=False))
    assert [(span.start, span.end) for example in examples for span in example.spans] == [
        (0, 2),
        (2, 4),
        (-7, -5),
        (0, 2),
    ]
    assert json.loads(json.dumps(result.as_dict()))["unfixed"][0]["at"].endswith(":4")


def test_cluener_and_label_studio_files_are_corrected(file, tmp_path):
    row = {"id": 1, "text": "　招行１和招行", "label": {"c": {"招行1": [[0, 2]], "招行": [[5, 6]]}, "n": {}}}
    result = fix_file(file([row]), "cluener", tmp_path / "fixed")
    assert dict(result.fixed) == {"width": 1} and not result.unfixed
    fixed = json.loads((tmp_path / "fixed").read_text())
    assert fixed == {**row, "label": {"c": {"招行１": [[1, 3]], "招行": [[5, 6]]}, "n": {}}}

    region = {"id": "a", "type": "labels", "value": {"start": 2, "end": 4, "text": "王芳", "labels": ["人", "名"]}}
    item = {"id": 3, "data": {"text": "😀王芳"}, "annotations": [{"result": [region]}], "meta": {"by": "x"}}
    result = fix_file(file(json.dumps([item])), "label_studio", tmp_path / "fixed")
    assert dict(result.fixed) == {"utf16": 2}
    (fixed,) = json.loads((tmp_path / "fixed").read_text())
    assert fixed["annotations"][0]["result"][0]["value"] == {**region["value"], "start": 1, "end": 3}
    assert fixed["meta"] == {"by": "x"}
    list(read(tmp_path / "fixed", "label_studio"))


def test_other_files_lose_their_line_ends_only(file, tmp_path):
    fix_file(file(b'\xef\xbb\xbftext,label\r\n"a\r\nb",c\r\n'), "csv", tmp_path / "fixed")
    assert (tmp_path / "fixed").read_bytes() == b'text,label\n"a\nb",c\n'


@pytest.mark.parametrize(("content", "format"), [("", "prompt"), ("", "bio"), ("{}\n", "prompt"), ("王\n", "bio")])
def test_broken_files_get_no_copy(file, tmp_path, content, format):
    with pytest.raises(DataError):
        fix_file(file(content), format, tmp_path / "fixed")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXT, st.integers(-3, 25), st.integers(0, 25), st.text("王芳甲 ", max_size=3)), min_size=1))
def test_fixing_loses_nothing_and_what_it_fixes_is_right(file, tmp_path, rows):
    path = file(
        [prompt(text, "人", (start, end, stated)) for text, start, end, stated in rows if start >= 0]
        or [prompt("a", "b")]
    )
    before = list(read(path, "prompt", strict=False))
    result = fix_file(path, "prompt", tmp_path / "fixed")
    after = list(read(tmp_path / "fixed", "prompt", strict=False))
    assert [(e.content, e.prompt, len(e.spans)) for e in after] == [(e.content, e.prompt, len(e.spans)) for e in before]
    wrong = sum(e.content[max(s.start, 0) : s.end] != s.text or not s.start < s.end for e in after for s in e.spans)
    assert wrong <= len(result.unfixed)
    again = fix_file(tmp_path / "fixed", "prompt", tmp_path / "again")
    assert not again.fixed and len(again.unfixed) == len(result.unfixed)


def test_formats_that_cannot_be_fixed_are_refused(file, tmp_path):
    with pytest.raises(UsageError):
        fix_file(file(""), "nothing", tmp_path / "fixed")


# -- checks ------------------------------------------------------------------------------------------------------------


def test_offsets_are_explained(file):
    path = file(
        [
            prompt("甲\n王芳", "人", (3, 5, "王芳")),
            prompt("买１２个", "数", (1, 3, "12")),
            prompt("王李芳", "人", (0, 2, "王芳")),
            prompt("约翰史密斯", "人", (0, 6, "约翰 史密斯")),
            prompt("😀王芳", "人", (2, 4, "王芳")),
            prompt("甲乙王芳", "人", (0, 2, "王芳")),
            prompt("甲", "人", (0, 9, "王芳")),
            prompt("甲 ", "人", (0, 2, "甲 ")),
            prompt("好", "情感[正,负]", (-6, -5, "正")),
        ]
    )
    report = check_files({"train": path}, "prompt")
    found = codes(report)
    assert {code: found.get(code) for code in found if code.startswith(("offset", "span"))} == {
        "offset-crlf": 1,
        "offset-width": 1,
        "offset-lost": 1,
        "offset-whitespace": 1,
        "offset-utf16": 1,
        "offset-moved": 2,
        "offset-outside": 1,
        "span-blank": 1,
    }
    assert all(finding.at and finding.at[0].line for finding in report.errors)


def test_overlaps_are_told_apart(file):
    path = file(
        [
            spans("北京大学人民医院", (0, 8, "机构"), (0, 2, "地点"), (4, 8, "机构")),
            spans("甲乙丙丁", (0, 3, "A"), (2, 4, "B")),
            spans("甲乙丙丁", (0, 2, "A"), (2, 4, "A")),
        ]
    )
    found = codes(check_files({"train": path}, "doccano"))
    assert (found["nested-spans"], found["same-label-overlap"], found["overlapping-spans"]) == (1, 1, 1)


def test_repeats_leaks_and_labels(file):
    train = file("".join(f"句{number}\tA\n" for number in range(60)) + "句1\tA\n句2\tB\n句x\tＢ\n", "train")
    dev = file("句3\tA\n句y\tC\n", "dev")
    report = check_files({"train": train, "dev": dev}, "tsv", {"columns": {"text": 0, "label": 1}})
    assert codes(report, "train") == {
        "duplicate": 1,
        "conflicting-duplicate": 1,
        "rare-label": 2,
        "label-imbalance": 1,
        "label-drift": 2,
    }
    assert codes(report, "dev") == {"leakage": 1, "unseen-label": 1}
    (leak,) = [finding for finding in report.findings if finding.code == "leakage"]
    assert leak.at[0].line == 1 and "train" in leak.message
    assert not report.errors


def test_texts_and_line_ends(file):
    path = file('{"text": "", "label": "a"}\r\n{"text": "a\\rb", "label": "a"}\r\n{"text": "Ａ", "label": null}\n')
    found = codes(check_files({"train": path}, "jsonl"))
    assert found["empty-text"] == found["carriage-return"] == found["full-width"] == found["unlabelled"] == 1
    assert found["mixed-line-ends"] == 2
    assert codes(check_files({"train": file("a\tO\r\n")}, "bio"))["crlf-lines"] == 1
    assert codes(check_files({"train": file("a\tI-X\nb\tI-X\nc\tI-Y\n")}, "bio"))["irregular-tags"] == 2


def test_prompts_are_counted_as_the_conversion_makes_them(file):
    labels = ["人物", "地点", "机构"]
    rows = [spans(f"甲{number}", (0, 1, labels[number % 3])) for number in range(9)]
    path, options = file(rows), ConversionOptions(negative_ratio=1)
    report = check_files({"train": path}, "doccano", conversion=options)
    prompts = report.parts[0].prompts
    made = list(convert(list(read(path, "doccano")), options))
    for label in labels:
        positives = sum(bool(e.spans) for e in made if e.prompt == label)
        assert prompts[label] == [positives, sum(e.prompt == label for e in made) - positives]
    assert sum(map(sum, prompts.values())) == len(made) == 18


def test_relations_and_options_are_counted_together(file):
    rows = [
        prompt("甲", "王芳的出生地", (0, 1, "甲")),
        prompt("乙", "李四的出生地"),
        prompt("甲", "目的"),
        prompt("甲", "情感[正,负]", (-4, -3, "正")),
        prompt("乙", "情感[负,正]", (-2, -1, "正")),
        prompt("乙", "人物", (0, 1, "乙")),
    ]
    report = check_files({"train": file(rows)}, "prompt")
    assert report.parts[0].prompts == {"…的出生地": [1, 1], "目的": [0, 1], "情感[正,负]": [2, 0], "人物": [1, 0]}
    (finding,) = [finding for finding in report.findings if finding.code == "no-negatives"]
    assert finding.values["names"] == "人物"


class _ByCharacter:
    """A tokenizer of one token a character, two for digits."""

    def encode_batch(self, texts, pairs=None, max_length=None, add_special_tokens=True):
        class Encoding:
            pass

        rows = []
        for index, text in enumerate(texts):
            tokens = [(0, 0, -1)]
            for number, part in enumerate([text] if pairs is None else [text, pairs[index]]):
                for place, character in enumerate(part):
                    tokens += [(place, place + 1, number)] * (2 if character.isdigit() else 1)
                tokens.append((0, 0, -1))
            if max_length is not None:
                tokens = [*tokens[: max_length - 1], tokens[-1]]
            encoding = Encoding()
            table = np.asarray(tokens)
            encoding.ids, encoding.offsets, encoding.sequence_ids = table[:, 0], table[:, :2], table[:, 2]
            rows.append(encoding)
        return rows


@pytest.mark.parametrize(("tokenizer", "unit", "longest"), [(None, "characters", 15), (_ByCharacter(), "tokens", 21)])
def test_lengths_and_cut_answers(file, tokenizer, unit, longest):
    path = file([prompt("甲乙丙丁123456", "人物", (2, 3, "丙"), (7, 10, "456")), prompt("甲", "人物")])
    report = check_files({"train": path}, "prompt", max_length=14, tokenizer=tokenizer)
    found = {finding.code: finding for finding in report.findings}
    assert (found["too-long"].count, found["answer-cut"].count) == (1, 1)
    assert unit in found["too-long"].message and "of 2 rows" in found["too-long"].message
    assert (report.parts[0].unit, report.parts[0].lengths["max"]) == (unit, longest)
    report = check_files({"train": path}, "prompt", max_length=longest, tokenizer=tokenizer)
    assert not {"too-long", "answer-cut"} & codes(report).keys()


def test_all_broken_files_are_reported(file):
    with pytest.raises(ErrorGroup) as caught:
        check_files({"train": file("", "a"), "dev": file("王\n", "b")}, "bio")
    assert [error.code for error in caught.value.errors] == ["empty-data", "missing-column"]
    assert caught.value.exit_code == 3


def test_reports_print_and_serialize(file):
    rows = [spans("王芳王芳", (0, 2, "人物"), (1, 9, "地点")), spans("好")]
    report = check_files({"train": file(rows)}, "doccano", conversion=ConversionOptions(), max_length=3)
    value = json.loads(json.dumps(report.as_dict()))
    assert value["parts"][0]["rows"] == 2
    assert value["findings"][0]["level"] == "error"
    for table in report.tables():
        assert all(len(row) == len(table.columns) for row in table.rows)
    assert {table.title for table in report.tables()} >= {"Parts", "Labels", "Findings"}


def test_every_finding_has_a_message_that_formats():
    names = {"other", "names", "limit", "most", "least", "factor", "total", "unit", "example"}
    for level, template in KINDS.values():
        assert level in ("error", "warning", "note")
        template.format(count=1, **dict.fromkeys(names, 1.0))


# -- conversion of files -----------------------------------------------------------------------------------------------


def _texts(count):
    return [spans(f"王芳{number}", (0, 2, "人物" if number % 2 else "作者")) for number in range(count)]


def test_files_are_divided_before_they_are_converted(file, tmp_path):
    path = file(_texts(20))
    parts = {"train": 0.8, "dev": 0.1, "test": 0.1}
    written = convert_file(path, "doccano", tmp_path / "out", splits=parts)
    assert written == {"train.txt": 32, "dev.txt": 4, "test.txt": 4}
    index = json.loads((tmp_path / "out" / "sample_index.json").read_text())
    assert list(index) == ["train_ids", "dev_ids", "test_ids"]
    assert sorted(row for rows in index.values() for row in rows) == list(range(20))
    for name in parts:
        contents = {example.content for example in read(tmp_path / "out" / f"{name}.txt", "prompt")}
        assert contents == {f"王芳{row}" for row in index[f"{name}_ids"]}
    again = convert_file(path, "doccano", tmp_path / "again", splits=parts)
    assert again == written
    for name in written:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    ordered = convert_file(path, "doccano", tmp_path / "ordered", splits={"train": 15, "dev": None}, shuffle=False)
    assert ordered == {"train.txt": 30, "dev.txt": 10}
    assert json.loads((tmp_path / "ordered" / "sample_index.json").read_text())["dev_ids"] == [15, 16, 17, 18, 19]


def test_label_studio_becomes_doccano(file, tmp_path):
    region = {"id": "x", "type": "labels", "value": {"start": 0, "end": 2, "labels": ["人"]}}
    relation = {"type": "relation", "from_id": "x", "to_id": "x", "labels": ["同"]}
    path = file(json.dumps([{"data": {"text": "王芳"}, "annotations": [{"result": [region, relation]}]}]))
    assert convert_file(path, "label_studio", tmp_path / "doccano.jsonl", to="doccano") == {"doccano.jsonl": 1}
    (example,) = read(tmp_path / "doccano.jsonl", "doccano")
    assert (example.entities[0].label, example.relations[0].label) == ("人", "同")


def test_rows_become_classification_prompts(file, tmp_path):
    path = file("好\t正向\n坏\t负向\n")
    options = {"columns": {"text": 0, "label": 1}}
    conversion = ConversionOptions(task_type="cls")
    convert_file(path, "tsv", tmp_path / "out.txt", conversion=conversion, options=options, shuffle=False)
    examples = list(read(tmp_path / "out.txt", "prompt"))
    assert [(e.content, [s.text for s in e.spans]) for e in examples] == [("好", ["正向"]), ("坏", ["负向"])]
    with pytest.raises(UsageError):
        convert_file(tmp_path / "out.txt", "prompt", tmp_path / "x", conversion=conversion)


def test_preview_shows_examples_and_prompts(file):
    path = file(_texts(5))
    first, second = preview(path, "doccano", count=2, conversion=ConversionOptions())
    assert first["at"].endswith(":1") and first["example"]["text"] == "王芳0"
    assert {row["prompt"]: len(row["result_list"]) for row in second["prompts"]} == {"人物": 1, "作者": 0}
    assert len(preview(path, "doccano", count=9)) == 5
    json.dumps(first)


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA names no folder of public data")
def test_public_data_are_checked_and_converted(tmp_path):
    folder = Path(os.environ["ZOO_DATA"])
    files = {"train": folder / "cluener" / "train.json", "dev": folder / "cluener" / "dev.json"}
    report = check_files(files, "cluener", conversion=ConversionOptions(), max_length=128)
    assert not report.errors
    written = convert_file(files["dev"], "cluener", tmp_path / "dev.txt", training=False)
    assert written == {"dev.txt": 1070 * 10} == {"dev.txt": sum(map(sum, report.parts[1].prompts.values()))}
