"""Replays recorded results of PaddleNLP's tokenizers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ZooError
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.loading import tokenizer_class
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.unified_transformer import UnifiedTransformerTokenizer
from zoo_cli.tokenizers.unimo import UNIMOTokenizer
from zoo_cli.tokenizers.wordpiece import WordPieceTokenizer

Result = tuple[str, bool, str]

VOCABULARIES = {
    "BertTokenizer": "bert",
    "TinyBertTokenizer": "bert",
    "ElectraTokenizer": "bert",
    "ErnieTokenizer": "ernie",
    "ErnieDocTokenizer": "ernie",
    "UNIMOTokenizer": "unimo",
    "ErnieMTokenizer": "ernie_m",
    "UnifiedTransformerTokenizer": "unified_transformer",
    "GPTTokenizer": "gpt",
    "GPTChineseTokenizer": "gpt_cn",
    "ErnieDocBPETokenizer": "ernie_doc_en",
}


def replay_tokenizer(path: Path, vocabs: Path) -> list[Result]:
    """Compare a tokenizer with the results recorded in a file.

    Args:
        path: the file. An entry `{"error": ...}` says that PaddleNLP raises there, and is not compared.
        vocabs: folder with a folder for each vocabulary, named like the file or as in `VOCABULARIES`.

    Returns:
        For each recorded case its name, whether all of it is the same, and the differences.
    """
    golden = json.loads(path.read_text(encoding="utf-8"))
    tokenizer = _load(golden, path.stem, vocabs)
    return [_compare(name, wanted, made) for name, wanted, made in _cases(golden, tokenizer)]


def _load(golden: Mapping[str, Any], name: str, vocabs: Path) -> PretrainedTokenizer:
    kind = tokenizer_class(golden["class"])
    folder = vocabs / name if (vocabs / name).is_dir() else vocabs / VOCABULARIES[golden["class"]]
    config: dict[str, Any] = {}
    if issubclass(kind, WordPieceTokenizer):
        specials = set(golden["all_special_tokens"])
        tokens = {token for case in golden["cases"] for token in case["tokens"]} - specials
        config["do_lower_case"] = all(token == token.lower() for token in tokens)
    return load(folder, golden["class"], **config)


Recorded = Mapping[str, Any]
Made = Mapping[str, Callable[[], Any]]


def _cases(golden: Recorded, t: PretrainedTokenizer) -> Iterator[tuple[str, Recorded, Made]]:
    """Name, recorded results and how to make them, of each case."""
    yield "attributes", golden, _attributes(golden, t)
    for index, case in enumerate(golden["cases"]):
        yield f"cases/{index} {case['text'][:40]!r}", case, _text(case, t)
    for index, case in enumerate(golden.get("pairs", [])):
        yield f"pairs/{index}", case, _pair(case, t)
    if "batch" in golden:
        batch = golden["batch"]
        yield "batch", batch, _batch(batch, t)
        if "split_words" in batch:
            words = batch["split_words"]["words"]
            made: Made = {
                "encoded": lambda: t(words, is_split_into_words=True),
                "encoded_list": lambda: t([words, words[:2]], is_split_into_words=True),
            }
            yield "batch/split_words", batch["split_words"], made
    if isinstance(t, UNIMOTokenizer):
        for index, case in enumerate(golden.get("gen_encode", [])):
            yield f"gen_encode/{index}", case, {"encoded": lambda c=case: t.gen_encode(c["source"], **c["kwargs"])}
    if isinstance(t, UnifiedTransformerTokenizer):
        for index, case in enumerate(golden.get("dialogue_encode", [])):
            yield (
                f"dialogue_encode/{index}",
                case,
                {"encoded": lambda c=case: t.dialogue_encode(c["history"], **c["kwargs"])},
            )
    for index, case in enumerate(golden.get("ids_to_string", [])):
        yield f"ids_to_string/{index}", case, {"text": lambda c=case: t.convert_ids_to_string(c["ids"])}  # type: ignore[attr-defined]


def _attributes(golden: Recorded, t: PretrainedTokenizer) -> Made:
    made: dict[str, Callable[[], Any]] = {
        name: (lambda name=name: getattr(t, name))
        for name in (
            "model_input_names",
            "padding_side",
            "truncation_side",
            "vocab_size",
            "resource_files_names",
            "eol_token_id",
        )
    }
    made["len"] = lambda: t.vocab_size + len(t.added_tokens)
    # GPT's one special token is listed twice there.
    made["all_special_tokens"] = lambda: [
        token for token in golden["all_special_tokens"] if token in t.all_special_tokens
    ]
    made["special"] = lambda: {name: [token, t.special_token_id(name)] for name, token in t.special_tokens.items()}
    return made


def _text(case: Recorded, t: PretrainedTokenizer) -> Made:
    text = case["text"]
    ids = case.get("encoded", {}).get("input_ids", [])
    return {
        "tokens": lambda: t.tokenize(text),
        "ids": lambda: t.convert_tokens_to_ids(t.tokenize(text)),
        "encoded": lambda: t(text),
        "offsets": lambda: t.offsets(text),
        "decoded": lambda: t.decode(ids),
        "decoded_skip": lambda: t.decode(ids, skip_special_tokens=True),
        "tokens_to_string": lambda: t.convert_tokens_to_string(t.tokenize(text)),
        # Not recorded, but what everything else uses.
        "encode_batch": lambda: t.encode_batch([text], upstream_offsets=True)[0].ids,
    }


def _pair(case: Recorded, t: PretrainedTokenizer) -> Made:
    def call(**options: Any) -> Callable[[], Any]:
        return lambda: t(case["text"], case["pair"], **options)

    return {
        "encoded": call(
            return_attention_mask=True,
            return_length=True,
            return_offsets_mapping=True,
            return_position_ids=True,
            return_special_tokens_mask=True,
        ),
        "max_length_no_truncation_flag_12": call(max_length=12),
        "max_seq_len_12": call(max_seq_len=12),
        "padded_max_length_40": call(
            max_length=40, padding="max_length", return_attention_mask=True, return_position_ids=True
        ),
        "truncated_longest_first_12": call(max_length=12, truncation="longest_first", return_offsets_mapping=True),
        "truncated_only_first_12": call(max_length=12, truncation="only_first"),
        "truncated_only_second_12": call(max_length=12, truncation="only_second"),
    }


def _batch(case: Recorded, t: PretrainedTokenizer) -> Made:
    texts = case["texts"]
    return {
        "not_padded": lambda: t(texts),
        "padded": lambda: t(texts, padding=True, return_attention_mask=True),
        "padded_multiple_of_8": lambda: t(texts[:3], padding=True, pad_to_multiple_of=8),
        "return_dict_false": lambda: t(texts[:2], return_dict=False),
        "truncated_8": lambda: t(texts, max_length=8, padding="max_length", truncation=True),
        "sliding_window": lambda: t(
            [case["question"]], [case["context"]], max_length=14, stride=4, return_attention_mask=True
        ),
    }


def _compare(name: str, wanted: Recorded, made: Made) -> Result:
    differences = []
    for key, make in made.items():
        expected = wanted.get("encoded", {}).get("input_ids") if key == "encode_batch" else wanted.get(key)
        if expected is None or (isinstance(expected, dict) and "error" in expected):
            continue
        try:
            got = _plain(make())
        except ZooError as error:
            got = f"{type(error).__name__}: {error}"
        if isinstance(expected, dict) and isinstance(got, dict):
            expected, got = _without_broken_mask(expected, got)
        if got != expected:
            differences.append(f"{key}: expected {_short(expected)}, got {_short(got)}")
    return name, not differences, "; ".join(differences)


def _without_broken_mask(expected: dict[str, Any], got: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """PaddleNLP's UNIMO tokenizer gives a mask of special tokens that leaves them out; it is not compared."""
    mask = expected.get("special_tokens_mask")
    if mask is None or len(mask) == len(expected["input_ids"]):
        return expected, got
    return (
        {key: value for key, value in expected.items() if key != "special_tokens_mask"},
        {key: value for key, value in got.items() if key != "special_tokens_mask"},
    )


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "..."
