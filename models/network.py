"""The networks that a configuration can mean."""

from dtss.models.spikformer import Spikformer, SpikformerConfig
from dtss.models.vit import Vit

Network = Spikformer | Vit


def network_of(config: SpikformerConfig, pixel_lsb: tuple[float, ...] | None = None) -> Network:
    """An untrained network of this configuration; pixel_lsb as in Spikformer."""
    return Spikformer(config, pixel_lsb) if config.spiking else Vit(config)
