"""Characters per processor second of tokenizing a batch, for every sample tokenizer and for others to compare with.

    python benchmarks/tokenizer_speed.py [--texts FILE] [--vocab FOLDER] [--paddlenlp PYTHON]

Processor time is that of all threads of the process, so that a library is not rewarded for taking more cores. The
other libraries get ERNIE's WordPiece vocabulary: Hugging Face's `tokenizers`, and PaddleNLP in the Python interpreter
named by `--paddlenlp`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import BertWordPieceTokenizer

from zoo_cli.tokenizers import load

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "zoo_cli" / "data" / "samples" / "vocab"
SENTENCES = ROOT / "tools" / "sample_sentences.txt"

PADDLENLP = """
import json, sys, time
from paddlenlp.transformers import ErnieTokenizer
vocab, path, limit = sys.argv[1:]
texts = json.load(open(path, encoding="utf-8"))[:int(limit)]
tokenizer = ErnieTokenizer.from_pretrained(vocab)
tokenizer(texts[:10], max_length=128, return_offsets_mapping=True)
start = time.process_time()
tokenizer(texts, max_length=128, return_offsets_mapping=True)
print(json.dumps(sum(map(len, texts)) / (time.process_time() - start)))
"""


def speed(encode: Callable[[Sequence[str]], object], texts: Sequence[str], repeats: int = 3) -> float:
    """Best of some runs, in characters per processor second."""
    encode(texts[:100])
    times = []
    for _ in range(repeats):
        start = time.process_time()
        encode(texts)
        times.append(time.process_time() - start)
    return sum(map(len, texts)) / min(times)


def paddlenlp_speed(python: str, vocab: Path, texts: Sequence[str]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.json"
        path.write_text(json.dumps(texts), encoding="utf-8")
        command = [python, "-c", PADDLENLP, str(vocab), str(path), "2000"]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(result.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--texts", type=Path, help="file with one text a line; default: sample sentences, joined by threes"
    )
    parser.add_argument("--vocab", type=Path, default=SAMPLES / "wordpiece", help="folder of ERNIE's vocab.txt")
    parser.add_argument("--paddlenlp", metavar="PYTHON", help="Python interpreter that has PaddleNLP")
    arguments = parser.parse_args()

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if arguments.texts:
        texts = arguments.texts.read_text(encoding="utf-8").splitlines()
    else:
        choose = random.Random(0)
        sentences = SENTENCES.read_text(encoding="utf-8").splitlines()
        texts = ["".join(choose.choices(sentences, k=3)) for _ in range(20000)]

    speeds: dict[str, float] = {}
    folders = {"wordpiece": arguments.vocab}
    folders |= {folder.name: folder for folder in sorted(SAMPLES.iterdir()) if folder.name != "wordpiece"}
    for name, folder in folders.items():
        tokenizer = load(folder, "ErnieTokenizer" if name == "wordpiece" else None)
        part = texts if name == "wordpiece" else texts[:2000]
        speeds[f"zoo {name}"] = speed(lambda batch, t=tokenizer: t.encode_batch(batch, max_length=128), part)  # type: ignore[misc]
    other = BertWordPieceTokenizer(str(arguments.vocab / "vocab.txt"), lowercase=True)
    other.enable_truncation(128)
    speeds["tokenizers BertWordPieceTokenizer"] = speed(other.encode_batch, texts)
    if arguments.paddlenlp:
        speeds["PaddleNLP ErnieTokenizer"] = paddlenlp_speed(arguments.paddlenlp, arguments.vocab, texts)

    sys.stdout.write("".join(f"{value / 1e3:10.0f} thousand characters/s  {name}\n" for name, value in speeds.items()))


if __name__ == "__main__":
    main()
