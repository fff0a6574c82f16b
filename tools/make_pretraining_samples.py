"""Make the sample data of pretraining beside the corpora: translated pairs, and prompts with answers.

    python tools/make_pretraining_samples.py [FOLDER]

FOLDER defaults to `zoo_cli/data/samples`. The pairs are put together from the templates and words below, which were
written for this project; the prompts are those that fine-tuning makes of the doccano sample. The same files come out
each time.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random

from zoo_cli.data.conversion import ConversionOptions, convert
from zoo_cli.data.readers import read

ROOT = Path(__file__).resolve().parent.parent
PAIRS = 240

TEMPLATES = (
    ("{person} is reading a {thing} in the {place} .", "{person}在{place}看{thing}。"),
    ("{person} bought a {thing} {time} .", "{person}{time}买了一个{thing}。"),
    ("{time} {person} came to the {place} .", "{time}{person}来到{place}。"),
    ("the {thing} in the {place} is {quality} .", "{place}里的{thing}很{quality}。"),
    ("{person} likes the {quality} {thing} .", "{person}喜欢{quality}的{thing}。"),
    ("we saw a {quality} film {time} .", "我们{time}看了一部{quality}的电影。"),
)
WORDS = {
    "person": {"she": "她", "the teacher": "老师", "the doctor": "医生", "my friend": "我的朋友", "a student": "学生"},
    "thing": {"book": "书", "picture": "画", "letter": "信", "phone": "手机", "story": "故事"},
    "place": {"school": "学校", "hospital": "医院", "company": "公司", "city": "城市", "shop": "商店"},
    "time": {"yesterday": "昨天", "last night": "昨天晚上", "this morning": "今天早上", "last year": "去年"},
    "quality": {"new": "新", "good": "好", "beautiful": "美丽", "interesting": "有意思", "funny": "好笑"},
}


def pairs(seed: int = 0) -> str:
    """English and Chinese, with a tab between them."""
    random = Random(seed)
    lines = []
    for _ in range(PAIRS):
        english, chinese = random.choice(TEMPLATES)
        words = {name: random.choice(list(table.items())) for name, table in WORDS.items()}
        lines.append(
            english.format(**{name: word[0] for name, word in words.items()})
            + "\t"
            + chinese.format(**{name: word[1] for name, word in words.items()})
        )
    return "\n".join(lines) + "\n"


def prompts(annotations: Path) -> str:
    """Lines of prompts, with and without answers."""
    rows = [
        {
            "content": each.content,
            "prompt": each.prompt,
            "result_list": [{"text": span.text, "start": span.start, "end": span.end} for span in each.spans],
        }
        for each in convert(list(read(annotations, "doccano")), ConversionOptions(negative_ratio=1), True)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "zoo_cli" / "data" / "samples"
    for name, text in (
        ("parallel/en-zh.tsv", pairs()),
        ("prompts/train.jsonl", prompts(folder / "doccano" / "train.jsonl")),
    ):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
