"""Loading from folders and files of several origins, saving, and what is said about broken ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tokenizers.vocabularies import KINDS, VOCABS, tokenizer_of
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.loading import TOKENIZERS, tokenizer_class

TEXTS = ["Hello, World! 今天天气 2023", "[MASK] é ΣΑΣ", "  a  b "]
SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]


def _vocab(folder: Path, *tokens: str) -> Path:
    path = folder / "vocab.txt"
    path.write_text("".join(f"{token}\n" for token in (*SPECIALS, *tokens)), encoding="utf-8")
    return path


def test_every_class_loads_lazily() -> None:
    assert all(tokenizer_class(name).__name__ == name for name in TOKENIZERS)


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_changes_nothing(kind: str, tmp_path: Path) -> None:
    tokenizer = load(VOCABS / KINDS[kind], kind, extra="kept")
    tokenizer.save(tmp_path / "saved")
    again = load(tmp_path / "saved")
    assert type(again) is type(tokenizer) and len(again) == len(tokenizer)
    assert again.config == {"extra": "kept", "tokenizer_class": kind}
    for name in tokenizer.resource_files_names.values():
        assert (tmp_path / "saved" / name).read_bytes() == (VOCABS / KINDS[kind] / name).read_bytes()
    for one, two in zip(tokenizer.encode_batch(TEXTS), again.encode_batch(TEXTS), strict=True):
        assert one.ids.tolist() == two.ids.tolist()


@pytest.mark.parametrize(
    ("name", "expected"), [("BertTokenizerFast", "BertTokenizer"), ("GPT2Tokenizer", "GPTTokenizer")]
)
def test_hugging_face_names(name: str, expected: str) -> None:
    assert tokenizer_class(name).__name__ == expected


def test_a_vocabulary_file_alone() -> None:
    path = VOCABS / "ernie" / "vocab.txt"
    assert load(path, "ErnieTokenizer").tokenize("HELLO 中") == ["hello", "中"]
    assert load(path, "ErnieTokenizer", do_lower_case=False).tokenize("hello HELLO")[0] == "hello"
    with pytest.raises(UsageError, match=r"sentencepiece\.bpe\.model"):
        load(VOCABS / "ernie_m" / "vocab.txt", "ErnieMTokenizer")


def test_hugging_face_folder(tmp_path: Path) -> None:
    _vocab(tmp_path, "hello", "world")
    config = {
        "tokenizer_class": "BertTokenizerFast",
        "do_lower_case": True,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "mask_token": {"content": "[MASK]", "lstrip": False},
        "added_tokens_decoder": {
            "0": {"content": "[PAD]", "special": True},
            "7": {"content": "<extra>", "special": False},
        },
        "model_max_length": 512,
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"additional_special_tokens": ["[X]"]}))
    tokenizer = load(tmp_path)
    assert tokenizer.tokenize("Hello<extra>World [X] [x]")[:4] == ["hello", "<extra>", "world", "[X]"]
    assert tokenizer.added_tokens == {"<extra>": 7, "[X]": 8}
    assert len(tokenizer) == 9 and tokenizer.vocab_size == 7
    assert tokenizer.decode([5, 7, 6, 8], skip_special_tokens=True) == "hello <extra> world"
    tokenizer.save(tmp_path / "again")
    assert load(tmp_path / "again").encode_batch(["a <extra> [X]"])[0].ids.tolist() == [1, 3, 7, 8, 2]


def test_accents_and_ideographs_can_be_kept(tmp_path: Path) -> None:
    path = _vocab(tmp_path, "é", "e", "中国")
    assert load(path, "BertTokenizer", strip_accents=False).tokenize("É") == ["é"]
    assert load(path, "BertTokenizer").tokenize("É") == ["e"]
    assert load(path, "BertTokenizer", tokenize_chinese_chars=False).tokenize("中国") == ["中国"]


def test_added_tokens_must_not_take_ids(tmp_path: Path) -> None:
    _vocab(tmp_path, "a")
    (tmp_path / "added_tokens.json").write_text('{"<new>": 2}')
    with pytest.raises(ArtifactError) as caught:
        load(tmp_path, "BertTokenizer")
    assert caught.value.code == "broken-vocabulary" and "added_tokens.json" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"[PAD]\n[CLS]\n[PAD]\n", 3, "second time"),
        (b"[PAD]\n\n[CLS]\n", 2, "empty"),
        (b"[PAD]\n[CLS]\n\xff\xfe\n", 3, "UTF-8"),
        (b"", None, "empty"),
        (b"[PAD]\n[CLS]\n[SEP]\n", None, "[UNK]"),
    ],
)
def test_broken_vocabularies_are_located(content: bytes, line: int | None, words: str, tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load(tmp_path, "ErnieTokenizer")
    assert caught.value.code == "broken-vocabulary"
    assert caught.value.at is not None and caught.value.at.line == line
    assert words in str(caught.value) and "vocab.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "words"), [("x\t3", "second time"), ("中\tno", "expected a token"), ("中\t1", "second time")]
)
def test_broken_ids(row: str, words: str, tmp_path: Path) -> None:
    lines = [f"{token}\t{index}" for index, token in enumerate((*SPECIALS, "x"))]
    (tmp_path / "vocab.txt").write_text("\n".join([*lines, row]), encoding="utf-8")
    with pytest.raises(ArtifactError, match=words) as caught:
        load(tmp_path, "UNIMOTokenizer")
    assert caught.value.at is not None and caught.value.at.line == 7


@pytest.mark.parametrize("kind", KINDS)
def test_each_missing_file_is_named(kind: str, tmp_path: Path) -> None:
    for index, name in enumerate(tokenizer_class(kind).resource_files_names.values()):
        folder = tmp_path / str(index)
        shutil.copytree(VOCABS / KINDS[kind], folder)
        (folder / name).unlink()
        with pytest.raises(ArtifactError) as caught:
            load(folder, kind)
        assert caught.value.code == "missing-file" and name in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [
        ("GPTTokenizer", "vocab.json", "{"),
        ("GPTTokenizer", "vocab.json", '{"a": "b"}'),
        ("GPTTokenizer", "vocab.json", '{"<|endoftext|>": 0, "b": 0}'),
        ("GPTTokenizer", "merges.txt", "#version\na b c\n"),
        ("GPTTokenizer", "merges.txt", "#version\nno such\n"),
        ("ErnieMTokenizer", "sentencepiece.bpe.model", "not a model"),
        ("GPTChineseTokenizer", "sentencepiece.model", ""),
    ],
)
def test_broken_files_of_other_kinds(kind: str, name: str, content: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(VOCABS / KINDS[kind], folder)
    (folder / name).chmod(0o644)
    (folder / name).write_text(content)
    with pytest.raises(ArtifactError) as caught:
        load(folder, kind)
    assert caught.value.code == "broken-vocabulary" and name in str(caught.value)


def test_the_last_merge_needs_a_line_break(tmp_path: Path) -> None:
    shutil.copytree(VOCABS / "gpt", tmp_path / "gpt")
    merges = tmp_path / "gpt" / "merges.txt"
    merges.chmod(0o644)
    merges.write_text("#version: 0.2\nh e\nl l")
    assert load(tmp_path / "gpt", "GPTTokenizer").tokenize("hell") == ["he", "l", "l"]


def test_unknown_classes_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ErnieTokenizer"):
        load(VOCABS / "ernie", "NoTokenizer")
    with pytest.raises(UsageError) as caught:
        load(VOCABS / "ernie")
    assert caught.value.code == "no-tokenizer-class"
    with pytest.raises(ArtifactError):
        load(tmp_path / "nowhere", "ErnieTokenizer")


def test_missing_special_tokens_are_errors_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[CLS]\n[SEP]\n[UNK]\n")
    tokenizer = load(path, "ErnieTokenizer")
    with pytest.raises(UsageError, match="mask token"):
        _ = tokenizer.mask_token_id
    with pytest.raises(UsageError, match="pad token"):
        _ = tokenizer_of("GPTChineseTokenizer").pad_token_id
