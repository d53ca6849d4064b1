"""dtss-train sensitivity: histograms of LIF currents over time, what follows from them, and the command."""

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dtss.models import sensitivity as sensitivity_module
from dtss.models.checkpoint import Checkpoint, CheckpointError, load, save
from dtss.models.cli import main
from dtss.models.data import DataError, LabelledImages
from dtss.models.network import network_of
from dtss.models.sensitivity import (
    LayerCurrents,
    Sensitivity,
    analyse,
    binned,
    cosine_similarity,
    images_of,
    suggested_groups,
)
from dtss.models.sensitivity_figure import figure
from dtss.models.spikformer import SpikformerConfig
from dtss.models.time_step_mask import LayerGroup

DIGITS = Path(__file__).parents[2] / "models" / "zoo" / "digits.pt"
COUNTS = st.lists(st.integers(0, 2**40), min_size=1, max_size=8).filter(any)


def with_config(checkpoint: Checkpoint, config: SpikformerConfig) -> Checkpoint:
    """An untrained network of this configuration, excited so that spikes reach its last layer."""
    torch.manual_seed(0)
    state = network_of(config).state_dict()
    loud = {name: 4.0 * tensor if name.endswith("norm.weight") else tensor for name, tensor in state.items()}
    return dataclasses.replace(checkpoint, config=config, state_dict=loud)


def plain(checkpoint: Checkpoint) -> Checkpoint:
    return with_config(checkpoint, dataclasses.replace(checkpoint.config, masked=False))


def layer(name: str, group: LayerGroup, *counts: tuple[int, ...]) -> LayerCurrents:
    return LayerCurrents(name, group, 0.0, 1.0, counts)


def test_a_histogram_by_hand() -> None:
    current = torch.tensor([[0.0, 0.5, 1.0, 4.0], [4.0, 4.0, 1.0, 2.0]])
    counts = binned(current, 0.0, 4.0, 4).tolist()
    assert counts == [[2, 1, 0, 1], [0, 1, 1, 2]]
    # (1·1 + 1·2) / (√6 · √6)
    assert cosine_similarity(counts[0], counts[1]) == 0.5
    by_hand = layer("x", "qkv", *(tuple(step) for step in counts), (2, 1, 0, 1))
    assert by_hand.similarities == (1.0, 0.5, 1.0)
    assert by_hand.sensitivity == 0.25


def test_one_value_alone_is_in_the_first_bin() -> None:
    assert binned(torch.zeros(2, 3), 0.0, 0.0, 4).tolist() == [[3, 0, 0, 0], [3, 0, 0, 0]]


@given(COUNTS)
def test_similarity_of_equal_histograms_is_exactly_1(counts: list[int]) -> None:
    assert cosine_similarity(counts, counts) == 1.0


@given(COUNTS)
def test_similarity_is_symmetric_and_from_0_to_1(counts: list[int]) -> None:
    others = counts[::-1]
    assert 0.0 <= cosine_similarity(counts, others) == cosine_similarity(others, counts) <= 1.0


def test_histograms_that_share_no_bin_are_not_similar() -> None:
    assert cosine_similarity((3, 0, 1, 0), (0, 5, 0, 2)) == 0.0


def test_groups_are_means_and_the_suggestion_is_from_their_median_on() -> None:
    same, half, other = ((2, 1, 0, 1), (2, 1, 0, 1)), ((2, 1, 0, 1), (0, 1, 1, 2)), ((1, 0, 0, 0), (0, 1, 0, 0))
    layers = (
        layer("a", "sps", *same),
        layer("b", "sps", *other),
        layer("c", "qkv", *half),
        layer("d", "attn", *same),
        layer("e", "mlp", *other),
    )
    result = Sensitivity("hand", 1, layers, dropped=())
    assert result.groups == {"sps": 0.5, "qkv": 0.5, "attn": 0.0, "mlp": 1.0}
    assert result.suggested_groups == ("sps", "qkv", "mlp")
    assert result.other_groups == ("attn",)
    assert suggested_groups({"sps": 0.4, "qkv": 0.1, "attn": 0.3, "mlp": 0.2}) == ("sps", "attn")
    assert (result.time_steps, result.bins, result.warning) == (2, 4, None)


@pytest.mark.parametrize(("residual", "first"), [("spike", "stem.0.lif"), ("membrane", "stem.1.lif")])
def test_the_first_layer_reads_the_same_at_every_step(checkpoint: Checkpoint, residual: str, first: str) -> None:
    changes = {"residual": residual}
    subject = with_config(checkpoint, dataclasses.replace(checkpoint.config, **changes))  # type: ignore[arg-type]
    result = analyse(subject, subject.samples, 64)
    layers = {each.name: each for each in result.layers}
    assert list(layers) == list(subject.build_model().lif_layers())
    assert layers[first].similarities == (1.0, 1.0, 1.0, 1.0)
    assert layers[first].sensitivity == 0.0
    assert any(each.sensitivity > 0.0 for each in result.layers)


def test_counts_are_of_every_current_whatever_the_batches(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = plain(checkpoint)
    model = subject.build_model()
    currents: dict[str, torch.Tensor] = {}
    for name, lif in model.lif_layers().items():
        # the name is bound now, not when the hook runs
        lif.register_forward_pre_hook(lambda _, inputs, name=name: currents.update({name: inputs[0].detach()}))
    with torch.no_grad():
        model(subject.preprocess(subject.samples.images))
    monkeypatch.setattr(sensitivity_module, "BATCH_SIZE", 2)
    for each in analyse(subject, subject.samples, 16).layers:
        current = currents[each.name]
        assert (each.low, each.high) == pytest.approx((float(current.min()), float(current.max())), abs=1e-5)
        if each.name.startswith("blocks.0.attn.") and each.group == "attn":  # silent, untrained: all currents are 0
            assert (each.low, each.high, each.counts) == (0.0, 0.0, ((640, *[0] * 15),) * 4)
            continue
        assert [sum(step) for step in each.counts] == [current[0].numel()] * 4
        ends = (each.low, each.high)
        expected = torch.stack([torch.histc(step.double(), 16, *ends) for step in current])
        # a current at the edge of a bin may be rounded to either side
        assert (torch.tensor(each.counts) - expected).abs().sum() <= 8


def test_masks_that_dropped_steps_are_warned_of(checkpoint: Checkpoint) -> None:
    masked = analyse(checkpoint, checkpoint.samples, 8)
    assert masked.warning == (
        "masks dropped steps in 10 of 10 LIF layers, which changes what later layers read; to choose groups, analyse "
        "a network trained with --model plain"
    )
    assert masked.warning in figure(masked)
    unmasked = plain(checkpoint)
    assert analyse(unmasked, unmasked.samples, 8).warning is None
    whole = with_config(checkpoint, dataclasses.replace(checkpoint.config, initial_steps=4))
    assert analyse(whole, whole.samples, 8).warning is None


def test_networks_that_cannot_be_analysed(checkpoint: Checkpoint) -> None:
    def refusal(subject: Checkpoint) -> str:
        with pytest.raises((CheckpointError, DataError)) as caught:
            analyse(subject, subject.samples, 8)
        return str(caught.value)

    config = checkpoint.config
    assert refusal(with_config(checkpoint, dataclasses.replace(config, time_steps=1, initial_steps=1))) == (
        "config 'digits': nothing to compare: found one time step; give a network of 2 or more"
    )
    assert refusal(with_config(checkpoint, dataclasses.replace(config, masked=False, spiking=False))) == (
        "config 'digits': no spiking network: found a non-spiking ViT, a baseline for accuracies; "
        "train one with --model dtss or --model plain"
    )
    none = LabelledImages(checkpoint.samples.images[:0], checkpoint.samples.labels[:0])
    assert refusal(dataclasses.replace(checkpoint, samples=none)) == (
        "samples of 'digits': no images: found none; give --data DIR with the files of its data set"
    )
    huge = torch.tensor([3.4e38, -3.4e38, 3.4e38, -3.4e38])
    state = {**checkpoint.state_dict, "stem.0.norm.weight": huge, "stem.0.norm.bias": huge}
    assert refusal(dataclasses.replace(checkpoint, state_dict=state)) == (
        "currents of stem.0.lif: not finite: found -inf..inf; training diverged: train again"
    )


def test_images_of_the_checkpoint_and_of_its_data_set(tmp_path: Path) -> None:
    digits = load(DIGITS)
    assert images_of(digits, None, None) is digits.samples
    read = images_of(digits, tmp_path, None)
    assert isinstance(read, LabelledImages)
    assert torch.equal(read.images, digits.samples.images)
    assert torch.equal(images_of(digits, None, 4).labels, digits.samples.labels[[0, 91, 182, 273]])


def test_data_sets_that_do_not_fit(checkpoint: Checkpoint, tmp_path: Path) -> None:
    def refusal(training: dict[str, object], config: SpikformerConfig = checkpoint.config) -> str:
        subject = dataclasses.replace(checkpoint, config=config, training=training)
        with pytest.raises((CheckpointError, DataError)) as caught:
            images_of(subject, tmp_path, None)
        return str(caught.value)

    hint = "leave --data out to use the checkpoint's own samples"
    assert refusal({}) == f"training: recipe: unknown data set: found none named; {hint}"
    assert refusal({"recipe": {"data_set": "birds"}}) == f"training: recipe: unknown data set: found 'birds'; {hint}"
    wide = dataclasses.replace(checkpoint.config, image_size=(9, 8))
    assert refusal({"recipe": {"data_set": "digits"}}, wide) == (
        f"data set digits: wrong images: found 8×8 pixels of 1 channels; digits reads 9×8 of 1; {hint}"
    )


def test_the_command_on_the_shipped_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    svg = tmp_path / "currents.svg"
    command = ["sensitivity", str(DIGITS), "--images", "40", "--bins", "32"]
    assert main([*command, "--json", "--svg", str(svg)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    report = json.loads(printed.out)
    assert printed.out == json.dumps(report, sort_keys=True) + "\n"
    assert (report["images"], report["bins"], report["time_steps"]) == (40, 32, 4)
    assert report["checkpoint"] == str(DIGITS)
    assert report["paper_groups"] == ["qkv", "mlp"]
    assert sorted(report["suggested_groups"] + report["other_groups"]) == ["attn", "mlp", "qkv", "sps"]
    assert report["layers"]["stem.0.lif"]["similarities"] == [1.0] * 4
    masks = load(DIGITS).training["masks"]
    assert set(report["layers"]) == set(masks)
    assert report["layers_with_dropped_steps"] == [name for name, mask in masks.items() if not all(mask)]
    assert len(report["warnings"]) == 1
    of_qkv = [each["sensitivity"] for each in report["layers"].values() if each["group"] == "qkv"]
    assert report["groups"]["qkv"] == pytest.approx(sum(of_qkv) / 6)
    assert list(tmp_path.iterdir()) == [svg]
    check_svg(svg.read_text(), list(report["layers"]))

    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{DIGITS}: currents into 17 LIF layers on 40 images, 32 bins"
    assert re.split(r"\s{2,}", lines[2]) == ["LIF layer", "group", *(f"step {t}" for t in range(4)), "sensitivity"]
    assert lines[3].split() == ["stem.0.lif", "sps", *["1.0000"] * 4, "0.0000"]
    assert f"Suggested: --mask-groups {','.join(report['suggested_groups'])}" in lines
    text = " ".join(line.strip() for line in lines)
    assert "A heuristic: groups at or above the median sensitivity of the four, as Eq. 8 has it." in text
    assert f"whose steps look alike, which are {','.join(report['other_groups'])} here." in text
    assert "The paper's choice, by experiment: qkv,mlp." in text
    assert f"Warning: {report['warnings'][0]}." in text


def check_svg(text: str, layers: Sequence[str]) -> None:
    """Well-formed, a panel for each layer, nothing from elsewhere."""
    root = ElementTree.fromstring(text)
    panels = root.findall("{*}g[@class='panel']")
    assert sorted(panel.findtext("{*}text", "") for panel in panels) == sorted(layers)
    for panel in panels:
        similarity = panel.findall("{*}text")[1].text or ""
        assert re.fullmatch(r"cos [01]\.\d{4}", similarity)
        assert [path.get("class") for path in panel.findall("{*}path")][:2] == ["first", "last"]
    without_namespace = text.replace('xmlns="http://www.w3.org/2000/svg"', "", 1)
    for reference in ("http", "href", "url(", "@import", "<script", "<image"):
        assert reference not in without_namespace


def test_any_name_of_a_network_is_safe_in_the_figure(checkpoint: Checkpoint) -> None:
    hostile = plain(
        dataclasses.replace(checkpoint, config=dataclasses.replace(checkpoint.config, name="<a>&\x00\ud800"))
    )
    result = analyse(hostile, hostile.samples, 8)
    text = figure(result)
    check_svg(text, [each.name for each in result.layers])
    assert "of &lt;a&gt;&amp;</title>" in text
    assert text.encode() == figure(analyse(hostile, hostile.samples, 8)).encode()


def test_errors_of_the_command(checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, svg = tmp_path / "no.pt", tmp_path / "x.svg"
    assert main(["sensitivity", str(missing), "--svg", str(svg)]) == 3
    assert capsys.readouterr().err == (
        f"dtss-train sensitivity: {missing}: no such file: found nothing; give the path of a checkpoint file\n"
    )
    small = tmp_path / "small.pt"
    save(checkpoint, small)
    assert main(["sensitivity", str(small), "--data", str(tmp_path), "--svg", str(svg)]) == 3
    assert capsys.readouterr().err.startswith("dtss-train sensitivity: training: recipe: unknown data set: ")
    assert usage_error(capsys, str(small), "--svg", str(tmp_path)) == (
        f"dtss-train sensitivity: error: --svg {tmp_path}: this is a folder; give the name of the file to write"
    )
    assert usage_error(capsys, str(small), "--svg", f"{tmp_path}/no/x.svg") == (
        f"dtss-train sensitivity: error: --svg {tmp_path}/no/x.svg: the folder {tmp_path}/no does not exist; "
        f"create it first"
    )
    assert usage_error(capsys, str(small), "--bins", "1") == (
        "dtss-train sensitivity: error: argument --bins: 1 is no whole number from 2 to 4096; give how many bins"
    )
    assert usage_error(capsys, str(small), "--images", "0") == (
        "dtss-train sensitivity: error: argument --images: '0' is not a whole number from 1 to 999999999"
    )
    assert list(tmp_path.iterdir()) == [small]


def usage_error(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["sensitivity", *options])
    assert end.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_bug_is_exit_code_70_and_an_interrupt_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_by(error: BaseException) -> int:
        def raise_it(*_arguments: object) -> None:
            raise error

        monkeypatch.setattr(sensitivity_module, "analyse", raise_it)
        return main(["sensitivity", str(DIGITS)])

    assert end_by(KeyError("surprise")) == 70
    assert capsys.readouterr().err.endswith(
        "dtss-train sensitivity: internal error, a bug in dtss; please report the lines above\n"
    )
    assert end_by(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "dtss-train sensitivity: interrupted\n"


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\n"
        "from dtss.models.cli import build_parser, main\n"
        "assert 'dtss-train sensitivity CHECKPOINT' in ' '.join(build_parser().format_help().split())\n"
        "try:\n"
        "    main(['sensitivity', '--help'])\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert "groups at or above the median sensitivity of the four" in text
    assert (
        "This is a heuristic: III-B argues that layers whose steps look alike need fewer of them, the other groups"
        in text
    )
    assert "By experiment, the paper chose qkv and mlp." in text
