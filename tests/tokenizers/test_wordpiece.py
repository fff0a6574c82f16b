"""WordPiece tokenizers against a plain restatement of the rules, and properties of what they give."""

from __future__ import annotations

import itertools
import os
import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizers.vocabularies import VOCABS, sample, tokenizer_of
from zoo_cli.base.errors import UsageError
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.wordpiece import ErnieTokenizer

FRAGMENTS = (
    *("hello", "unaffable", "2023", "3.14", "don't", "Ａ１", "今天", "中国", "，", "。", "[MASK]", " [SEP] ", "[mask]"),
    *("ΣΑΣ", "ß", "İ", "é", "e\u0301", "か\u3099", "안녕", "क्ष", "\u0958", "≠", "\u037e", "℃", "😀", "##ing", "\u2028"),
    *(" ", "\t", "\r\n", "\u3000", "\x00", "\u200b", "\ufffd", "\xad", "\x85", "\u0378", "\ud800", "豈", "x" * 101),
)
IDEOGRAPHS = (
    *(range(0x4E00, 0xA000), range(0x3400, 0x4DC0), range(0xF900, 0xFB00), range(0x2F800, 0x2FA20)),
    *(range(0x20000, 0x2A6E0), range(0x2A700, 0x2B740), range(0x2B740, 0x2B820), range(0x2B820, 0x2CEB0)),
)
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=8).map("".join)


def plain_tokens(text: str, tokenizer: PretrainedTokenizer, lower: bool) -> list[str]:
    """Tokens by the rules of the basic tokenizer and greedy longest match, a character at a time."""
    tokens: list[str] = []
    specials = sorted(tokenizer.all_special_tokens, key=len, reverse=True)
    start = position = 0
    while position <= len(text):
        special = next((token for token in specials if text.startswith(token, position)), None)
        if special or position == len(text):
            for word in basic_words(text[start:position], lower):
                tokens += pieces(word, tokenizer.vocab)
            tokens += [special] if special else []
            position += len(special) if special else 1
            start = position
        else:
            position += 1
    return tokens


def basic_words(text: str, lower: bool) -> list[str]:
    if lower:
        text = "".join(char.lower() for char in text)
    cleaned = ""
    for char in text:
        category = unicodedata.category(char)
        if char not in "\t\n\r" and (char in "\0\ufffd" or category[0] == "C"):
            continue
        cleaned += f" {char} " if any(ord(char) in block for block in IDEOGRAPHS) else char
    words = []
    for word in cleaned.split():
        if lower:
            word = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(c) != "Mn")
        current = ""
        for char in word:
            ascii_symbol = char.isascii() and char.isprintable() and not char.isalnum()
            if (
                ascii_symbol
                or unicodedata.category(char)[0] in "PS"
                or char in "\u00ad\u00b2\u00ba\u3007\u00b5\u00d8\u014b\u01b1"
            ):
                words += [current, char]
                current = ""
            else:
                current += char
        words.append(current)
    return [word for word in words if word]


def pieces(word: str, vocab: dict[str, int]) -> list[str]:
    found: list[str] = []
    start = 0
    while start < len(word) <= 100:
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in vocab), None)
        if end is None:
            return ["[UNK]"]
        found.append(prefix + word[start:end])
        start = end
    return found or ["[UNK]"]


@pytest.mark.parametrize("lower", [True, False])
@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_tokens_follow_the_rules(lower: bool, text: str) -> None:
    tokenizer = load(VOCABS / "bert", "BertTokenizer", do_lower_case=lower)
    assert tokenizer.tokenize(text) == plain_tokens(text, tokenizer, lower)


@given(batch=st.lists(texts, max_size=6), pairs=st.booleans(), limit=st.none() | st.integers(3, 20))
@settings(max_examples=150, deadline=None)
def test_a_batch_gives_what_its_texts_give(batch: list[str], pairs: bool, limit: int | None) -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    others = batch[::-1] if pairs else None
    together = tokenizer.encode_batch(batch, others, max_length=limit)
    for index, encoding in enumerate(together):
        alone = tokenizer.encode_batch([batch[index]], others and [others[index]], max_length=limit)[0]
        for field in ("ids", "type_ids", "offsets", "special_tokens_mask", "sequence_ids"):
            assert np.array_equal(getattr(encoding, field), getattr(alone, field))
        assert limit is None or len(encoding.ids) <= limit


@given(text=texts)
@settings(max_examples=200, deadline=None)
def test_offsets_are_the_places_of_the_tokens(text: str) -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    encoding = tokenizer.encode_batch([text], add_special_tokens=False)[0]
    spans = encoding.offsets.tolist()
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(one[0] <= two[0] and one[1] <= two[1] for one, two in itertools.pairwise(spans))
    for token, (start, end) in zip(tokenizer.convert_ids_to_tokens(encoding.ids), spans, strict=True):
        part = text[start:end]
        if token in tokenizer.all_special_tokens and part != token:
            assert token == "[UNK]"
            assert not part[0].isspace() and not part[-1].isspace()
        elif part.isascii() and part.isprintable():
            assert part == token or part.lower() == token.removeprefix("##")


def test_upstream_offsets_are_an_option() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    text = "Привет мир 北京"
    right = tokenizer.encode_batch([text], add_special_tokens=False)[0].offsets.tolist()
    upstream = tokenizer.encode_batch([text], add_special_tokens=False, upstream_offsets=True)[0].offsets.tolist()
    assert right == [[0, 6], [7, 10], [11, 12], [12, 13]]
    assert upstream == [[0, 1], [1, 11], [11, 12], [12, 13]]


def test_pairs_are_cut_from_the_longer_text() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    encoding = tokenizer.encode_batch(["中中中中中中"], ["国国国"], max_length=9)[0]
    assert tokenizer.decode(encoding.ids) == "[CLS] 中 中 中 [SEP] 国 国 国 [SEP]"
    assert encoding.type_ids.tolist() == [0] * 5 + [1] * 4
    assert encoding.sequence_ids.tolist() == [-1, 0, 0, 0, -1, 1, 1, 1, -1]
    assert encoding.special_tokens_mask.tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    shorter = tokenizer.encode_batch(["中中中中中中"], ["国国国"], max_length=8)[0]
    assert tokenizer.decode(shorter.ids) == "[CLS] 中 中 中 [SEP] 国 国 [SEP]"


def test_words_keep_their_numbers() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    first, second, third = tokenizer.encode_words([["unaffordable", "", "中国"], [], ["hello"]], max_length=20)
    assert tokenizer.decode(first[0].ids, skip_special_tokens=True) == "unaffordable 中 国"
    assert first[1].tolist() == [-1, 0, 0, 0, 0, 0, 0, 2, 2, -1]
    assert first[0].offsets.tolist()[-3:] == [[0, 1], [1, 2], [0, 0]]
    assert second[1].tolist() == [-1, -1]
    assert third[1].tolist() == [-1, 0, -1]
    cut = tokenizer.encode_words([["中国", "中国"]], max_length=5)[0]
    assert cut[1].tolist() == [-1, 0, 0, 1, -1]
    assert tokenizer.encode_words([]) == []


def test_empty_batches() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    assert tokenizer.encode_batch([]) == []
    assert [encoding.ids.tolist() for encoding in tokenizer.encode_batch(["", " \t"])] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda t: t.encode_batch("text"), "texts-type"),
        (lambda t: t.encode_batch(["a"], ["b", "c"]), "pairs-length"),
        (lambda t: t.encode_batch(["a"], max_length=1), "max-length"),
        (lambda t: t.encode_words([["a"]], max_length=1), "max-length"),
        (lambda t: t.bos_token_id, "no-special-token"),
    ],
)
def test_bad_calls_are_refused(call: object, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        call(tokenizer_of("ErnieTokenizer"))  # type: ignore[operator]
    assert caught.value.code == code


def test_many_texts_cross_the_chunks() -> None:
    tokenizer = sample("wordpiece")
    batch = ["今天 is a good day " * 40, "x", ""] * 300
    encodings = tokenizer.encode_batch(batch, max_length=64)
    assert len(encodings) == len(batch)
    alone = [tokenizer.encode_batch([text], max_length=64)[0].ids.tolist() for text in batch[:3]]
    assert all(encodings[index].ids.tolist() == alone[index % 3] for index in range(len(batch)))


def test_threads_share_a_tokenizer() -> None:
    tokenizer = load(VOCABS / "ernie", "ErnieTokenizer")
    batches = [
        [f"Привет unaffordable 今天 {index} é 안녕 word{index}" for index in range(n, n + 50)] for n in range(40)
    ]
    expected = [[e.ids.tolist() for e in tokenizer_of("ErnieTokenizer").encode_batch(batch)] for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        results = pool.map(lambda batch: [e.ids.tolist() for e in tokenizer.encode_batch(batch)], batches)
        assert list(results) == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_can_go_on() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    tokenizer.encode_batch(["今天 hello"] * 100)
    child = os.fork()
    if child == 0:
        same = tokenizer.encode_batch(["hello 今天"])[0].ids.tolist() == [1, 1707, 592, 534, 2]
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_pickle() -> None:
    tokenizer = load(VOCABS / "bert", "BertTokenizer", do_lower_case=False)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.tokenize("Hello World") == tokenizer.tokenize("Hello World") != ["hello", "world"]


def test_extend_chinese_char(tmp_path: Path) -> None:
    tokenizer = load(VOCABS / "ernie", "ErnieTokenizer")
    assert isinstance(tokenizer, ErnieTokenizer)
    before, old = len(tokenizer), set(tokenizer.vocab)
    ideographs = [token for token in tokenizer.vocab if len(token) == 1 and "\u4e00" <= token <= "\u9fff"]
    tokenizer.extend_chinese_char()
    added = [f"##{char}" for char in ideographs if f"##{char}" not in old]
    assert len(tokenizer) == before + len(added)
    assert tokenizer.convert_ids_to_tokens(range(before, len(tokenizer))) == added
    assert tokenizer.tokenize("a中国") == ["a", "中", "国"]
    tokenizer.extend_chinese_char()
    assert len(tokenizer) == before + len(added)
    tokenizer.save(tmp_path)
    assert load(tmp_path).vocab == tokenizer.vocab == pickle.loads(pickle.dumps(tokenizer)).vocab
