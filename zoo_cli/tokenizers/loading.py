"""Loading the tokenizer of a model folder, be it this project's, PaddleNLP's or Hugging Face's."""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import read_json
from zoo_cli.tokenizers.pretrained import (
    ADDED_TOKENS_FILE,
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    PretrainedTokenizer,
    token_text,
)
from zoo_cli.tokenizers.vocabulary import ResourceFile

TOKENIZERS = {
    "BertTokenizer": "wordpiece",
    "TinyBertTokenizer": "wordpiece",
    "ElectraTokenizer": "wordpiece",
    "ErnieTokenizer": "wordpiece",
    "ErnieDocTokenizer": "wordpiece",
    "UNIMOTokenizer": "unimo",
    "ErnieMTokenizer": "ernie_m",
    "UnifiedTransformerTokenizer": "unified_transformer",
    "GPTTokenizer": "bpe",
    "ErnieDocBPETokenizer": "bpe",
    "GPTChineseTokenizer": "gpt_chinese",
}
"""Module of each tokenizer class."""

_ALIASES = {"GPT2Tokenizer": "GPTTokenizer"}


def tokenizer_class(name: str) -> type[PretrainedTokenizer]:
    """Class of a tokenizer by PaddleNLP's or Hugging Face's name of it.

    Raises:
        UsageError: there is no such tokenizer (`unknown-tokenizer`).
    """
    plain = name.removesuffix("Fast")
    plain = _ALIASES.get(plain, plain)
    if plain not in TOKENIZERS:
        raise UsageError(
            "unknown-tokenizer",
            "there is no tokenizer {name!r}",
            fix="use one of {known}",
            name=name,
            known=", ".join(sorted(TOKENIZERS)),
        )
    found: type[PretrainedTokenizer] = getattr(import_module(f"zoo_cli.tokenizers.{TOKENIZERS[plain]}"), plain)
    return found


def load(path: str | PathLike[str], class_name: str | None = None, **config: Any) -> PretrainedTokenizer:
    """Load a tokenizer.

    Args:
        path: a folder with vocabulary files under their published names (and `tokenizer_config.json`,
            `special_tokens_map.json`, `added_tokens.json` where there are), or a single vocabulary file for the classes
            that need no other.
        class_name: class to use; needed if the folder has no `tokenizer_config.json` that names it.
        **config: entries that override those of `tokenizer_config.json`, such as `do_lower_case=False`.

    Raises:
        ArtifactError: a file is missing (`missing-file`, with its name) or broken (`broken-vocabulary`, with its line).
        UsageError: nothing says which class it is (`no-tokenizer-class`), or there is no such class.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise ArtifactError("missing-file", "there is no such tokenizer folder or file", at=Location.of(path))
    entries: dict[str, Any] = {}
    added: dict[str, int] = {}
    if path.is_dir():
        entries, added = _read_configuration(folder)
    entries.update(config)
    name = class_name or entries.get("tokenizer_class")
    if not isinstance(name, str):
        raise UsageError(
            "no-tokenizer-class",
            "nothing says which tokenizer this is",
            at=Location.of(path),
            fix="name its class, e.g. 'ErnieTokenizer', or put tokenizer_class into tokenizer_config.json",
        )
    kind = tokenizer_class(name)
    names = dict(kind.resource_files_names)
    if not path.is_dir():
        if len(names) > 1:
            raise UsageError(
                "tokenizer-folder",
                "{name} needs the files {files}",
                at=Location.of(path),
                fix="give the folder that holds them",
                name=kind.__name__,
                files=", ".join(names.values()),
            )
        names = dict.fromkeys(names, path.name)
    files = {role: ResourceFile.read(folder / file) for role, file in names.items()}
    return kind(files, entries, added)


def _read_configuration(folder: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """Entries of the configuration files of a folder, and the ids of added tokens."""
    entries: dict[str, Any] = {}
    for name in (SPECIAL_TOKENS_FILE, CONFIG_FILE):
        if (folder / name).is_file():
            entries.update({key: value for key, value in _object(folder / name).items() if value is not None})
    added: dict[str, int] = {}
    if (folder / ADDED_TOKENS_FILE).is_file():
        added.update(_object(folder / ADDED_TOKENS_FILE))
    for index, token in (entries.pop("added_tokens_decoder", None) or {}).items():
        text = token_text(token)
        if text is not None:
            added[text] = int(index)
    for token, index in added.items():
        if not isinstance(index, int):
            raise ArtifactError(
                "broken-json",
                "the id of added token {token!r} is not a number",
                at=Location.of(folder / ADDED_TOKENS_FILE),
                token=token,
            )
    return entries, added


def _object(path: Path) -> dict[str, Any]:
    value = read_json(path)
    if not isinstance(value, dict):
        raise ArtifactError("broken-json", "expected a JSON object", at=Location.of(path))
    return value
