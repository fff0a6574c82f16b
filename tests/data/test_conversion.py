import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.data.annotations import verify
from zoo_cli.data.conversion import (
    ConversionOptions,
    convert,
    doccano_row,
    prompt_row,
    split_content,
    take_inventory,
    to_prompts,
)
from zoo_cli.data.examples import AnnotatedText, Entity, PromptExample, Relation, Span, TaggedTokens, TextExample

LABELS = ["人物", "地点", "机构", "时间", "观点词"]
PREDICATES = ["出生地", "任职", "配偶"]


@st.composite
def annotated(draw):
    text = draw(st.text(st.sampled_from("甲乙丙丁戊a1，"), min_size=1, max_size=12))
    entities = []
    for number in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 3)))
        entities.append(Entity(start, end, draw(st.sampled_from(LABELS)), str(number)))
    relations = []
    if entities:
        ids = st.sampled_from([entity.id for entity in entities])
        rows = draw(st.lists(st.tuples(st.sampled_from(PREDICATES), ids, ids), max_size=4))
        relations = [Relation(*row) for row in rows]
    return AnnotatedText(text, entities, relations)


DATA_SETS = st.lists(annotated(), min_size=1, max_size=8)
RATIOS = st.integers(-1, 9)


def _ask(subject, predicate, language):
    return subject + "的" + predicate if language == "zh" else predicate + " of " + subject


def _expected_count(sizes, positives, ratio):
    """Size of a sample from several pools, restated from the specification."""
    third = ratio // 3
    first = [size if ratio == -1 or math.ceil(size / positives) <= third else third * positives for size in sizes]
    return sum(first) + max(0, min(positives * ratio - sum(first), sum(sizes) - sum(first)))


@settings(max_examples=200, deadline=None)
@given(DATA_SETS, RATIOS, st.sampled_from(["zh", "en"]), st.integers(0, 3))
def test_negatives_are_those_of_the_specification(texts, ratio, language, seed):
    options = ConversionOptions(negative_ratio=ratio, schema_lang=language, seed=seed)
    labels = {entity.label for text in texts for entity in text.entities} - {"观点词"}
    names = {text.text[entity.start : entity.end] for text in texts for entity in text.entities}
    inventory = take_inventory(texts, options)
    for text in texts:
        examples = to_prompts(text, inventory, options)
        assert examples == to_prompts(text, inventory, options)
        own = {entity.label for entity in text.entities}
        mention = {entity.id: text.text[entity.start : entity.end] for entity in text.entities}
        entity_positives = [e.prompt for e in examples if e.spans and e.prompt in LABELS]
        entity_negatives = [e.prompt for e in examples if not e.spans and e.prompt in LABELS]
        assert sorted(entity_positives) == sorted(own)
        absent = labels - own
        assert set(entity_negatives) <= absent and len(set(entity_negatives)) == len(entity_negatives)
        if ratio == -1 or not own or math.ceil(len(absent) / len(own)) <= ratio:
            assert set(entity_negatives) == absent
        else:
            assert len(entity_negatives) == ratio * len(own)

        gold = {_ask(mention[relation.head], relation.label, language) for relation in text.relations}
        subjects = {mention[relation.head] for relation in text.relations}
        relation_positives = [e.prompt for e in examples if e.spans and e.prompt not in LABELS]
        relation_negatives = Counter(e.prompt for e in examples if not e.spans and e.prompt not in LABELS)
        assert sorted(relation_positives) == sorted(gold)
        if not gold:
            assert not relation_negatives
            continue
        inverse = Counter(_ask(mention[relation.tail], relation.label, language) for relation in text.relations)
        inverse = Counter({prompt: count for prompt, count in inverse.items() if prompt not in gold})
        foreign = names - subjects
        predicates = {relation.label for relation in text.relations}
        assert relation_negatives.total() == _expected_count(
            [inverse.total(), len(foreign), len(absent)], len(gold), ratio
        )
        by_label = {_ask(subject, label, language): label for subject in subjects for label in absent}
        of_third = [by_label[prompt] for prompt in relation_negatives if prompt in by_label]
        assert len(set(of_third)) == len(of_third)
        rest = relation_negatives - Counter(dict.fromkeys(by_label, 1)) - inverse
        by_name = {_ask(name, predicate, language): name for name in foreign for predicate in predicates}
        assert rest.keys() <= by_name.keys()
        assert set(rest.values()) <= {1}
        assert not gold & relation_negatives.keys()


@settings(max_examples=100, deadline=None)
@given(DATA_SETS, st.sampled_from(["zh", "en"]))
def test_development_sets_ask_for_everything(texts, language):
    options = ConversionOptions(schema_lang=language)
    labels = {entity.label for text in texts for entity in text.entities} - {"观点词"}
    predicates = {relation.label for text in texts for relation in text.relations}
    inventory = take_inventory(texts, options)
    for text in texts:
        examples = to_prompts(text, inventory, options, training=False)
        mention = {entity.id: text.text[entity.start : entity.end] for entity in text.entities}
        subjects = {mention[relation.head] for relation in text.relations}
        expected = labels | {entity.label for entity in text.entities}
        expected |= {_ask(subject, predicate, language) for subject in subjects for predicate in predicates}
        assert sorted(example.prompt for example in examples) == sorted(expected)


@settings(max_examples=100, deadline=None)
@given(DATA_SETS)
def test_every_answer_is_what_its_offsets_say_and_no_annotation_is_lost(texts):
    for example in convert(texts, ConversionOptions()):
        verify(example)
        assert all(example.content[span.start : span.end] == span.text for span in example.spans)
    for text in texts:
        found = {(e.prompt, s.start, s.end) for e in convert([text], ConversionOptions()) for s in e.spans}
        places = {entity.id: entity for entity in text.entities}
        for entity in text.entities:
            assert (entity.label, entity.start, entity.end) in found
        for relation in text.relations:
            head, tail = places[relation.head], places[relation.tail]
            subject = text.text[head.start : head.end]
            assert (f"{subject}的{relation.label}", tail.start, tail.end) in found


def test_sampling_depends_on_seed_and_text_but_not_on_the_order_of_the_file():
    labels = [f"类型{number}" for number in range(30)]
    texts = [AnnotatedText(f"文本{label}", [Entity(0, 1, label, "0")]) for label in labels]

    def prompts(order, seed):
        return {(e.content, e.prompt) for e in convert(order, ConversionOptions(seed=seed, negative_ratio=3))}

    assert prompts(texts, 1) == prompts(texts[::-1], 1) != prompts(texts, 2)
    drawn = Counter(prompt for _, prompt in prompts(texts, 1))
    assert len(drawn) == 30  # not the same three for every text


def test_events_are_relations_of_their_trigger():
    text = AnnotatedText(
        "台湾花莲发生4.3级地震",
        [Entity(9, 11, "地震触发词", "t"), Entity(6, 9, "震级", "a")],
        [Relation("震级", "t", "a")],
    )
    positives = {e.prompt: e.spans for e in convert([text], ConversionOptions()) if e.spans}
    assert positives == {
        "地震触发词": [Span(9, 11, "级地")],
        "震级": [Span(6, 9, "4.3")],
        "级地的震级": [Span(6, 9, "4.3")],
    }


def test_classes_are_answered_inside_the_prompt():
    options = ConversionOptions(task_type="cls", options=("正向", "负向", "中性"))
    prompts = set()
    for number in range(40):
        example = next(convert([TextExample(f"第{number}条", label="负向")], options))
        verify(example)
        (span,) = example.spans
        assert span.text == "负向" and span.end < 0
        assert span.start == example.prompt.rfind("负向") - len(example.prompt) - 1
        assert example.prompt[span.start + len(example.prompt) + 1 :].startswith("负向")
        prompts.add(example.prompt)
    assert len(prompts) == 6
    assert all(prompt.startswith("情感倾向[") and prompt.endswith("]") for prompt in prompts)


def test_an_option_that_ends_another_is_found():
    options = ConversionOptions(task_type="cls", options=("好", "不好"))
    for number in range(20):
        example = next(convert([TextExample(str(number), label=["好"])], options))
        (span,) = example.spans
        before = example.prompt[span.start + len(example.prompt)]
        assert before in "[,"


@pytest.mark.parametrize(
    ("language", "prefix", "expected"),
    [("zh", "情感倾向", "味道的情感倾向["), ("en", "Sentiment classification", "Sentiment classification of 味道[")],
)
def test_aspects_become_entities_and_classifications(language, prefix, expected):
    text = AnnotatedText(
        "味道好，味道真好",
        [Entity(0, 2, "评价维度##正向", "0"), Entity(2, 3, "观点词", "1"), Entity(4, 6, "评价维度##正向", "2")],
        [Relation("观点词", "0", "1")],
    )
    options = ConversionOptions(schema_lang=language, prompt_prefix=prefix)
    positives = {e.prompt: e.spans for e in convert([text], options) if e.spans}
    assert positives["评价维度"] == [Span(0, 2, "味道"), Span(4, 6, "味道")]
    (aspect,) = [prompt for prompt in positives if prompt.startswith(expected)]
    assert [span.text for span in positives[aspect]] == ["正向"]
    assert ("味道的观点词" if language == "zh" else "观点词 of 味道") in positives


def test_tagged_tokens_become_entity_prompts():
    sentence = TaggedTokens(["王", "芳", "在", "京"], ["B-PER", "I-PER", "O", "B-LOC"])
    other = TaggedTokens(["无"], ["O"])
    examples = [(e.content, e.prompt, e.spans) for e in convert([sentence, other], ConversionOptions())]
    assert examples == [
        ("王芳在京", "PER", [Span(0, 2, "王芳")]),
        ("王芳在京", "LOC", [Span(3, 4, "京")]),
        ("无", "LOC", []),
        ("无", "PER", []),
    ]


AT = Location("data.json", 7)


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        (AnnotatedText("王", [Entity(0, 2, "X", "0")], source=AT), {}, "bad-offset"),
        (AnnotatedText("王", [Entity(0, 1, "X", "0", "李")], source=AT), {}, "bad-offset"),
        (AnnotatedText("王", relations=[Relation("r", "a", "b")], source=AT), {}, "unknown-entity"),
        (AnnotatedText("王", [Entity(0, 1, "X##好", "0")], source=AT), {}, "unknown-option"),
        (AnnotatedText("王", [Entity(0, 1, "X", "0")], source=AT), {"task_type": "cls"}, "no-class"),
        (TextExample("王", label="好", source=AT), {}, "unknown-option"),
        (TextExample("王", "李", label="正向", source=AT), {}, "not-convertible"),
        (TextExample("王", label=1.5, source=AT), {}, "not-convertible"),
    ],
)
def test_what_cannot_be_converted_is_located(source, options, code):
    with pytest.raises(DataError) as caught:
        list(convert([source], ConversionOptions(**options)))
    assert (caught.value.code, caught.value.at) == (code, AT)
    assert str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"negative_ratio": -2}, {"options": ("a", "a")}, {"options": ("a,b",)}, {"separator": ""}, {"schema_lang": "fr"}],
)
def test_senseless_options_are_usage_errors(options):
    with pytest.raises(UsageError, match="the conversion needs"):
        ConversionOptions(**options)


# -- long texts --------------------------------------------------------------------------------------------------------


@st.composite
def long_examples(draw):
    content = "".join(draw(st.lists(st.sampled_from("甲乙丙丁戊"), min_size=1, max_size=60)))
    spans = []
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content) - 1))
        end = draw(st.integers(start + 1, min(len(content), start + 12)))
        spans.append(Span(start, end, content[start:end]))
    return PromptExample(content, "提示[甲,乙]", spans + [Span(-5, -4, "甲")] * draw(st.integers(0, 1)))


@settings(max_examples=300, deadline=None)
@given(long_examples(), st.integers(1, 30))
def test_chunks_lose_neither_text_nor_answers(example, size):
    chunks, lost = split_content(example, size)
    assert "".join(chunk.content for chunk in chunks) == example.content
    assert all(0 < len(chunk.content) <= size for chunk in chunks)
    begin, kept = 0, []
    for chunk in chunks:
        verify(chunk)
        assert [span for span in chunk.spans if span.start < 0] == [s for s in example.spans if s.start < 0]
        kept += [(s.start + begin, s.end + begin) for s in chunk.spans if s.start >= 0]
        begin += len(chunk.content)
    assert sorted(kept + [(s.start, s.end) for s in lost]) == sorted(
        (s.start, s.end) for s in example.spans if s.start >= 0
    )
    spans = sorted((s for s in example.spans if s.start >= 0), key=lambda s: s.start)
    apart = all(left.end <= right.start for left, right in pairwise(spans))
    if apart:
        assert all(span.end - span.start > size for span in lost)


def test_a_boundary_inside_an_answer_moves_to_its_start():
    example = PromptExample("0123456789abcdef", "人", [Span(6, 10, "6789"), Span(12, 15, "cde")])
    chunks, lost = split_content(example, 8)
    assert [chunk.content for chunk in chunks] == ["012345", "6789ab", "cdef"]
    assert [chunk.spans for chunk in chunks] == [[], [Span(0, 4, "6789")], [Span(0, 3, "cde")]]
    assert lost == []


def test_an_answer_longer_than_a_chunk_is_reported():
    example = PromptExample("0123456789", "人", [Span(1, 9, "12345678")])
    chunks, lost = split_content(example, 4)
    assert [chunk.content for chunk in chunks] == ["0123", "4567", "89"]
    assert lost == example.spans
    with pytest.raises(DataError, match="no room"):
        split_content(example, 0)


def test_rows_are_written_as_the_tools_write_them():
    text = AnnotatedText(
        "王芳在京", [Entity(0, 2, "人", "a"), Entity(3, 4, "地", "b")], [Relation("在", "a", "b")], id="9"
    )
    assert doccano_row(text) == {
        "id": "9",
        "text": "王芳在京",
        "entities": [
            {"id": 0, "start_offset": 0, "end_offset": 2, "label": "人"},
            {"id": 1, "start_offset": 3, "end_offset": 4, "label": "地"},
        ],
        "relations": [{"id": 0, "from_id": 0, "to_id": 1, "type": "在"}],
    }
    assert doccano_row(AnnotatedText("好", classes=["正向"])) == {"text": "好", "label": ["正向"]}
    row = prompt_row(PromptExample("王芳", "人", [Span(0, 2, "王芳")]))
    assert list(row.items()) == [
        ("content", "王芳"),
        ("result_list", [{"text": "王芳", "start": 0, "end": 2}]),
        ("prompt", "人"),
    ]
    with pytest.raises(DataError, match="not both"):
        doccano_row(AnnotatedText("好", [Entity(0, 1, "X", "0")], classes=["正向"]))
