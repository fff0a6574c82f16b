import contextlib
import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity, PromptExample, Relation, Span, TaggedTokens
from zoo_cli.data.formats import FORMATS
from zoo_cli.data.readers import read
from zoo_cli.data.splits import split_file
from zoo_cli.data.tagged import joiner, tag_spans, to_annotated


@pytest.fixture
def file(tmp_path):
    def write(content):
        path = tmp_path / "data.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def rows(*values):
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def failure(path, *arguments):
    with pytest.raises(DataError) as caught:
        list(read(path, *arguments))
    assert caught.value.at is not None and caught.value.at.file == str(path)
    return caught.value


# -- tagged tokens -----------------------------------------------------------------------------------------------------


def test_bio_sentences_and_their_lines(file):
    path = file("\n王\tB-PER\n芳\tI-PER\n \tO\n\n\n来\tO\n")
    first, second = read(path, "bio")
    assert (first.tokens, first.tags, first.source.line) == (["王", "芳", " "], ["B-PER", "I-PER", "O"], 2)
    assert (second.tokens, second.source.line) == (["来"], 7)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_line_ends_byte_order_marks_and_compression_make_no_difference(file, ending, mark, pack):
    content = mark + ending.join(["高 B-NAME", "勇 E-NAME", "", "男 O"]).encode()
    examples = list(read(file(pack(content)), "bmes"))
    assert [example.tokens for example in examples] == [["高", "勇"], ["男"]]
    assert examples[0].tags == ["B-NAME", "E-NAME"]


def test_conll_columns_are_chosen(file):
    path = file("-DOCSTART- -X- O O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n")
    (example,) = read(path, "conll")
    assert (example.tokens, example.tags) == (["EU", "rejects"], ["B-ORG", "O"])
    (example,) = read(path, "conll", {"token_column": 1, "tag_column": 2})
    assert (example.tokens, example.tags) == (["NNP", "VBZ"], ["B-NP", "B-VP"])
    (example,) = read(path, "conll", {"tag_column": None})
    assert example.tags is None
    assert [e.tokens for e in read(file("科0\tO\n技1\tO\n"), "conll", {"position_suffix": True})] == [["科", "技"]]


@pytest.mark.parametrize(
    ("content", "format", "options", "code", "line"),
    [
        ("王\tO\n芳\n", "bio", None, "ragged-row", 2),
        ("王\tO\n芳\tO\tO\n", "bio", None, "ragged-row", 2),
        ("王\n", "bio", None, "missing-column", 1),
        ("王 O\n", "bio", {"tag_column": 2}, "missing-column", 1),
        ("王\tO\n\n\tO\n", "bio", None, "empty-token", 3),
        ("王\tB-PER\n芳\tM-PER\n", "bio", None, "bad-tag", 2),
        ("王\tPER\n", "bio", None, "bad-tag", 1),
        ("王 B-X\n芳 I-X\n", "bmes", None, "bad-tag", 2),
        ("王 U-X\n", "conll", {"scheme": "bioes"}, "bad-tag", 1),
        ("", "bio", None, "empty-data", 1),
        ("\n\n \n", "bio", None, "empty-data", 1),
    ],
)
def test_broken_tagged_files_are_located(file, content, format, options, code, line):
    error = failure(file(content), format, options)
    assert (error.code, error.at.line, error.exit_code) == (code, line, 3)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("O B-X I-X O", [(1, 3, "X")]),
        ("B-X B-X I-Y", [(0, 1, "X"), (1, 2, "X"), (2, 3, "Y")]),
        ("B-X M-X E-X S-X S-Y", [(0, 3, "X"), (3, 4, "X"), (4, 5, "Y")]),
        ("B-X L-X U-X", [(0, 2, "X"), (2, 3, "X")]),
        ("I-X I-X O E-Y", [(0, 2, "X"), (3, 4, "Y")]),
        ("E-X E-X", [(0, 1, "X"), (1, 2, "X")]),
        ("O", []),
        ("", []),
        ("B-PER.NAM I-PER.NAM", [(0, 2, "PER.NAM")]),
    ],
)
def test_spans_of_tags(tags, spans):
    assert tag_spans(tags.split()) == spans


TYPES = st.sampled_from(["A", "B", "C"])


@st.composite
def tagged(draw):
    """A tag sequence written from spans, in one of the schemes, and the spans."""
    scheme = draw(st.sampled_from(["BII", "BIE", "BME", "BIL"]))
    single = {"BII": "B", "BIE": "S", "BME": "S", "BIL": "U"}[scheme]
    tags, spans = [], []
    for length, label in draw(st.lists(st.tuples(st.integers(0, 4), st.none() | TYPES), max_size=8)):
        if label is None:
            tags += ["O"] * length
        elif length:
            spans.append((len(tags), len(tags) + length, label))
            inner = scheme[0] + scheme[1] * (length - 2) + scheme[2] if length > 1 else single
            tags += [f"{prefix}-{label}" for prefix in inner]
    return tags, spans


@given(tagged(), st.data())
def test_joined_text_holds_the_words_of_each_span(example, data):
    tags, spans = example
    words = st.sampled_from(["中", "国", "a", "U.N.", "peace", "2024", "，", " "])
    tokens = data.draw(st.lists(words, min_size=len(tags), max_size=len(tags)))
    assert tag_spans(tags) == spans
    annotated = to_annotated(TaggedTokens(tokens, tags))
    assert len(annotated.entities) == len(spans)
    for entity, (first, last, label) in zip(annotated.entities, spans, strict=True):
        piece = annotated.text[entity.start : entity.end]
        assert entity.label == label
        assert piece.replace(" ", "") == "".join(tokens[first:last]).replace(" ", "")


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (["中", "国"], "中国"),
        (["EU", "rejects", "a", "call", "."], "EU rejects a call ."),
        (["用", "Deep", "Learning", "做", "N", "L", "P"], "用Deep Learning做NLP"),
        (["2", "0", "1", "9"], "2019"),
        ([], ""),
    ],
)
def test_words_are_parted_by_spaces_and_characters_are_not(tokens, text):
    assert "".join(space + token for space, token in zip(joiner(tokens), tokens, strict=True)) == text


# -- annotation tools --------------------------------------------------------------------------------------------------


def test_cluener(file):
    path = file(
        rows(
            {"text": "招行与招行", "label": {"company": {"招行": [[0, 1], [3, 4]]}}},
            {"id": 7, "text": "无标注"},
        )
    )
    first, second = read(path, "cluener")
    assert [(e.start, e.end, e.label, e.text) for e in first.entities] == [
        (0, 2, "company", "招行"),
        (3, 5, "company", "招行"),
    ]
    assert (second.id, second.entities, second.source.line) == ("7", [], 2)


RELATION_FORM = {
    "id": 3,
    "text": "王芳生于武汉",
    "entities": [
        {"id": 11, "start_offset": 0, "end_offset": 2, "label": "人物"},
        {"id": 12, "start_offset": 4, "end_offset": 6, "label": "地点"},
    ],
    "relations": [{"id": 1, "from_id": 11, "to_id": 12, "type": "出生地"}],
}


@pytest.mark.parametrize(
    "row",
    [
        RELATION_FORM,
        {"id": 3, "data": "王芳生于武汉", "label": {key: RELATION_FORM[key] for key in ("entities", "relations")}},
    ],
)
def test_doccano_relations(file, row):
    (example,) = read(file(rows(row)), "doccano")
    assert example.id == "3" and example.text == "王芳生于武汉"
    assert example.entities == [Entity(0, 2, "人物", "11"), Entity(4, 6, "地点", "12")]
    assert example.relations == [Relation("出生地", "11", "12")]


@pytest.mark.parametrize("text", ["text", "data"])
@pytest.mark.parametrize("label", ["label", "labels"])
def test_doccano_spans_and_classes(file, text, label):
    path = file(
        rows({text: "王芳来了", label: [[0, 2, "人物"]]}, {text: "好", label: ["正向"]}, {text: "坏", label: []})
    )
    first, second, third = read(path, "doccano")
    assert first.entities == [Entity(0, 2, "人物", "0")]
    assert (second.classes, second.entities) == (["正向"], [])
    assert (third.classes, third.entities) == ([], [])


def test_label_studio(file):
    def labels(name, start, end, *names):
        return {
            "id": name,
            "type": "labels",
            "value": {"start": start, "end": end, "text": "王芳生于武汉"[start:end], "labels": list(names)},
        }

    item = {
        "id": 5,
        "data": {"text": "王芳生于武汉"},
        "annotations": [
            {"was_cancelled": True, "result": [labels("z", 0, 1, "错")]},
            {
                "result": [
                    labels("a", 0, 2, "人物", "作者"),
                    labels("b", 4, 6, "地点"),
                    {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["出生地"], "direction": "right"},
                    {"type": "relation", "from_id": "b", "to_id": "a", "labels": [], "direction": "left"},
                    {"type": "choices", "value": {"choices": ["正向"]}},
                    {"type": "textarea", "value": {"text": ["备注"]}},
                ]
            },
        ],
    }
    path = file("\n" + json.dumps([item, {"data": {"text": "空"}, "annotations": []}], ensure_ascii=False, indent=1))
    first, second = read(path, "label_studio")
    assert [(e.id, e.label, e.text) for e in first.entities] == [
        ("a", "人物", "王芳"),
        ("a#1", "作者", "王芳"),
        ("b", "地点", "武汉"),
    ]
    assert first.relations == [Relation("出生地", "a", "b"), Relation("relation", "a", "b")]
    assert first.classes == ["正向"] and first.source.line == 3
    assert second.text == "空" and second.source.line > 40


def test_prompt_lines(file):
    row = {
        "content": "味道很好",
        "prompt": "情感倾向[正向,负向]",
        "result_list": [{"text": "正向", "start": -7, "end": -5}],
    }
    (example,) = read(file(rows(row)), "prompt")
    assert example == PromptExample("味道很好", "情感倾向[正向,负向]", [Span(-7, -5, "正向")], example.source)


UNBOUND = {"from_id": 1, "to_id": 2, "type": "x"}
BAD = {"text": "王芳", "start": 0, "end": 2}


@pytest.mark.parametrize(
    ("format", "row", "code"),
    [
        ("cluener", {"label": {}}, "missing-field"),
        ("cluener", {"text": "招行", "label": {"c": {"招行": [[0]]}}}, "wrong-type"),
        ("cluener", {"text": "招行", "label": {"c": {"招行": [[0, 5]]}}}, "bad-offset"),
        ("cluener", {"text": "招行人", "label": {"c": {"招行": [[1, 2]]}}}, "bad-offset"),
        ("cluener", {"text": "招行", "label": {"c": [[0, 1]]}}, "wrong-type"),
        ("doccano", {"text": "王", "label": [[0, 2, "X"]]}, "bad-offset"),
        ("doccano", {"text": "王", "label": [[1, 1, "X"]]}, "bad-offset"),
        ("doccano", {"text": "王", "label": [[-1, 1, "X"]]}, "bad-offset"),
        ("doccano", {"text": "王", "label": [[0, 1]]}, "wrong-type"),
        ("doccano", {"text": "王", "label": [[0, True, "X"]]}, "wrong-type"),
        ("doccano", {"text": 3}, "wrong-type"),
        ("doccano", {"text": "王", "entities": [], "relations": [UNBOUND]}, "unknown-entity"),
        ("doccano", {**RELATION_FORM, "entities": [RELATION_FORM["entities"][0]] * 2}, "duplicate-id"),
        ("prompt", {"content": "王芳", "prompt": "人"}, "missing-field"),
        ("prompt", {"content": "李芳", "prompt": "人", "result_list": [BAD]}, "bad-offset"),
        ("prompt", {"content": "王芳", "prompt": "人", "result_list": [{**BAD, "start": "0"}]}, "wrong-type"),
        ("prompt", {"content": "王芳", "prompt": "人[王芳]", "result_list": [{**BAD, "start": -1}]}, "bad-offset"),
        ("jsonl", {"text": None, "label": "a"}, "wrong-type"),
        ("jsonl", {"text": "a"}, "missing-column"),
        ("jsonl", {"text": "a", "label": {}}, "wrong-type"),
        ("jsonl", {"text": "a", "label": ""}, "empty-label"),
        ("jsonl", {"text": "\ud800", "label": "a"}, "bad-character"),
        ("jsonl", ["a"], "not-an-object"),
        ("jsonl", None, "not-an-object"),
    ],
)  # fmt: skip
def test_broken_rows_are_located(file, format, row, code):
    good = {"cluener": {"text": "好"}, "doccano": {"text": "好"}, "jsonl": {"text": "好", "label": "x"}}
    good["prompt"] = {"content": "好", "prompt": "人", "result_list": []}
    path = file(json.dumps(good[format]) + "\r\n\r\n" + json.dumps(row))
    error = failure(path, format)
    assert (error.code, error.at.line, error.exit_code) == (code, 3, 3)
    assert str(error)


def test_lenient_reading_gives_offsets_as_they_are(file):
    path = file(rows({"text": "王", "label": [[0, 9, "X"]]}))
    (example,) = read(path, "doccano", strict=False)
    assert example.entities[0].end == 9


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        ("{}", "not-a-list", (1, 1)),
        ('[{"data":\n{"text":"a"}},\n]', "broken-json", (3, 1)),
        ('[{"data":\n{"text":"a"}}\n{"data":1}]', "broken-json", (3, 1)),
        ('[\n{"data":{"text":"a"}}', "broken-json", (2, 22)),
        ('[\n{"data":{"text":"a"}}] x', "broken-json", (2, 24)),
        ('[\n{"data":}]', "broken-json", (2, 9)),
        ('[\n{"data":{"text":1}}]', "wrong-type", (2, None)),
        ("[1]", "wrong-type", (1, None)),
        ("[", "broken-json", (1, 2)),
        ("[]", "empty-data", (1, None)),
        (
            '[{"data":{"text":"a"},"annotations":[{"result":[{"type":"rectanglelabels"}]}]}]',
            "unsupported-annotation",
            (1, None),
        ),
    ],
)
def test_broken_json_lists_are_located(file, content, code, place):
    error = failure(file(content), "label_studio")
    assert (error.code, (error.at.line, error.at.column)) == (code, place)


# -- columns -----------------------------------------------------------------------------------------------------------


def test_csv_with_header_quotes_and_line_breaks(file):
    path = file('label,review\r\n1,"快,""好"""\r\n\r\n0,"两\r\n行"\r\n1,末\r\n')
    examples = list(read(path, "csv", {"columns": {"text": "review", "label": "label"}}))
    assert [(e.text, e.label, e.source.line) for e in examples] == [
        ('快,"好"', "1", 2),
        ("两\n行", "0", 4),
        ("末", "1", 6),
    ]


def test_tsv_without_header_keeps_quotes(file):
    path = file('他说"好\t3\n"引\t4\n')
    examples = list(read(path, "tsv", {"columns": {"text": 0, "label": 1}}))
    assert [(e.text, e.label) for e in examples] == [('他说"好', "3"), ('"引', "4")]
    examples = list(read(path, "tsv", {"columns": {"text": 0, "label": -1}, "header": True}))
    assert [(e.text, e.label) for e in examples] == [('"引', "4")]


def test_pairs_scores_ids_and_several_labels(file):
    path = file("id\ta\tb\tscore\tkinds\n9\t甲\t乙\t4.5\tx, y\n")
    columns = {"text": "a", "text_pair": "b", "label": "score", "id": "id"}
    (example,) = read(path, "tsv", {"columns": columns, "label_type": "score"})
    assert (example.text, example.text_pair, example.label, example.id) == ("甲", "乙", 4.5, "9")
    (example,) = read(path, "tsv", {"columns": {"text": "a", "label": "kinds"}, "label_separator": ","})
    assert example.label == ["x", "y"]
    (example,) = read(path, "tsv", {"columns": {"text": "a", "label": None}})
    assert example.label is None


@pytest.mark.parametrize(
    ("value", "label"), [(100, "100"), (True, "true"), ("a", "a"), (["a", 2], ["a", "2"]), (None, None), ([], [])]
)
def test_json_labels(file, value, label):
    (example,) = read(file(rows({"sentence": "好", "label": value})), "jsonl", {"columns": {"text": "sentence"}})
    assert example.label == label


@pytest.mark.parametrize(
    ("format", "content", "options", "code", "line"),
    [
        ("csv", "text,label\na,b\na,b,c\n", {}, "ragged-row", 3),
        ("csv", 'text,label\na,b\n"a,b\nc,d\n', {}, "broken-csv", 3),
        ("csv", 'text,label\n"a"b,c\n', {}, "broken-csv", 2),
        ("csv", "a,b\nc,d\n", {}, "missing-column", 1),
        ("csv", "a,b\n", {"columns": {"text": 0, "label": 2}}, "missing-column", 1),
        ("csv", "a,b\n", {"columns": {"text": 0, "label": "b"}, "header": False}, "missing-column", 1),
        ("csv", "text,label\n", {}, "empty-data", 1),
        ("tsv", "text\tlabel\na\t\n", {}, "empty-label", 2),
        ("tsv", "text\tlabel\na\tx\n", {"label_type": "score"}, "bad-score", 2),
        ("tsv", "text\tlabel\na\tnan\n", {"label_type": "score"}, "bad-score", 2),
        ("jsonl", '{"text": "a", "label": true}\n', {"label_type": "score"}, "bad-score", 1),
        ("jsonl", '{"text": "a"\n', {}, "broken-json", 1),
        ("jsonl", '{"text": "a", "label": "b"}\n' + "[" * 100_000, {}, "broken-json", 2),
        ("jsonl", '{"text": "a", "label": ' + "9" * 5000 + "}\n", {}, "broken-json", 1),
    ],
)
def test_broken_tables_are_located(file, format, content, options, code, line):
    error = failure(file(content), format, options)
    assert (error.code, error.at.line) == (code, line)
    assert str(error)


# -- files -------------------------------------------------------------------------------------------------------------


def test_foreign_encodings_are_located(file):
    error = failure(file('{"text": "好"}\n{"text": "'.encode() + "好".encode("gb18030") + b'"}\n'), "doccano")
    assert (error.code, error.at.line, error.at.column, error.values["byte"]) == ("bad-encoding", 2, 11, 26)


def test_files_that_cannot_be_read(file, tmp_path):
    assert failure(tmp_path, "bio").code == "not-a-file"
    assert failure(tmp_path / "none", "bio").code == "missing-file"
    packed = gzip.compress("王\tO\n".encode() * 50_000)
    assert failure(file(packed[: len(packed) // 2]), "bio").code == "broken-archive"
    damaged = bytearray(packed)
    damaged[-8] ^= 0xFF
    assert failure(file(bytes(damaged)), "bio").code == "broken-archive"


def test_unknown_formats_and_options_are_usage_errors(file):
    path = file("王\tO\n")
    for format, options in [
        ("boi", {}),
        ("bio", {"colum": 1}),
        ("csv", {"columns": {"text": 1.5}}),
        ("bio", {"tag_column": "x"}),
    ]:
        with pytest.raises(UsageError) as caught:
            read(path, format, options)
        assert str(caught.value)


def test_rows_that_are_left_out(file):
    table = file("language\ta\tb\tlabel\nde\t1\t2\tx\nzh\t3\t4\tx\nde\t5\t6\t-\nde\t7\nde\t8\t9\ty\n")
    columns = {"columns": {"text": "a", "text_pair": "b", "label": "label"}}
    options = {**columns, "where": {"language": "de"}, "skip_labels": ["-"], "ragged_rows": "skip"}
    assert [(row.text, row.label) for row in read(table, "tsv", options)] == [("1", "x"), ("8", "y")]
    assert failure(table, "tsv", columns).code == "ragged-row"
    assert failure(table, "tsv", {**options, "where": {"lang": "de"}}).code == "missing-column"
    lines = file(rows({"text": "a", "label": "-", "n": 1}, {"text": "b", "label": "x", "n": 1}, {"text": "c", "n": 2}))
    found = read(lines, "jsonl", {"skip_labels": ["-"], "where": {"n": "1"}})
    assert [(row.text, row.label) for row in found] == [("b", "x")]


def test_left_out_rows_are_still_split(file, tmp_path):
    content = "language\ta\tlabel\nzh\t0\t-\n" + "".join(f"de\t{number}\tx\n" for number in range(1, 9))
    options = {"columns": {"text": 1, "label": 2}, "where": {"language": "de"}, "skip_labels": ["-"]}
    split_file(file(content), "tsv", tmp_path / "parts", {"a": 4, "b": 5}, options=options)
    parts = [next((tmp_path / "parts").glob(f"{name}.*")).read_text().splitlines() for name in "ab"]
    assert [len(part) for part in parts] == [5, 6] and all(part[0] == "language\ta\tlabel" for part in parts)
    assert sorted(line for part in parts for line in part[1:]) == sorted(content.splitlines()[1:])


def test_lists_of_words_are_joined(file):
    path = file(json.dumps([{"keyword": ["a", "b"], "abst": "c", "label": "1"}]))
    (row,) = read(path, "jsonl", {"columns": {"text": "keyword", "text_pair": "abst"}})
    assert (row.text, row.text_pair) == ("a b", "c")
    assert failure(file(rows({"text": ["a", 1], "label": "x"})), "jsonl").code == "wrong-type"
    assert failure(file("[1]"), "jsonl").code == "not-an-object"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((0, "王芳"), (3, "她"), "_王芳_说[她]来"),
        ((3, "她来"), (0, "王芳"), "[王芳]说_她来_"),
        ((2, "说"), (3, "她"), "王芳_说_[她]来"),
    ],
)
def test_spans_of_winograd_schemas_are_marked(file, first, second, expected):
    target = {"span1_index": first[0], "span1_text": first[1], "span2_index": second[0], "span2_text": second[1]}
    (row,) = read(file(rows({"text": "王芳说她来", "target": target, "label": "True", "idx": 3})), "cluewsc")
    assert (row.text, row.label, row.id) == (expected, "true", "3")
    target["span2_index"] = 4
    assert failure(file(rows({"text": "王芳说她来", "target": target})), "cluewsc").code == "bad-offset"


SAMPLES = {
    "bio": "王\tB-PER\n芳\tI-PER\n\n来\tO\n",
    "bmes": "高 B-NAME\n勇 E-NAME\n",
    "conll": "EU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n",
    "cluener": rows({"text": "招行与招行", "label": {"company": {"招行": [[0, 1], [3, 4]]}}}),
    "doccano": rows(RELATION_FORM, {"text": "a", "label": [[0, 1, "X"]]}, {"data": "a", "label": ["b"]}),
    "label_studio": json.dumps(
        [
            {
                "id": 1,
                "data": {"text": "王芳"},
                "annotations": [
                    {
                        "was_cancelled": False,
                        "result": [
                            {"id": "a", "type": "labels", "value": {**BAD, "labels": ["人"]}},
                            {"type": "relation", "from_id": "a", "to_id": "a", "labels": ["x"], "direction": "bi"},
                            {"type": "choices", "value": {"choices": ["c"]}},
                        ],
                    }
                ],
            }
        ]
    ),
    "prompt": rows({"content": "王芳", "prompt": "人", "result_list": [BAD]}),
    "csv": 'text,label\n"a,b",c\n"d\ne",f\n',
    "tsv": "text\tlabel\na\tb\n",
    "jsonl": rows({"text": "a", "label": ["b", 1]}, {"text": "a", "label": None}),
    "cluewsc": rows(
        {
            "text": "王芳说她来",
            "target": {"span1_text": "王芳", "span1_index": 0, "span2_text": "她", "span2_index": 3},
            "label": "true",
            "idx": 1,
        }
    ),
    "squad": json.dumps(
        {
            "version": "1",
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "王芳来了",
                            "qas": [
                                {"id": 1, "question": "谁", "answers": [{"text": "王芳", "answer_start": 1}]},
                                {"question": "何", "is_impossible": True},
                            ],
                        }
                    ]
                }
            ],
        }
    ),
    "c3": json.dumps([[["男：好"], [{"question": "谁", "choice": ["男", "女"], "answer": "男"}], "1"]]),
    "chid": rows({"content": "一#idiom#二#idiom1#", "candidates": ["甲", "乙"], "answer": 1, "id": 3}),
    "choices": rows({"context": "a", "question": "b", "choices": ["c", "d"], "answer": 1}, {"choices": ["e"]}),
    "cail_scm": rows({"A": "a", "B": "b", "C": "c", "label": "C"}, {"A": "a", "B": "b", "C": "c"}),
    "utc": rows({"text_a": "a", "text_b": "", "question": "", "choices": ["b", "c"], "labels": [1]}),
    "cmeee": rows({"text": "王芳", "entities": [{"start_idx": 0, "end_idx": 1, "type": "人", "entity": "王芳"}]}),
    "spo": rows(
        {"text": "王芳在北京", "spo_list": [{"subject": "王芳", "predicate": "在", "object": "北京"}]},
        {"text": "a", "spo_list": []},
    ),
    "nlu": rows(
        {"text": "去北京", "domain": "map", "intent": "go", "slots": {"city": "北京", "by": ["去"]}},
        {"text": "去北京", "intent": "go", "slots": [{"slot": "city", "start": 1, "end": 3}]},
    ),
    "dialogue": rows(
        {"turns": ["你好", "好", "再见"], "roles": [0, 1, 0], "knowledge": [["a", "b"], "c"], "persona": "d"},
        {"history": ["你好"], "response": "好", "goal": "e"},
        {"history": "你好"},
    ),
    "kdconv": json.dumps(
        [
            {
                "messages": [
                    {"message": "你好", "attrs": [{"name": "a", "attrname": "b", "attrvalue": "c"}]},
                    {"message": "好"},
                ]
            }
        ]
    ),
    "lccc": json.dumps([["你 好", "好 a b"], ["谁", "我", "哦"]]),
    "documents": " = 标题 = \n \n 一 。 \n = = 节 = = \n二\n\n三\n",
}  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_has_a_sample_that_reads(file, format):
    examples = list(read(file(SAMPLES[format]), format))
    assert examples
    assert {type(example).__name__ for example in examples} == {FORMATS[format].example}
    assert all(example.source.line for example in examples)


PIECES = [b"", b"\n", b"\t", b" ", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\x00", b"\xff", b"-1", b"1e999", b"null",
          b"true", b"\xe5", b"\\ud800", b"B-", b"\r", b"\x1f\x8b", b"NaN", b"{}", b"9" * 30]  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_mutated_files_raise_nothing_but_data_errors(file, format, data):
    content = bytearray(SAMPLES[format].encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(start, min(len(content), start + 12)) | st.just(len(content)))
        content[start:stop] = data.draw(st.sampled_from(PIECES) | st.binary(max_size=6))
    path = file(bytes(content))
    try:
        for example in read(path, format):
            assert example.source.line
            if isinstance(example, AnnotatedText):
                assert all(0 <= e.start < e.end <= len(example.text) for e in example.entities)
            repr(example).encode()
    except DataError as error:
        assert error.at.line and str(error) and error.as_dict()["exit_code"] == 3


VALUES = [None, True, -1, 3.5, "x", "", [], {}, ["x"], [1], {"x": "y"}, [[]], [{}], [None], {"text": "x"}]


def places(value, path=()):
    """The path of each value inside a JSON value, its own first."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def json_parts(sample):
    """The JSON values of a sample, each with the text before and after it."""
    with contextlib.suppress(ValueError):
        yield "", json.loads(sample), ""
        return
    lines = sample.splitlines(keepends=True)
    for number, line in enumerate(lines):
        with contextlib.suppress(ValueError):
            yield "".join(lines[:number]), json.loads(line), "\n" + "".join(lines[number + 1 :])


@pytest.mark.parametrize("format", FORMATS)
def test_every_value_may_be_of_any_other_type(file, format):
    for before, sample, after in json_parts(SAMPLES[format]):
        for path in places(sample):
            for value in VALUES:
                changed = json.dumps(replaced(sample, path, value), ensure_ascii=False)
                try:
                    list(read(file(before + changed + after), format))
                except DataError as error:
                    assert error.at.line and str(error)


# -- public data -------------------------------------------------------------------------------------------------------

PUBLIC = [
    ("msra/train.txt.gz", "bio", {}, 47_613),
    ("msra/dev.txt", "bio", {}, 3043),
    ("cluener/train.json", "cluener", {}, 9658),
    ("cluener/test_unlabeled.json", "cluener", {}, 1344),
    ("resume_ner/train.char.bmes", "bmes", {}, 3815),
    ("weibo_ner/weiboNER_2nd_conll.train", "conll", {"position_suffix": True}, 1269),
    ("thucnews_titles/train.txt", "tsv", {"columns": {"text": 0, "label": 1}}, 7990),
    ("fewclue_tnews/train_few_all.json", "jsonl", {"columns": {"text": "sentence", "label": "label_desc"}}, 1185),
    ("sst2_en/train.tsv", "tsv", {"columns": {"text": 1, "label": 0}}, 6917),
    (
        "stsb_en/train.tsv",
        "tsv",
        {"columns": {"text": "sentence1", "text_pair": "sentence2", "label": "score"}, "label_type": "score"},
        5734,
    ),
    ("waimai_10k/train.csv", "csv", {"columns": {"text": "review"}}, 8632),
    ("online_shopping/train.csv", "csv", {"columns": {"text": "review"}}, 46_120),
    ("chnsenticorp/train.tsv", "tsv", {"columns": {"text": "text_a"}}, 8901),
    ("afqmc/train.txt", "tsv", {"columns": {"text": 0, "text_pair": 1, "label": 2}}, 30_901),
    ("bdci_car/train.csv", "csv", {"columns": {"text": "content", "label": "subject"}}, 9042),
    ("cblue/CHIP-STS/train.jsonl", "jsonl", {"columns": {"text": "text1", "text_pair": "text2"}}, 12_000),
    ("cblue/CHIP-CTC/train.jsonl", "jsonl", {}, 12_000),
    ("cblue/KUAKE-QIC/train.jsonl", "jsonl", {"columns": {"text": "query"}}, 6931),
    ("cblue/KUAKE-QQR/train.jsonl", "jsonl", {"columns": {"text": "query1", "text_pair": "query2"}}, 12_000),
    ("cblue/CMeEE/train.jsonl", "cmeee", {}, 3125),
    ("cblue/CMeIE/train.jsonl", "spo", {}, 2241),
    ("duie/train.json", "spo", {}, 3600),
    ("smp2019_nlu/train.json", "nlu", {}, 1858),
    (
        "ocnli/train.json",
        "jsonl",
        {"columns": {"text": "sentence1", "text_pair": "sentence2"}, "skip_labels": ["-"]},
        8986,
    ),
    ("fewclue_csl/train_few_all.json", "jsonl", {"columns": {"text": "keyword", "text_pair": "abst"}}, 160),
    ("fewclue_cluewsc/train_few_all.json", "cluewsc", {}, 160),
    ("xnli_zh/dev.tsv", "tsv", {"columns": {"text": "text_a", "text_pair": "text_b"}}, 2490),
    ("xnli_de/train.tsv", "tsv", {"columns": {"text": 0, "text_pair": 1, "label": 2}}, 2245),
]


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA names no folder of public data")
@pytest.mark.parametrize(("name", "format", "options", "count"), PUBLIC)
def test_public_data(name, format, options, count):
    path = Path(os.environ["ZOO_DATA"]) / name
    if not path.exists():
        pytest.skip(f"{name} is not there")
    found = sum(1 for _ in read(path, format, options))
    assert found == count if count else found
