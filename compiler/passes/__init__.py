"""One file per pass; their order is in pipeline.py."""
