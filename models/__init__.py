"""Spiking vision transformers with trained time-step masks: networks, training, checkpoints."""
