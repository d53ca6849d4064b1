"""A network and its recipe from a TOML file.

base = "cifar10-small"   # optional: start from a named configuration and change what is said here
[network]                # the fields of SpikformerConfig; neuron is the name of a family or a table
[recipe]                 # the fields of Recipe
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dtss.models.errors import InputError
from dtss.models.neurons import NEURON_FAMILIES
from dtss.models.recipes import RECIPES, Recipe
from dtss.models.spikformer import CONFIGS, SpikformerConfig

SECTIONS = ("base", "network", "recipe")

Settings = TypeVar("Settings", SpikformerConfig, Recipe)


class SettingsError(InputError):
    """A TOML file that describes no training run."""


def settings_of(name_or_file: str) -> tuple[SpikformerConfig, Recipe]:
    """What --config means: a file where the name ends in .toml, else a named configuration."""
    return read_settings(Path(name_or_file)) if name_or_file.endswith(".toml") else named_settings(name_or_file)


def named_settings(name: str) -> tuple[SpikformerConfig, Recipe]:
    """The named configuration, or a ValueError that lists the names."""
    if name not in RECIPES:
        raise ValueError(
            f"--config {name}: no such configuration{_nearest(name, RECIPES)}; choose among "
            f"{', '.join(RECIPES)}, or give a file that ends in .toml"
        )
    return CONFIGS[name], RECIPES[name]


def read_settings(path: Path) -> tuple[SpikformerConfig, Recipe]:
    """Reads and checks a TOML file; every field is required that has no default, unless `base` gives it."""
    where = str(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("cannot be read", where, error.strerror or "nothing", "give the path of a file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("not TOML", where, str(error), "correct that line") from error
    _refuse_unknown(table, SECTIONS, where)
    base = table.get("base")
    if base is not None and base not in RECIPES:
        hint = f"choose among {', '.join(RECIPES)}"
        raise SettingsError("unknown base", where, f"{base!r}{_nearest(str(base), RECIPES)}", hint)
    network = _with_neuron(_section(table, "network", where), where)
    return (
        _settings(network, SpikformerConfig, None if base is None else CONFIGS[base], f"{where}: [network]"),
        _settings(
            _section(table, "recipe", where), Recipe, None if base is None else RECIPES[base], f"{where}: [recipe]"
        ),
    )


def recipe_of(training: Mapping[str, Any], where: str) -> Recipe:
    """The recipe that a checkpoint was trained by."""
    try:
        return msgspec.convert(training.get("recipe"), Recipe)
    except msgspec.ValidationError as error:
        hint = "train from --config, or --init a checkpoint of dtss-train"
        raise SettingsError("no recipe to train it further by", where, str(error), hint) from error


def _section(table: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    section = table.get(name, {})
    if not isinstance(section, dict):
        raise SettingsError(f"{name} is no table", where, repr(section), f"write it as [{name}]")
    return dict(section)


def _with_neuron(network: dict[str, Any], where: str) -> dict[str, Any]:
    neuron = network.get("neuron")
    if not isinstance(neuron, str):
        return network
    if neuron not in NEURON_FAMILIES:
        hint = f"choose among {', '.join(NEURON_FAMILIES)}, or give a table"
        raise SettingsError("unknown neuron family", f"{where}: [network]", repr(neuron), hint)
    return {**network, "neuron": dataclasses.asdict(NEURON_FAMILIES[neuron])}


def _settings(given: dict[str, Any], kind: type[Settings], base: Settings | None, where: str) -> Settings:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    _refuse_unknown(given, fields, where)
    if base is not None:
        inherited: dict[str, Any] = msgspec.to_builtins(base)
        given = {**inherited, **given}
    missing = [name for name, field in fields.items() if name not in given and _required(field)]
    if missing:
        raise SettingsError("entries are missing", where, f"no {', '.join(missing)}", 'give them, or a base = "…"')
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise SettingsError("wrong value", where, str(error), "correct it") from error


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _refuse_unknown(given: Mapping[str, Any], known: Mapping[str, Any] | tuple[str, ...], where: str) -> None:
    for name in given:
        if name not in known:
            raise SettingsError(
                "unknown entry", where, f"{name}{_nearest(name, known)}", f"choose among {', '.join(known)}"
            )


def _nearest(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""
