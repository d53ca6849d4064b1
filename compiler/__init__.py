"""dtss-compile: from a trained spiking transformer to an integer, pruned, tiled schedule."""
