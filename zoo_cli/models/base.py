"""What every model is: a layer with a configuration, a backbone, and names for its weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar, TypeVar

import paddle
from paddle import nn

from zoo_cli.models.config import ModelConfig
from zoo_cli.models.parallel import set_weight
from zoo_cli.registry import family, family_of, resolve

if TYPE_CHECKING:
    from zoo_cli.models.loading import LoadReport

Weights = TypeVar("Weights")


class Model(nn.Layer):
    """A backbone; head classes derive from `HeadModel`.

    Args:
        config: what the model is built from.

    Class attributes:
        may_be_fresh: beginnings of names of backbone weights that a file may lack.

    Attributes:
        load_report: what was found in the files that the weights are from; None for a model from scratch.
    """

    may_be_fresh: ClassVar[tuple[str, ...]] = ("pooler.",)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.load_report: LoadReport | None = None

    @property
    def prefix(self) -> str:
        """Name of the backbone inside head classes and in published files, e.g. ``"bert"``."""
        return family(self.config.family).prefix

    @property
    def backbone(self) -> Model:
        """The model without its head."""
        return self

    def aliases(self) -> Mapping[str, str]:
        """Further names that published files have for a weight -> its name in `state_dict`.

        A tied weight exists once here; files may name it several times, or by any of its names only.
        """
        return {}

    def own_weights(self, weights: Mapping[str, Weights]) -> Mapping[str, Weights]:
        """The weights of a file that are for this model, under their names here. Others are left in place."""
        return weights

    def spread(self, name: str) -> float:
        """Standard deviation from which the linear or embedding weight of that name is drawn."""
        return self.config.initializer_range

    def draw_weights(self, only: Collection[str] | None = None) -> None:
        """Draw linear and embedding weights from N(0, `spread`); biases are 0 and norms (1, 0) from their construction.

        The values depend on `paddle.seed` and on what is drawn.

        Args:
            only: names of the weights to draw; all unless given.
        """
        for name, layer in self.named_sublayers():
            weight_name = f"{name}.weight"
            if isinstance(layer, nn.Linear | nn.Embedding) and (only is None or weight_name in only):
                drawn = paddle.normal(mean=0.0, std=self.spread(weight_name), shape=layer.weight.shape)
                set_weight(layer.weight, drawn.numpy())


def build_backbone(config: ModelConfig) -> Model:
    """A family's backbone."""
    name = family(config.family).backbone
    return resolve(family_of(name).architectures[name])(config)


class HeadModel(Model):
    """A backbone under its published name, with room for a head.

    Args:
        config: what both are built from.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.add_sublayer(self.prefix, build_backbone(config))

    @property
    def backbone(self) -> Model:
        return getattr(self, self.prefix)

    def own_weights(self, weights: Mapping[str, Weights]) -> Mapping[str, Weights]:
        return self.backbone.own_weights(weights)
