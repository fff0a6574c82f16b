"""The published checkpoints and the cache of their files."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.base.file_server import FileServer, serving
from zoo_cli import registry
from zoo_cli.base import download as download_module
from zoo_cli.base.download import downloads_folder
from zoo_cli.base.errors import ArtifactError, ErrorGroup, UsageError
from zoo_cli.base.files import MANIFEST, verify_manifest
from zoo_cli.base.locks import exclusive
from zoo_cli.recipe import presets
from zoo_cli.recipe.presets import (
    Preset,
    cache_list,
    cache_prune,
    fetch,
    is_fetched,
    load_preset,
    preset_names,
    verify,
    weights_folder,
)

# Every checkpoint that PaddleNLP 2.8.1 publishes for these families.
PUBLISHED = {
    "bert": """
        bert-base-uncased bert-large-uncased bert-base-multilingual-uncased bert-base-cased bert-base-chinese
        bert-base-multilingual-cased bert-large-cased bert-wwm-chinese bert-wwm-ext-chinese macbert-base-chinese
        macbert-large-chinese simbert-base-chinese uer/chinese-roberta-base uer/chinese-roberta-medium
        uer/chinese-roberta-6l-768h uer/chinese-roberta-small uer/chinese-roberta-mini uer/chinese-roberta-tiny
    """,
    "tinybert": """
        tinybert-4l-312d tinybert-6l-768d tinybert-4l-312d-v2 tinybert-6l-768d-v2 tinybert-4l-312d-zh
        tinybert-6l-768d-zh
    """,
    "ernie": """
        ernie-1.0 ernie-1.0-base-zh ernie-1.0-base-zh-cw ernie-1.0-large-zh-cw ernie-tiny ernie-2.0-base-zh
        ernie-2.0-large-zh ernie-2.0-base-en ernie-2.0-base-en-finetuned-squad ernie-2.0-large-en
        rocketqa-zh-dureader-query-encoder rocketqa-zh-dureader-para-encoder rocketqa-v1-marco-query-encoder
        rocketqa-v1-marco-para-encoder rocketqa-zh-dureader-cross-encoder rocketqa-v1-marco-cross-encoder
        ernie-3.0-xbase-zh ernie-3.0-base-zh ernie-3.0-medium-zh ernie-3.0-mini-zh ernie-3.0-micro-zh
        ernie-3.0-nano-zh ernie-3.0-tiny-base-v1-zh ernie-3.0-tiny-medium-v1-zh ernie-3.0-tiny-mini-v1-zh
        ernie-3.0-tiny-micro-v1-zh ernie-3.0-tiny-nano-v1-zh rocketqa-base-cross-encoder
        rocketqa-medium-cross-encoder rocketqa-mini-cross-encoder rocketqa-micro-cross-encoder
        rocketqa-nano-cross-encoder rocketqa-zh-base-query-encoder rocketqa-zh-base-para-encoder
        rocketqa-zh-medium-query-encoder rocketqa-zh-medium-para-encoder rocketqa-zh-mini-query-encoder
        rocketqa-zh-mini-para-encoder rocketqa-zh-micro-query-encoder rocketqa-zh-micro-para-encoder
        rocketqa-zh-nano-query-encoder rocketqa-zh-nano-para-encoder rocketqav2-en-marco-cross-encoder
        rocketqav2-en-marco-query-encoder rocketqav2-en-marco-para-encoder uie-base uie-medium uie-mini
        uie-micro uie-nano uie-base-en uie-senta-base uie-senta-medium uie-senta-mini uie-senta-micro
        uie-senta-nano uie-base-answer-extractor uie-base-qa-filter ernie-search-base-dual-encoder-marco-en
        ernie-search-large-cross-encoder-marco-en ernie-3.0-tiny-base-v2-zh ernie-3.0-tiny-medium-v2-zh
        ernie-3.0-tiny-mini-v2-zh ernie-3.0-tiny-mini-v2-en ernie-3.0-tiny-micro-v2-zh ernie-3.0-tiny-nano-v2-zh
        ernie-3.0-tiny-pico-v2-zh utc-large utc-xbase utc-base utc-medium utc-mini utc-micro utc-nano utc-pico
    """,
    "ernie_m": """
        ernie-m-base ernie-m-large uie-m-base uie-m-large
    """,
    "ernie_doc": """
        ernie-doc-base-en ernie-doc-base-zh
    """,
    "electra": """
        electra-small electra-base electra-large chinese-electra-small chinese-electra-base
        electra-small-generator electra-base-generator electra-large-generator electra-small-discriminator
        electra-base-discriminator electra-large-discriminator
    """,
    "ernie_health": """
        ernie-health-chinese ernie-health-chinese-generator ernie-health-chinese-discriminator
    """,
    "unimo": """
        unimo-text-1.0 unimo-text-1.0-lcsts-new unimo-text-1.0-summary unimo-text-1.0-large
        unimo-text-1.0-dureader_qg unimo-text-1.0-question-generation
        unimo-text-1.0-question-generation-full_domain unimo-text-1.0-question-generation-dureader_qg
        unimo-text-1.0-question-generation-v2
    """,
    "unified_transformer": """
        unified_transformer-12L-cn unified_transformer-12L-cn-luge plato-mini plato-xl
    """,
    "gpt": """
        gpt-cpm-large-cn gpt-cpm-small-cn-distill gpt3-89B-en gpt3-175B-en gpt3-13B-en gpt3-6.7B-en gpt3-1.3B-en
        gpt2-small-en gpt2-en gpt2-medium-en gpt2-large-en gpt2-xl-en
    """,
}
NAMES = [name for names in PUBLISHED.values() for name in names.split()]

NO_WEIGHTS = {
    *(f"electra-{size}-{part}" for size in ("small", "base", "large") for part in ("generator", "discriminator")),
    "ernie-health-chinese-generator",
    "ernie-health-chinese-discriminator",
    "unimo-text-1.0-question-generation-full_domain",
    "gpt3-89B-en",
    "gpt3-175B-en",
    "gpt3-13B-en",
    "gpt3-6.7B-en",
    "gpt3-1.3B-en",
    "gpt2-small-en",
}

CASED = {
    "bert-base-cased",
    "bert-large-cased",
    "bert-base-multilingual-cased",
    "bert-base-chinese",
    "bert-wwm-chinese",
    "bert-wwm-ext-chinese",
    "macbert-base-chinese",
    "macbert-large-chinese",
}

# Names that each tokenizer class reads in a model folder.
TOKENIZER_FILES = {
    "BertTokenizer": {"vocab.txt"},
    "TinyBertTokenizer": {"vocab.txt"},
    "ErnieTokenizer": {"vocab.txt"},
    "ErnieDocTokenizer": {"vocab.txt"},
    "ElectraTokenizer": {"vocab.txt"},
    "UNIMOTokenizer": {"vocab.txt"},
    "ErnieMTokenizer": {"vocab.txt", "sentencepiece.bpe.model"},
    "UnifiedTransformerTokenizer": {"vocab.txt", "spm.model"},
    "GPTTokenizer": {"vocab.json", "merges.txt"},
    "GPTChineseTokenizer": {"sentencepiece.model"},
    "ErnieDocBPETokenizer": {"vocab.txt", "encoder.json", "vocab.bpe"},
    "ErnieTinyTokenizer": {"vocab.txt", "spm_cased_simp_sampled.model", "dict.wordseg.pickle"},
}

# Defaults of the configuration classes that the number of parameters depends on, where they are not BERT's.
DEFAULTS: dict[str, dict[str, Any]] = {
    "tinybert": {"fit_size": 768},
    "ernie_m": {"vocab_size": 250002, "max_position_embeddings": 514},
    "ernie_doc": {"vocab_size": 28000, "memory_len": 128},
    "electra": {"vocab_size": 22608, "type_vocab_size": 2},
    "ernie_health": {"vocab_size": 22608, "type_vocab_size": 2},
    "unimo": {"vocab_size": 18000, "max_position_embeddings": 513, "type_vocab_size": 4},
    "unified_transformer": {"vocab_size": 30004, "type_vocab_size": 2},
    "gpt": {"vocab_size": 50304},
}


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def norm(width: int) -> int:
    return 2 * width


def backbone_size(family: str, config: dict[str, Any]) -> int:
    """Parameters of a backbone, from the shapes of its published state dict."""
    hidden, layers, vocab = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    positions, types = config["max_position_embeddings"], config["type_vocab_size"]
    inner = 4 * hidden if family in ("ernie_m", "ernie_doc") else config["intermediate_size"]
    layer = 4 * linear(hidden, hidden) + linear(hidden, inner) + linear(inner, hidden) + 2 * norm(hidden)
    pooler = linear(hidden, hidden)
    if family == "ernie_doc":
        layer += 2 * linear(hidden, hidden) + 3 * hidden  # projections of positions and tasks, three biases
        rows = vocab + 2 * positions + config["memory_len"] + config["task_type_vocab_size"]
        return layers * layer + rows * hidden + 3 * norm(hidden) + pooler
    if family in ("electra", "ernie_health"):
        width = config.get("embedding_size", 768)
        project = linear(width, hidden) if width != hidden else 0
        return layers * layer + (vocab + positions + types) * width + norm(width) + project
    if family == "gpt":
        return layers * layer + (vocab + positions) * hidden + norm(hidden)
    if family == "ernie_m":
        return layers * layer + (vocab + positions) * hidden + norm(hidden) + pooler
    rows = vocab + positions + types
    if family in ("unimo", "unified_transformer"):
        return layers * layer + (rows + config.get("role_type_size", 0)) * hidden + norm(hidden)
    if config.get("use_task_id"):
        rows += config["task_type_vocab_size"]
    size = layers * layer + rows * hidden + norm(hidden) + pooler
    return size + (layers + 2) * linear(hidden, config["fit_size"]) if family == "tinybert" else size


def head_size(architecture: str, config: dict[str, Any]) -> int:
    """Parameters of a head, tied ones left out."""
    hidden, vocab, width = config["hidden_size"], config["vocab_size"], config.get("embedding_size", 768)
    discriminator = linear(hidden, hidden) + linear(hidden, 1)
    sizes = {
        "UIE": 2 * linear(hidden, 1),
        "UIEM": 2 * linear(hidden, 1),
        "UTC": 2 * linear(hidden, 64),
        "ErnieForQuestionAnswering": linear(hidden, 2),
        "ErnieForSequenceClassification": linear(hidden, config.get("num_labels", 2)),
        "ElectraDiscriminator": discriminator,
        "ElectraGenerator": linear(hidden, width) + norm(width) + vocab,
        "ErnieHealthDiscriminator": discriminator + 2 * linear(hidden, hidden) + vocab + linear(hidden, 2),
        "UNIMOLMHeadModel": linear(hidden, hidden) + norm(hidden) + vocab,
        "UnifiedTransformerLMHeadModel": linear(hidden, hidden) + norm(hidden) + vocab,
    }
    return sizes.get(architecture, 0)


def test_every_published_checkpoint_has_a_file_and_no_other() -> None:
    assert sorted(preset_names()) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("family", PUBLISHED)
def test_names_of_a_family(family: str) -> None:
    assert sorted(preset_names(family)) == sorted(PUBLISHED[family].split())


@pytest.mark.parametrize("name", NAMES)
def test_preset(name: str) -> None:
    preset = load_preset(name)
    assert (preset.weights is None) == (name in NO_WEIGHTS)
    assert set(preset.tokenizer.files) == TOKENIZER_FILES[preset.tokenizer.name]
    assert preset.tokenizer.do_lower_case is (False if name in CASED else None)
    for url in preset.files.values():
        assert re.match(r"https://(paddlenlp\.bj|bj)\.bcebos\.com/\w", url)
    if preset.weights:
        assert list(preset.files)[-1] == preset.weights.file == "model_state.pdparams"
        assert preset.weights.url.endswith(".pdparams")
    config = {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 3072,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "type_vocab_size": 16,
        "task_type_vocab_size": 3,
        **DEFAULTS.get(preset.family, {}),
        **preset.config,
    }
    size = backbone_size(preset.family, config) + head_size(preset.architecture, config)
    assert math.isclose(preset.parameters, size / 1e6, abs_tol=0.0501)


@pytest.mark.parametrize("name", NAMES)
def test_config_fits_the_family(name: str) -> None:
    preset = load_preset(name)
    if preset.family not in registry.FAMILIES:
        pytest.skip(f"{preset.family} is not in the registry")
    family = registry.family(preset.family)
    fields = family.config.model_fields  # type: ignore[attr-defined]
    assert preset.architecture in family.architectures
    assert set(preset.config) <= set(fields)
    repeated = {key for key, value in preset.config.items() if fields[key].default == value}
    assert not repeated, "only what differs from the defaults"
    config = family.config(**preset.config_json())
    assert {key: getattr(config, key) for key in preset.config} == preset.config


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("bert-base-uncased", 109.482240),
        ("bert-large-uncased", 335.141888),
        ("gpt2-en", 124.439808),
        ("gpt2-xl-en", 1557.611200),
        ("ernie-m-base", 278.043648),
        ("plato-xl", 11000),
        ("gpt3-175B-en", 175000),
    ],
)
def test_published_sizes(name: str, millions: float) -> None:
    assert math.isclose(load_preset(name).parameters, millions, rel_tol=0.01)


@pytest.mark.parametrize(
    ("name", "architecture", "config"),
    [
        ("uie-nano", "UIE", {"hidden_size": 312, "intermediate_size": 1248, "task_type_vocab_size": 16}),
        ("uie-m-large", "UIEM", {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}),
        ("utc-base", "UTC", {"vocab_size": 39981, "type_vocab_size": 4}),
        ("ernie-2.0-base-en-finetuned-squad", "ErnieForQuestionAnswering", {"type_vocab_size": 4}),
        ("ernie-health-chinese", "ElectraModel", {"layer_norm_eps": 1e-5}),
        ("ernie-doc-base-en", "ErnieDocModel", {"epsilon": 1e-12, "pad_token_id": 1, "hidden_dropout_prob": 0.0}),
        ("rocketqav2-en-marco-cross-encoder", "ErnieForSequenceClassification", {"num_labels": 1}),
        ("uer/chinese-roberta-tiny", "BertModel", {"hidden_size": 128, "num_attention_heads": 2}),
    ],
)
def test_a_few_in_detail(name: str, architecture: str, config: dict[str, Any]) -> None:
    preset = load_preset(name)
    assert preset.architecture == architecture
    assert {key: preset.config[key] for key in config} == config


def test_presets_load_without_paddle() -> None:
    script = "import sys; from zoo_cli.recipe.presets import load_preset; load_preset('uie-base'); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"paddle", "numpy"} & set(result.stdout.split())


def test_unknown_name_says_what_is_near() -> None:
    with pytest.raises(UsageError) as caught:
        load_preset("uie-bass")
    assert caught.value.code == "unknown-checkpoint"
    assert "uie-base" in str(caught.value.fix)
    with pytest.raises(UsageError, match="zoo weights list"):
        load_preset("???")
    with pytest.raises(UsageError):
        load_preset("../tasks/extraction")


GOOD = """\
family: bert
architecture: BertModel
description: test
language: zh
licence: MIT
source: https://example.invalid
parameters: 1.5
config: {}
weights: {file: model_state.pdparams, url: "https://example.invalid/w"}
tokenizer: {class: BertTokenizer, files: {vocab.txt: "https://example.invalid/v"}}
"""


@pytest.mark.parametrize(
    ("change", "line", "word"),
    [
        (("language: zh", "language: xx"), 4, "language"),
        (("parameters: 1.5", "parameters: many"), 7, "parameters"),
        (("config: {}", "config: {}\nconfg: {}"), 9, "confg"),
        (("vocab.txt:", "../vocab.txt:"), 10, "files"),
        (("https://example.invalid/w", "file:///etc/passwd"), 9, "url"),
        (("config: {}", "config: {}\nsha256: {x.txt: " + "a" * 64 + "}"), 1, "x.txt"),
    ],
)
def test_wrong_preset_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str], line: int, word: str
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace(*change))
    monkeypatch.setattr(presets, "_preset_files", lambda: {f"wrong {change}": path, "right": path})
    with pytest.raises(ErrorGroup) as caught:
        load_preset(f"wrong {change}")
    first = caught.value.errors[0]
    assert first.code == "bad-preset"
    assert first.at is not None
    assert (first.at.file, first.at.line) == (str(path), line)
    assert word in first.message


# The cache, with small files in place of the published ones.

CONTENTS = {
    "ernie-3.0-nano-zh": (b"[PAD]\n[CLS]\n", b"weights " * 40_000),
    "uer/chinese-roberta-tiny": (b"[PAD]\n", b"other " * 1000),
    "bert-base-cased": (b"[PAD]\n", b"cased"),
}
NANO, TINY, CASED_BERT = CONTENTS


def path_of(url: str) -> str:
    return "/" + url.split("/", 3)[3]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    files = {}
    for name, (vocabulary, weights) in CONTENTS.items():
        urls = load_preset(name).files
        files.update({path_of(urls["vocab.txt"]): vocabulary, path_of(urls["model_state.pdparams"]): weights})
    with serving(files=files) as server:
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("ZOO_MIRROR", server.base)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.delenv("ZOO_OFFLINE", raising=False)
        monkeypatch.setattr(download_module, "FIRST_PAUSE", 0.0)
        yield server


def test_fetch_writes_a_model_folder(server: FileServer) -> None:
    assert not is_fetched(NANO)
    folder = fetch(NANO)
    assert folder == weights_folder(NANO)
    assert is_fetched(NANO)
    assert sorted(path.name for path in folder.iterdir()) == [
        MANIFEST, "config.json", "model_state.pdparams", "tokenizer_config.json", "vocab.txt",
    ]  # fmt: skip
    assert (folder / "model_state.pdparams").read_bytes() == CONTENTS[NANO][1]
    assert json.loads((folder / "config.json").read_text()) == {
        "architectures": ["ErnieModel"],
        "model_type": "ernie",
        "vocab_size": 40000,
        "hidden_size": 312,
        "num_hidden_layers": 4,
        "intermediate_size": 1248,
        "max_position_embeddings": 2048,
        "type_vocab_size": 4,
        "task_type_vocab_size": 16,
        "use_task_id": True,
    }
    assert json.loads((folder / "tokenizer_config.json").read_text()) == {"tokenizer_class": "ErnieTokenizer"}
    verify_manifest(folder)


def test_fetch_again_asks_nobody(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(NANO)
    requests = len(server.requests)
    assert requests == 2
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.delenv("ZOO_MIRROR")
    assert fetch(NANO) == weights_folder(NANO)
    assert len(server.requests) == requests


def test_names_with_a_slash_and_lower_casing(server: FileServer) -> None:
    assert fetch(TINY).name == "chinese-roberta-tiny"
    tokenizer = json.loads((fetch(CASED_BERT) / "tokenizer_config.json").read_text())
    assert tokenizer == {"tokenizer_class": "BertTokenizer", "do_lower_case": False}


def test_fetch_reports_progress_of_each_file(server: FileServer) -> None:
    seen: list[tuple[str, int, int | None]] = []
    fetch(NANO, progress=lambda *now: seen.append(now))
    assert list(dict.fromkeys(file for file, _, _ in seen)) == ["vocab.txt", "model_state.pdparams"]
    size = len(CONTENTS[NANO][1])
    assert seen[-1] == ("model_state.pdparams", size, size)


def test_fetch_heals_a_folder(server: FileServer) -> None:
    folder = fetch(NANO)
    (folder / "model_state.pdparams").write_bytes(b"short")
    (folder / "config.json").write_text("{}")
    assert not is_fetched(NANO)
    fetch(NANO)
    assert verify(NANO)["files"].keys() >= {"model_state.pdparams", "config.json"}
    assert (folder / "model_state.pdparams").read_bytes() == CONTENTS[NANO][1]


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"files": {"a": 1}}'])
def test_fetch_heals_a_broken_manifest(server: FileServer, manifest: str) -> None:
    folder = fetch(NANO)
    (folder / MANIFEST).write_text(manifest)
    fetch(NANO)
    verify(NANO)


def test_fetch_without_published_weights(server: FileServer) -> None:
    with pytest.raises(ArtifactError) as caught:
        fetch("gpt3-175B-en")
    assert caught.value.code == "no-weights"
    assert "scratch:gpt3-175B-en" in str(caught.value.fix)


def test_fetch_offline_says_what_to_get_and_where_to_put_it(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    monkeypatch.delenv("ZOO_MIRROR")
    with pytest.raises(ArtifactError) as caught:
        fetch(NANO)
    assert caught.value.code == "offline"
    folder = weights_folder(NANO)
    for file, url in load_preset(NANO).files.items():  # do what the messages say
        with pytest.raises(ArtifactError) as caught:
            fetch(NANO)
        assert url in str(caught.value.fix)
        assert str(folder / file) in str(caught.value.fix)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"by hand")
    fetch(NANO)
    verify(NANO)
    assert not server.requests


def with_checksum(name: str, file: str, sha256: str) -> Preset:
    return load_preset(name).model_copy(update={"sha256": {file: sha256}})


def test_published_checksum(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(NANO)
    wrong = with_checksum(NANO, "model_state.pdparams", "0" * 64)
    monkeypatch.setattr(presets, "load_preset", lambda name: wrong)
    with pytest.raises(ArtifactError) as caught:
        verify(NANO)
    assert caught.value.code == "checksum"
    cache_prune([NANO])
    with pytest.raises(ArtifactError) as caught:
        fetch(NANO)
    assert caught.value.code == "checksum"
    assert not (weights_folder(NANO) / "model_state.pdparams").exists()
    assert not is_fetched(NANO)


def test_verify(server: FileServer) -> None:
    with pytest.raises(ArtifactError) as caught:
        verify(NANO)
    assert caught.value.code == "not-fetched"
    assert f"zoo weights fetch {NANO}" in str(caught.value.fix)
    weights = fetch(NANO) / "model_state.pdparams"
    verify(NANO)
    weights.write_bytes(weights.read_bytes()[::-1])  # the size stays
    assert is_fetched(NANO)
    with pytest.raises(ArtifactError) as caught:
        verify(NANO)
    assert caught.value.code == "damaged-file"


FETCH = "import sys; from zoo_cli.recipe.presets import fetch; fetch(sys.argv[1])"


def start_fetch() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FETCH, NANO])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def weights_have_begun() -> bool:
    for path in downloads_folder().glob("*.part"):
        with suppress(FileNotFoundError):  # a small file was complete just now
            if path.stat().st_size > 50_000:
                return True
    return False


def test_kill_9_then_fetch(server: FileServer) -> None:
    server.chunk, server.delay = 20_000, 0.05
    process = start_fetch()
    wait_for(weights_have_begun)
    process.send_signal(signal.SIGKILL)
    process.wait()
    server.delay = 0.0
    assert not is_fetched(NANO)
    (entry, part) = cache_list()
    assert (entry.kind, entry.name, entry.complete) == ("weights", NANO, False)
    assert (part.kind, part.complete) == ("download", False)
    fetch(NANO)
    assert server.asked_ranges[-1] == f"bytes={part.size}-"
    assert server.bodies[-1] == len(CONTENTS[NANO][1]) - part.size
    verify(NANO)


def test_two_processes_at_once(server: FileServer) -> None:
    server.chunk, server.delay = 100_000, 0.05
    processes = [start_fetch() for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    assert len(server.requests) == 2
    verify(NANO)


def test_cache_list(server: FileServer) -> None:
    assert cache_list() == []
    fetch(TINY)
    fetch(NANO)
    entries = cache_list()
    assert [(entry.kind, entry.name, entry.complete) for entry in entries] == [
        ("weights", NANO, True),
        ("weights", TINY, True),
    ]
    assert entries[0].path == weights_folder(NANO)
    assert entries[0].size == sum(path.stat().st_size for path in weights_folder(NANO).iterdir())


def test_prune_by_name(server: FileServer) -> None:
    fetch(NANO)
    fetch(TINY)
    with pytest.raises(UsageError) as caught:
        cache_prune([TINY, "ernie-3.0-nano"])
    assert "ernie-3.0-nano-zh" in str(caught.value.fix)
    assert is_fetched(TINY)
    assert [entry.name for entry in cache_prune([TINY])] == [TINY]
    assert [entry.name for entry in cache_list()] == [NANO]


def test_prune_what_is_not_complete(server: FileServer) -> None:
    fetch(TINY)
    (fetch(NANO) / MANIFEST).unlink()
    part = downloads_folder() / "0-a.part"
    part.touch()
    assert [entry.name for entry in cache_prune(dry_run=True)] == [NANO, "0-a.part"]
    assert part.exists()
    assert [entry.name for entry in cache_prune()] == [NANO, "0-a.part"]
    assert not part.exists()
    assert [entry.name for entry in cache_list()] == [TINY]


def test_prune_what_was_not_used(server: FileServer) -> None:
    for name in (NANO, TINY):
        manifest = fetch(name) / MANIFEST
        os.utime(manifest, (time.time() - 10 * 86400,) * 2)
    fetch(TINY)
    assert [entry.name for entry in cache_prune(unused_days=30)] == []
    assert [entry.name for entry in cache_prune(unused_days=7)] == [NANO]
    assert is_fetched(TINY)


def test_prune_leaves_what_is_being_downloaded(server: FileServer) -> None:
    fetch(NANO)
    (weights_folder(NANO) / MANIFEST).unlink()
    part = downloads_folder() / "0-a.part"
    part.touch()
    with exclusive(part.with_suffix(".lock")), exclusive(presets._lock_file(NANO)):
        assert cache_prune() == []
    assert part.exists()
    assert (weights_folder(NANO) / "vocab.txt").exists()
