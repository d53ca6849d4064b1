"""The networks that a configuration can mean."""

from dtss.models.spikformer import Spikformer, SpikformerConfig
from dtss.models.vit import Vit

Network = Spikformer | Vit


def network_of(config: SpikformerConfig) -> Network:
    """An untrained network of this configuration."""
    return Spikformer(config) if config.spiking else Vit(config)
