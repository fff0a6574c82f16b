"""UnifiedTransformer's tokenizer (PLATO-mini, PLATO-XL): SentencePiece on cleaned text, and inputs for dialogues.

Source: "PLATO-XL: Exploring the Large-scale Pre-training of Dialogue Generation", Bao et al. 2021, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.tokenizers.prefix_lm import prefix_inputs
from zoo_cli.tokenizers.segments import (
    UNDERLINE,
    SegmentedTokenizer,
    Tokens,
    load_sentencepiece,
    original_span,
    sentence_pieces,
)
from zoo_cli.tokenizers.vocabulary import ResourceFile, read_vocabulary
from zoo_cli.tokenizers.words import cut_words

_QUOTES = {"“": '"', "”": '"', "‘": "'", "’": "'", "—": "-"}
_TASK_TOKENS = {"chitchat": "[CHAT]", "knowledge": "[KNOW]", "recommend": "[RECO]"}
_ROLE_MARK = "\x01"


class UnifiedTransformerTokenizer(SegmentedTokenizer):
    """Tokenizer of PLATO-mini, PLATO-XL and the unified_transformer checkpoints. It pads on the left, with [UNK].

    Args:
        files: `vocab_file`, lines `token<TAB>id` or one token a line, and `sentencepiece_model_file`.
        config: `do_lower_case` (default false) and names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {
        "vocab_file": "vocab.txt",
        "sentencepiece_model_file": "spm.model",
    }
    default_special_tokens: ClassVar[Mapping[str, str]] = {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[UNK]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    }
    padding_side: ClassVar[str] = "left"

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(files, config, added_tokens)
        self.do_lower_case = bool(self.config.get("do_lower_case", False))
        self._processor = load_sentencepiece(files["sentencepiece_model_file"])

    def read_vocab(self) -> dict[str, int]:
        return read_vocabulary(self.files["vocab_file"], with_ids=True)

    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        chunks: list[str] = []
        places: list[list[int]] = []
        counts = []
        for segment in segments:
            found = self._chunks(segment)
            chunks += [chunk for chunk, _ in found]
            places += [place for _, place in found]
            counts.append(len(found))
        pieces = iter(zip(sentence_pieces(self._processor, chunks), places, strict=True))
        results = []
        for count in counts:
            result = Tokens([], [], [])
            for _ in range(count):
                tokens, place = next(pieces)
                result.tokens += tokens.tokens
                result.offsets += [original_span(span, place) for span in tokens.offsets]
            result.ids = self.convert_tokens_to_ids(result.tokens)
            results.append(result)
        return results

    def _chunks(self, text: str) -> list[tuple[str, list[int]]]:
        """Cleaned words of a text, with the place of each character."""
        chunks: list[tuple[str, list[int]]] = []
        chars: list[str] = []
        place: list[int] = []
        for index, char in enumerate(text):
            for part in _clean(char, self.do_lower_case):
                if not part.isspace():
                    chars.append(part)
                    place.append(index)
                elif chars:
                    chunks.append(("".join(chars), place))
                    chars, place = [], []
        if chars:
            chunks.append(("".join(chars), place))
        return chunks

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return " ".join(word for word in "".join(tokens).split(UNDERLINE) if word)

    def dialogue_encode(
        self,
        history: str | Sequence[str],
        response: str | None = None,
        knowledge: str | None = None,
        task_type: str | None = None,
        max_seq_len: int = 512,
        max_response_len: int = 128,
        max_knowledge_len: int = 128,
        return_position_ids: bool = True,
        return_token_type_ids: bool = True,
        return_role_ids: bool = False,
        return_attention_mask: bool = True,
        return_length: bool = False,
        add_start_token_as_response: bool = False,
        pad_to_max_seq_len: bool = False,
        is_split_into_words: bool = True,
        position_style: str = "continuous",
    ) -> dict[str, Any]:
        """Inputs for a dialogue: [CLS] (task) (knowledge [SEP]) turn [SEP] turn [SEP] ... and [CLS] response [SEP].

        Args:
            history: turns, the last one last, or a single turn. With `return_role_ids` a turn may end in `\\x01` and
                the number of its role; else the roles alternate and the last turn has role 1. Turns that do not fit
                are left out from the front; a last turn that is too long alone keeps its end.
            response: answer to learn, possibly with a role (default 0).
            knowledge: text in front of the turns.
            task_type: `chitchat`, `knowledge`, `recommend`, or None.
            max_seq_len, max_response_len, max_knowledge_len: most tokens of all, the response and the knowledge, with
                their special tokens.
            return_position_ids, return_token_type_ids, return_role_ids, return_attention_mask, return_length: fields to
                give.
            add_start_token_as_response: end with the [CLS] that generation starts from, if there is no response.
            pad_to_max_seq_len: pad on the left; `role_ids` are not padded, as in PaddleNLP.
            is_split_into_words: the texts' words are separated by spaces already; else jieba finds them.
            position_style: `continuous`, or `relative` for positions that count down to the response.

        Returns:
            See `prefix_inputs`; `role_ids` are int64 [S].

        Raises:
            UsageError: there is no such `task_type` or `position_style`, or no room for the turns.
            PlatformError: words must be found and jieba is not installed.
        """
        if position_style not in ("continuous", "relative") or (task_type and task_type not in _TASK_TOKENS):
            raise UsageError(
                "bad-choice",
                "task_type is {task_type!r} and position_style is {position_style!r}",
                fix="task types are {tasks}, position styles continuous and relative",
                task_type=task_type,
                position_style=position_style,
                tasks=", ".join(_TASK_TOKENS),
            )
        cls, sep = self.cls_token_id, self.sep_token_id

        def encode(text: str) -> list[int]:
            words = text if is_split_into_words else " ".join(cut_words(text))
            return [int(index) for index in self.encode_pieces([words]).ids]

        context = [cls, *([self.convert_token_to_id(_TASK_TOKENS[task_type])] if task_type else [])]
        if knowledge:
            context += [*encode(knowledge)[: max_knowledge_len - 1], sep]
        answer: list[int] = []
        answer_role = 0
        if response:
            response, answer_role = _role(response, 0) if return_role_ids else (response, 0)
            answer = [*[cls, *encode(response)][: max_response_len - 1], sep]
        elif add_start_token_as_response:
            answer = [cls]

        room = max_seq_len - len(context) - len(answer)
        if room < 1:
            raise UsageError("max-length", "max_seq_len {limit} leaves no room for the turns", limit=max_seq_len)
        turns = [history] if isinstance(history, str) else list(history)
        prompt: list[int] = []
        roles: list[int] = []
        for age, turn in enumerate(reversed(turns)):
            role = (age + 1) % 2
            turn, role = _role(turn, role) if return_role_ids else (turn, role)
            ids = encode(turn)
            too_long = len(prompt) + len(ids) + 1 > room
            if too_long and age > 0:
                break
            if too_long:
                ids = ids[len(ids) - (room - 1) :]
            prompt = [*ids, sep, *prompt]
            roles = [role] * (len(ids) + 1) + roles
            if too_long:
                break
        prompt = context + prompt
        roles = [0] * len(context) + roles + [answer_role] * len(answer)

        positions = list(range(len(prompt) + len(answer)))
        if position_style == "relative":
            last = max_response_len + len(prompt) - 1
            positions = [*(last - index for index in range(len(prompt))), *range(len(answer))]
        inputs = prefix_inputs(
            prompt,
            answer,
            positions,
            self.pad_token_id,
            max_seq_len if pad_to_max_seq_len else None,
            with_types=return_token_type_ids,
            with_positions=return_position_ids,
            with_mask=return_attention_mask,
            with_length=return_length,
        )
        if return_role_ids:
            inputs["role_ids"] = np.array(roles, np.int64)
        return inputs


def _role(text: str, default: int) -> tuple[str, int]:
    """A turn without its role, and the role."""
    turn, mark, role = text.partition(_ROLE_MARK)
    if not mark:
        return text, default
    if not role.strip().isdecimal():
        raise UsageError("bad-role", "the role of a turn is {role!r}, not a number", role=role)
    return turn, int(role)


@lru_cache(maxsize=1 << 16)
def _clean(char: str, lower: bool) -> str:
    """A character as SentencePiece is to see it, possibly several or none; white space as a space."""
    form = "".join(part for part in unicodedata.normalize("NFKD", char) if not unicodedata.combining(part))
    form = _QUOTES.get(form, form)
    form = form.lower() if lower else form
    return "".join(
        part for part in form if part.isspace() or (part != "\0" and not unicodedata.category(part).startswith("C"))
    )
