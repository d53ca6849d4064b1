"""The committed JSON Schema is that of the format, and it accepts and refuses what it should."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dtss.compiler.schedule import json_schema

Document = dict[str, Any]


def test_committed_schema_is_current() -> None:
    assert json_schema.PATH.read_bytes() == json_schema.schema(), "run python -m dtss.compiler.schedule.json_schema"


@pytest.fixture
def document(saved: Path) -> Document:
    document: Document = json.loads(saved.read_text())
    return document


def validate(document: Document) -> None:
    schema = json.loads(json_schema.PATH.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(document)


def test_digits_schedule_is_valid(document: Document) -> None:
    validate(document)


@pytest.mark.parametrize(
    ("section", "value"),
    [("format", "dtss-schedule/2"), ("time_steps", "4"), ("surprise", 1), ("nodes", [{"kind": "softmax"}])],
)
def test_what_the_format_has_not_is_invalid(document: Document, section: str, value: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validate(document | {section: value})
