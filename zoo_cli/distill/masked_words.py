"""What a masked language model would write in the place of words, for the augmentation of TinyBERT.

As in the paper's code, the masked text is followed by the text itself as second segment: what the model proposes then
fits the sentence and means something near to the word that is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle

from zoo_cli import models, registry
from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.data.augment.words import Word, is_chinese, is_replaceable
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.engine.setup import load_tokenizer
from zoo_cli.models.checkpoint import load_config
from zoo_cli.tokenizers.base import Encoding
from zoo_cli.tokenizers.wordpiece import WordPieceTokenizer

_MASKED_LM = "zoo_cli.models.heads:MaskedLM"
_BATCH_TOKENS = 4096


class MaskedWords:
    """A masked language model that proposes words.

    Args:
        folder: model folder whose weights have a masked-LM head, of BERT or ERNIE or another family with WordPiece.

    Raises:
        UsageError: the family has no such head, or other tokens than WordPiece's (`no-masked-lm`).
        ArtifactError: the folder cannot be read, or its weights lack the head (`no-masked-lm-head`).
    """

    def __init__(self, folder: Path) -> None:
        spec = registry.family(load_config(folder).family)
        tokenizer = load_tokenizer(folder, spec.tokenizer)
        architecture = next((name for name, dotted in spec.architectures.items() if dotted == _MASKED_LM), None)
        if architecture is None or not isinstance(tokenizer, WordPieceTokenizer):
            raise UsageError(
                "no-masked-lm",
                "{family} does not propose words",
                at=Location.of(folder),
                fix="take a checkpoint of BERT or ERNIE",
                family=spec.name,
            )
        self._model = models.load(folder, architecture)
        report = self._model.load_report
        lacking = [name for name in (report.missing if report else ()) if not name.startswith(f"{spec.prefix}.")]
        if lacking:
            raise ArtifactError(
                "no-masked-lm-head",
                "the weights have no masked language model, {names} are missing",
                at=Location.of(folder),
                fix="take a checkpoint as it was pretrained",
                names=", ".join(lacking),
            )
        self._model.eval()
        self._tokenizer = tokenizer
        self._longest = self._model.config.max_position_embeddings
        tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
        known = np.arange(len(tokens)) < self._model.config.vocab_size
        useful = np.array([bool(token) and is_replaceable(token) for token in tokens]) & known
        chinese = np.array([bool(token) and is_chinese(token) for token in tokens])
        self._tokens = tokens
        self._usable = {script: np.flatnonzero(useful & (chinese == script)) for script in (False, True)}

    def __call__(
        self, texts: Sequence[str], words: Sequence[Sequence[Word]], count: int
    ) -> list[list[list[str] | None]]:
        """At most `count` words for each word that is one token, the likeliest first; None for all others.

        Args:
            texts: texts.
            words: words of each.
            count: most proposals for a word.
        """
        found: list[list[list[str] | None]] = [[None] * len(own) for own in words]
        asked = []
        encodings = self._tokenizer.encode_batch(texts, add_special_tokens=False)
        for text, (encoding, own) in enumerate(zip(encodings, words, strict=True)):
            tokens = {(start, end): index for index, (start, end) in enumerate(encoding.offsets.tolist())}
            for number, word in enumerate(own):
                token = tokens.get((word.start, word.end))
                if token is not None and encoding.ids[token] != self._tokenizer.unk_token_id:
                    asked.append((text, number, *self._question(encoding, token)))
        asked.sort(key=lambda each: len(each[2]))  # stable, so that the same texts make the same batches
        for start, end in _batches([len(ids) for _, _, ids, *_ in asked]):
            batch = asked[start:end]
            answers = self._best([each[2:] for each in batch], [words[each[0]][each[1]] for each in batch], count)
            for (text, number, *_), answer in zip(batch, answers, strict=True):
                found[text][number] = answer
        return found

    def _question(self, encoding: Encoding, token: int) -> tuple[np.ndarray, np.ndarray, int, int]:
        """Ids and types of the model's input, the place of the mask, and the id that it hides."""
        cls, sep = self._tokenizer.cls_token_id, self._tokenizer.sep_token_id
        ids, hidden = encoding.ids, int(encoding.ids[token])
        room = self._longest - 2
        first = 0
        if len(ids) > room:  # the part around the word
            first = min(max(0, token - room // 2), len(ids) - room)
            ids = ids[first : first + room]
        masked = ids.copy()
        masked[token - first] = self._tokenizer.mask_token_id
        question = np.array([cls, *masked, sep], np.int64)
        length = len(question)
        if length + len(ids) + 1 <= self._longest:
            question = np.array([*question, *ids, sep], np.int64)
        return question, (np.arange(len(question)) >= length).astype(np.int64), token - first + 1, hidden

    def _best(
        self, questions: Sequence[tuple[np.ndarray, np.ndarray, int, int]], words: Sequence[Word], count: int
    ) -> list[list[str]]:
        width = max(len(ids) for ids, *_ in questions)
        batch = {
            "input_ids": np.full((len(questions), width), self._tokenizer.pad_token_id, np.int64),
            "token_type_ids": np.zeros((len(questions), width), np.int64),
            "attention_mask": np.zeros((len(questions), width), np.int64),
        }
        for row, (ids, types, *_) in enumerate(questions):
            batch["input_ids"][row, : len(ids)] = ids
            batch["token_type_ids"][row, : len(ids)] = types
            batch["attention_mask"][row, : len(ids)] = 1
        places = np.array([row * width + place for row, (_, _, place, _) in enumerate(questions)], np.int64)
        with explain_memory(batch), paddle.no_grad():
            result = self._model(**to_tensors(batch), masked_positions=paddle.to_tensor(places))
        logits = result.logits.numpy()
        best = []
        for scores, (*_, hidden), word in zip(logits, questions, words, strict=True):
            usable = self._usable[is_chinese(word.text)]
            usable = usable[usable != hidden]
            order = np.argsort(-scores[usable], kind="stable")[:count]
            best.append([self._tokens[index] for index in usable[order]])
        return best


def _batches(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Where to cut questions that are sorted by length into batches of about the same size."""
    found, start = [], 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and lengths[end] * (end + 1 - start) <= _BATCH_TOKENS:
            end += 1
        found.append((start, end))
        start = end
    return found
