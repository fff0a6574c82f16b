"""Vocabularies trained on text: loadable, of the size that was asked for, and the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.corpus.corpora import sentences, write_text
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.cli.corpus import app
from zoo_cli.data.corpus.reading import ReadingOptions
from zoo_cli.data.corpus.vocabulary import KINDS, VocabularyOptions, train_vocabulary
from zoo_cli.tokenizers import load


@pytest.mark.parametrize("name", sorted(KINDS))
def test_trained_tokenizers_are_loaded_and_know_their_text(tmp_path: Path, name: str) -> None:
    if name == "GPTChineseTokenizer":
        pytest.importorskip("jieba")
    source = tmp_path / "a.txt"
    source.write_text("\n".join(sentences() * 3), encoding="utf-8")
    options = VocabularyOptions(name, 2500)
    report = train_vocabulary([source], tmp_path / "one", ReadingOptions(), options)
    train_vocabulary([source], tmp_path / "two", ReadingOptions(), options)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)
    tokenizer = load(tmp_path / "one")
    assert type(tokenizer).__name__ == name
    assert len(tokenizer) == report["size"] <= 2500
    encoded = tokenizer.encode_batch(sentences(), add_special_tokens=False)
    unknown = sum(int((one.ids == tokenizer.unk_token_id).sum()) for one in encoded)
    assert unknown <= 0.002 * sum(len(one.ids) for one in encoded)
    assert sum(len(one.ids) for one in encoded) < sum(map(len, sentences()))


def test_wordpiece_keeps_the_most_frequent_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("中中中文文\n国\nThe theme, the thesis; über €5\n" * 3, encoding="utf-8")
    options = VocabularyOptions("BertTokenizer", 100, min_frequency=1, alphabet=12)
    train_vocabulary([tmp_path / "a.txt"], tmp_path / "v", ReadingOptions(), options)
    tokens = (tmp_path / "v" / "vocab.txt").read_text(encoding="utf-8").split()
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "中", "文", "the", "h", "##h"} <= set(tokens)
    assert "##中" not in tokens
    assert len([token for token in tokens if len(token) == 1]) == 12
    cased = VocabularyOptions("BertTokenizer", 100, lower_case=False, min_frequency=1)
    train_vocabulary([tmp_path / "a.txt"], tmp_path / "cased", ReadingOptions(), cased)
    assert "The" in (tmp_path / "cased" / "vocab.txt").read_text(encoding="utf-8").split()
    assert load(tmp_path / "cased").tokenize("The €5") == ["The", "€", "5"]


def test_what_is_refused(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 20)

    def train(name: str, size: int, path: Path = source) -> None:
        train_vocabulary([path], tmp_path / "v", ReadingOptions(), VocabularyOptions(name, size))

    with pytest.raises(UsageError, match="choose one of"):
        train("ErnieDocBPETokenizer", 500)
    with pytest.raises(UsageError, match="at least 257"):
        train("GPTTokenizer", 200)
    with pytest.raises(UsageError, match="characters of the text"):
        train("ErnieTokenizer", 50)
    (tmp_path / "empty.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="no text"):
        train("ErnieTokenizer", 500, tmp_path / "empty.txt")
    assert not (tmp_path / "v").exists()
    train("ErnieTokenizer", 900)
    with pytest.raises(UsageError, match="there already"):
        train("ErnieTokenizer", 900)


def test_sentencepiece_learns_from_a_sample(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 400)
    few = VocabularyOptions("ErnieMTokenizer", 800, sample_sentences=60)
    other = VocabularyOptions("ErnieMTokenizer", 800, sample_sentences=60, seed=1)
    for name, options in (("a", few), ("b", few), ("c", other)):
        train_vocabulary([source], tmp_path / name, ReadingOptions(), options)
    one, same, another = ((tmp_path / name / "vocab.txt").read_bytes() for name in "abc")
    assert one == same != another


def test_command_line(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 50)
    arguments = ["vocab", str(source), "-o", str(tmp_path / "v"), "--size", "900", "--json"]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert '"tokenizer": "ErnieTokenizer"' in result.stdout
    assert (tmp_path / "v" / "vocab.txt").is_file()
