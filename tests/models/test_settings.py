"""Networks and recipes from TOML files: every mistake is named with its place and what to do."""

import dataclasses
from pathlib import Path

import msgspec
import pytest

from dtss.models.neurons import NEURON_FAMILIES
from dtss.models.recipes import RECIPES
from dtss.models.settings import SettingsError, named_settings, read_settings
from dtss.models.spikformer import CONFIGS


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(text)
    return path


def plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(list(value)) if isinstance(value, list | tuple) else repr(value)


def as_toml(section: dict[str, object]) -> str:
    lines = (
        f"{name} = {{{', '.join(f'{key} = {plain(entry)}' for key, entry in value.items())}}}"
        if isinstance(value, dict)
        else f"{name} = {plain(value)}".replace("True", "true").replace("False", "false")
        for name, value in section.items()
        if value is not None
    )
    return "\n".join(lines)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_named_configuration_written_out_is_itself(name: str, tmp_path: Path) -> None:
    config, recipe = named_settings(name)
    assert (config, recipe) == (CONFIGS[name], RECIPES[name])
    network = as_toml(msgspec.to_builtins(config))
    text = f"[network]\n{network}\n[recipe]\n{as_toml(msgspec.to_builtins(recipe))}\n"
    assert read_settings(written(tmp_path, text)) == (config, recipe)
    assert read_settings(written(tmp_path, f'base = "{name}"\n')) == (config, recipe)


def test_a_base_is_changed_where_the_file_says_so(tmp_path: Path) -> None:
    text = 'base = "digits"\n[network]\nname = "mine"\ntime_steps = 6\nneuron = "dtss"\n[recipe]\nepochs = 3\n'
    config, recipe = read_settings(written(tmp_path, text))
    neuron = NEURON_FAMILIES["dtss"]
    assert config == dataclasses.replace(CONFIGS["digits"], name="mine", time_steps=6, neuron=neuron)
    assert recipe == dataclasses.replace(RECIPES["digits"], epochs=3)


BASE = 'base = "digits"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[network",
            "not TOML: found Expected ']' at the end of a table declaration (at end of document); correct that line",
        ),
        (
            'base = "digit"',
            (
                "unknown base: found 'digit' (did you mean digits?); choose among digits, mnist-small, cifar10-small, "
                "spikformer-4-384, spikformer-1-384, spikformer-8-512"
            ),
        ),
        ("[networks]", "unknown entry: found networks (did you mean network?); choose among base, network, recipe"),
        ("network = 3", "network is no table: found 3; write it as [network]"),
        (
            BASE + '[network]\nneuron = "relu"',
            (
                "[network]: unknown neuron family: found 'relu'; choose among dtss, spikingjelly-tau2, "
                "spikingjelly-tau2-soft, spikingjelly-no-decay-input, dt-snn, or give a table"
            ),
        ),
        (
            BASE + '[network]\ndepth = "two"',
            "[network]: wrong value: found Expected `int`, got `str` - at `$.depth`; correct it",
        ),
        (
            BASE + "[network]\nheads = 7",
            "[network]: wrong value: found digits: dim 64 does not split over 7 heads; change one; correct it",
        ),
        (BASE + "[recipe]\nepochs = 0", "[recipe]: wrong value: found epochs is 0; give 1 or more; correct it"),
        (
            "[network]\nname = 'x'",
            (
                "[network]: entries are missing: found no image_size, in_channels, classes, dim, depth, heads, "
                'time_steps, initial_steps, stem_channels, stem_pools; give them, or a base = "…"'
            ),
        ),
    ],
)
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError) as error:
        read_settings(path)
    assert str(error.value) == f"{path}: {message}"


def test_an_unknown_entry_comes_with_the_nearest(tmp_path: Path) -> None:
    path = written(tmp_path, BASE + "[recipe]\nlearning_rat = 0.1")
    with pytest.raises(SettingsError) as error:
        read_settings(path)
    assert str(error.value).startswith(
        f"{path}: [recipe]: unknown entry: found learning_rat (did you mean learning_rate?); choose among data_set, "
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings(tmp_path / "no.toml")
    assert str(error.value) == (
        f"{tmp_path}/no.toml: cannot be read: found No such file or directory; give the path of a file"
    )


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"^--config cifar-small: .* \(did you mean cifar10-small\?\); choose among "):
        named_settings("cifar-small")
