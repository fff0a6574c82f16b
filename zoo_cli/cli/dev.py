"""`zoo dev`: for those who change zoo itself, in a checkout of its source."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli.help import Group

app = typer.Typer(
    cls=Group,
    help="For those who change zoo itself, in a checkout of its source.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_INIT = '"""{title}."""\n'

_CONFIG = '''"""Configuration of {title}."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class {title}Config(ModelConfig):
    """Keys of {title}.

    Args:
        type_vocab_size: rows of the token type table.
        layer_norm_eps: epsilon of every LayerNorm.
    """

    family: ClassVar[str] = "{name}"

    type_vocab_size: int = Field(default=2, gt=0)
    layer_norm_eps: float = Field(default=1e-12, gt=0)

    @property
    def norm_epsilon(self) -> float:
        return self.layer_norm_eps


FAMILY = FamilySpec(
    name="{name}",
    prefix="{name}",
    config={title}Config,
    backbone="{title}Model",
    architectures={{
        "{title}Model": "zoo_cli.models.{name}.modeling:{title}Model",
        "{title}ForSequenceClassification": "zoo_cli.models.heads:SequenceClassifier",
        "{title}ForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "{title}ForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "{title}ForMultipleChoice": "zoo_cli.models.heads:MultipleChoice",
    }},
    tasks={{
        "sequence_classification": "{title}ForSequenceClassification",
        "token_classification": "{title}ForTokenClassification",
        "question_answering": "{title}ForQuestionAnswering",
        "multiple_choice": "{title}ForMultipleChoice",
        "matching": "{title}ForMultipleChoice",
    }},
    tokenizer="BertTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={{
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    }},
)
'''

_MODELING = '''"""{title}: the title of its paper.

Authors, year, address. The heads are in `zoo_cli.models.heads`.
"""

from __future__ import annotations

{imports}


class {title}Model(Model):
    """Embeddings, a post-norm encoder, and a pooler on the first token.

    Args:
        config: sizes.
    """

    def __init__(self, config: {title}Config) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config, config.type_vocab_size)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size, "tanh")

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Encode a batch.

        Args:
            input_ids: [B, S].
            token_type_ids: [B, S]; 0 unless given.
            position_ids: [B, S]; 0 to S - 1 unless given.
            attention_mask: 1 for tokens to see [B, S], or as `zoo_cli.models.layers.attention_bias` says; tokens that
                are not padding unless given.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id)
        hidden = self.embeddings(input_ids, token_type_ids, position_ids)
        output = self.encoder(
            hidden,
            bias,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_attention_scores=output_attention_scores,
        )
        output.pooler_output = self.pooler(output.last_hidden_state)
        return output
'''

_IMPORTS = (
    "from zoo_cli.models.base import Model",
    "from zoo_cli.models.layers import Embeddings, Encoder, Pooler, attention_bias",
    "from zoo_cli.models.outputs import ModelOutput, Tensor",
)


@app.callback()
def _group() -> None:
    """Keep the name of the only command."""


@app.command("new-family")
def new_family(
    name: Annotated[str, typer.Argument(help="Name in lower case, e.g. roformer or ernie_gram.")],
    title: Annotated[
        str | None, typer.Option("--title", help="How its classes begin, e.g. RoFormer; by default from the name.")
    ] = None,
    checkout: Annotated[Path, typer.Option("--checkout", help="Folder with the source.")] = Path(),
) -> None:
    """Add a model family that works like BERT and passes the conformance tests, as a beginning.

    zoo dev new-family ernie_gram --title ErnieGram
    """
    from zoo_cli.base.console import say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.base.files import write_text
    from zoo_cli.registry import FAMILIES

    title = title or "".join(part.capitalize() for part in name.split("_"))
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or not title.isidentifier():
        raise UsageError(
            "bad-name",
            "a family is named in lower case like a Python module, its classes like Python classes",
            fix="for example roformer and RoFormer",
        )
    registry, setup = checkout / "zoo_cli" / "registry.py", checkout / "setup.cfg"
    if not (registry.is_file() and setup.is_file()):
        fix = "run it in a checkout, or name one with --checkout"
        raise UsageError("not-a-checkout", "the source of zoo is not here", at=Location.of(checkout), fix=fix)
    folder = checkout / "zoo_cli" / "models" / name
    if folder.exists() or name in FAMILIES:
        raise UsageError("folder-exists", "there is a family of this name", at=Location.of(folder))
    lines = {
        registry: _after(
            registry, r'    "\w+": "zoo_cli\.models\.', f'    "{name}": "zoo_cli.models.{name}.config:FAMILY",'
        ),
        setup: _after(setup, r"    zoo_cli\.models\b", f"    zoo_cli.models.{name}"),
    }
    imports = "\n".join(sorted((*_IMPORTS, f"from zoo_cli.models.{name}.config import {title}Config")))
    for file, template in (("__init__", _INIT), ("config", _CONFIG), ("modeling", _MODELING)):
        path = folder / f"{file}.py"
        path.parent.mkdir(exist_ok=True)
        write_text(path, template.format(name=name, title=title, imports=imports))
        say("{path}: written", path=path)
    for path, text in lines.items():
        write_text(path, text)
        say("{path}: a line added", path=path)
    say("run `python -m pytest tests/conformance -k {name}`; docs/extending.md says what comes next", name=name)


def _after(path: Path, pattern: str, line: str) -> str:
    """A file with a line put behind the last one that begins with a pattern.

    Raises:
        UsageError: no line does (`not-a-checkout`).
    """
    from zoo_cli.base.errors import Location, UsageError

    lines = path.read_text(encoding="utf-8").splitlines()
    places = [number for number, text in enumerate(lines) if re.match(pattern, text)]
    if not places:
        raise UsageError("not-a-checkout", "the file lists no families", at=Location.of(path))
    lines.insert(places[-1] + 1, line)
    return "\n".join(lines) + "\n"
