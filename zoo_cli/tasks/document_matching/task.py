"""Choosing the most similar of long texts."""

from __future__ import annotations

from zoo_cli.data.examples import ChoiceExample
from zoo_cli.tasks.document_matching.spec import DocumentMatchingOptions
from zoo_cli.tasks.document_multiple_choice.task import DocumentMultipleChoiceTask
from zoo_cli.tasks.documents import framed
from zoo_cli.tasks.features import windows
from zoo_cli.tasks.matching.task import MatchingTask
from zoo_cli.tokenizers.base import Encoding


class DocumentMatchingTask(DocumentMultipleChoiceTask, MatchingTask):
    """Which of several texts of any length is most like another one; answers are those of matching.

    A segment is [CLS], a stretch of the text, [SEP], the stretch of a candidate at the same place, [SEP], and padding;
    the second stretch has type 1. Where one text ends before the other its last stretch is read again (PaddleNLP's
    script cuts all texts to the length of the shortest instead).
    """

    name = "document_matching"
    options: DocumentMatchingOptions  # type: ignore[assignment]

    def _segments(self, example: ChoiceExample, choice: str) -> list[Encoding]:
        options, cls, sep = self.options, self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        room, stride = (options.max_length - 3) // 2, self.stride(options.stride)
        texts = self.tokenizer.encode_batch([example.context, choice], add_special_tokens=False)
        left, right = ([window.encoding for window in windows(text, 0, room, stride)] for text in texts)
        segments = []
        for number in range(max(len(left), len(right))):
            one, other = (each[min(number, len(each) - 1)] for each in (left, right))
            segment = framed(cls, one, sep, other, sep)
            segment.type_ids[len(one.ids) + 2 :] = 1
            segments.append(segment)
        return segments
