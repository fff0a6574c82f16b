"""Configuration of ERNIE-Health."""

from __future__ import annotations

from typing import ClassVar

from zoo_cli.models.electra.config import FAMILY as ELECTRA
from zoo_cli.models.electra.config import ElectraConfig
from zoo_cli.registry import FamilySpec


class ErnieHealthConfig(ElectraConfig):
    """Keys of ERNIE-Health's pretraining classes: those of ELECTRA. Other classes of the family are ELECTRA's own."""

    family: ClassVar[str] = "ernie_health"
    huggingface: ClassVar[str | None] = None


_MODELING = "zoo_cli.models.ernie_health.modeling"

FAMILY = FamilySpec(
    name="ernie_health",
    prefix=ELECTRA.prefix,
    config=ErnieHealthConfig,
    backbone=ELECTRA.backbone,
    architectures={
        **ELECTRA.architectures,
        "ErnieHealthDiscriminator": f"{_MODELING}:ErnieHealthDiscriminator",
        "ErnieHealthForTotalPretraining": f"{_MODELING}:ErnieHealthForTotalPretraining",
        "ErnieHealthPretrainingCriterion": f"{_MODELING}:ErnieHealthPretrainingCriterion",
    },
    tasks=ELECTRA.tasks,
    objectives={"two_views": "ErnieHealthForTotalPretraining"},
    tokenizer=ELECTRA.tokenizer,
    inputs=ELECTRA.inputs,
    tiny={**ELECTRA.tiny, "embedding_size": ELECTRA.tiny["hidden_size"]},
)
