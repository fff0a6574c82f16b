"""Speed of building a corpus with whole-word marks, and of masking it, in one process; with PaddleNLP to compare.

    python benchmarks/corpus.py --texts FILE [--vocab FILE] [--paddlenlp PYTHON]

FILE is a text with a sentence a line. PaddleNLP's `create_pretraining_data.py` is not part of its wheel; `--paddlenlp`
names a Python interpreter that has PaddleNLP and jieba, in which the loop of that script runs: jieba, the tokenizer,
the marks by greedy search for words among the tokens, ids. Times are processor seconds without loading dictionaries.
With `--sentences lines`, as here, both must give the same ids.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from zoo_cli.data.corpus.encoding import Encoder, EncodingOptions
from zoo_cli.data.corpus.format import open_corpus, write_index
from zoo_cli.data.corpus.reading import Faults, ReadingOptions, plan_pieces
from zoo_cli.engine.corpus_batches import corpus_batches
from zoo_cli.recipe.schema import PretrainSection, TrainSection
from zoo_cli.tokenizers import load

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_VOCABULARY = ROOT / "zoo_cli" / "data" / "samples" / "vocab" / "wordpiece" / "vocab.txt"

PADDLENLP = """
import json, re, sys, time
import jieba, numpy as np
from paddlenlp.transformers import ErnieTokenizer

vocabulary, source, target = sys.argv[1:]
tokenizer = ErnieTokenizer(vocabulary)
tokenizer.extend_chinese_char()
jieba.initialize()

def mark(tokens, words, longest=6):
    known, marked, at = set(words), [], 0
    while at < len(tokens):
        size = 1
        if re.findall("[\\u4e00-\\u9fa5]", tokens[at]):
            for length in range(min(longest, len(tokens) - at), 0, -1):
                if "".join(tokens[at : at + length]) in known:
                    size = length
                    break
        marked.append(tokens[at])
        marked += ["##" + token for token in tokens[at + 1 : at + size]]
        at += size
    return marked

lines = open(source, encoding="utf-8").read().split("\\n")
start = time.process_time()
sentences = []
for line in lines:
    words = list(jieba.cut(line.strip()))
    ids = tokenizer.convert_tokens_to_ids(mark(tokenizer.tokenize("".join(words)), words))
    if ids:
        sentences.append(np.array(ids, np.uint16))
seconds = time.process_time() - start
np.savez(target, ids=np.concatenate(sentences), lens=np.array([len(each) for each in sentences]))
print(json.dumps(seconds))
"""


def build(texts: Path, vocabulary: Path, prefix: Path) -> float:
    """Build a corpus of one document in this process; returns processor seconds."""
    tokenizer = load(vocabulary, "ErnieTokenizer")
    options = EncodingOptions(sentences="lines", segmenter="jieba", sentence_tokens=None)
    encoder = Encoder(tokenizer, ReadingOptions(), options)
    encoder.prepare()
    start = time.process_time()
    blocks = [block for piece in plan_pieces([texts], 1 << 30) for block in encoder.encode(piece, Faults())]
    seconds = time.process_time() - start
    np.save(f"{prefix}_ids.npy", np.concatenate([block.ids for block in blocks]))
    lens = np.concatenate([block.lens for block in blocks])
    write_index(str(prefix), lens, np.unique(np.append(np.arange(0, len(lens), 50), len(lens))))
    return seconds


def masking_speed(prefix: Path, vocabulary: Path) -> float:
    """Tokens per processor second of making batches for ERNIE: sentence order, whole words, n-grams."""
    tokenizer = load(vocabulary, "ErnieTokenizer")
    options = PretrainSection(objective="mlm", corpora=[str(prefix)], pair="sop")
    batches = corpus_batches([(str(prefix), None)], tokenizer, options, TrainSection(batch_size=32), part="all")
    assert batches is not None
    batches.load(0, batches.plan(0)[0])
    start, tokens = time.process_time(), 0
    for epoch in range(3):
        tokens += sum(batches.load(epoch, rows).tokens for rows in batches.plan(epoch)[:])
    return tokens / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="a text with a sentence a line")
    parser.add_argument("--vocab", type=Path, default=SAMPLE_VOCABULARY, help="a WordPiece vocab.txt")
    parser.add_argument("--paddlenlp", help="Python interpreter with PaddleNLP and jieba")
    options = parser.parse_args()
    megabytes = options.texts.stat().st_size / 1e6
    with tempfile.TemporaryDirectory() as folder:
        prefix = Path(folder) / "corpus"
        seconds = min(build(options.texts, options.vocab, prefix) for _ in range(2))
        print(f"zoo        {megabytes / seconds:8.2f} MB/s")
        print(f"masking    {masking_speed(prefix, options.vocab):8,.0f} tokens/s")
        if options.paddlenlp is None:
            return
        target = Path(folder) / "reference.npz"
        command = [options.paddlenlp, "-c", PADDLENLP, str(options.vocab), str(options.texts), str(target)]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        theirs = json.loads(result.stdout.splitlines()[-1])
        print(f"PaddleNLP  {megabytes / theirs:8.2f} MB/s, {theirs / seconds:.1f} times slower")
        corpus, reference = open_corpus(prefix), np.load(target)
        same_shape = np.array_equal(corpus.lens, reference["lens"])
        differing = int((corpus.ids != reference["ids"]).sum()) if same_shape else len(corpus.ids)
        print(f"ids that differ: {differing} of {len(corpus.ids)}")
        if not same_shape:
            sys.exit("the sentences differ")


if __name__ == "__main__":
    main()
