"""The JSON Schema of schedule.json: `python -m dtss.compiler.schedule.json_schema` rewrites the committed file."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from dtss.compiler.schedule.format import Schedule

PATH = Path(__file__).parent / "schema" / "schedule.json"


def schema() -> bytes:
    """The committed file, byte for byte."""
    return json.dumps(msgspec.json.schema(Schedule), indent=2, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    PATH.write_bytes(schema())
