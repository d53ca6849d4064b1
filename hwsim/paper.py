"""Published figures beside what their own accounting gives, every cell, those that cannot close among them.

Energies of operations come from the technology tables, work from shapes (`dtss.hwsim.network_work`), energy-delay
products from `dtss.hwsim.compare`. No constant is tuned to a cell; k of DT-SNN, which the paper does not publish, is
one calibrated number for all its cells and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from dtss.hwsim import network_work
from dtss.hwsim.compare import mean_of_products
from dtss.hwsim.network_work import SpikformerShape
from dtss.hwsim.technology import Technology, load_technology

DTSS = "DTSS, Spiking Neural Networks with Dynamic Time Steps for Vision Transformers"
DT_SNN = "DT-SNN"
TEAS = "TEAS, Table 3"
SPIKFORMER = "Spikformer, ImageNet results"
SPIKINGFORMER = "Spikingformer-8-512, published log"


class Check(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One cell. derived: None where nothing published gives it.  basis: how it is derived, or why it cannot be.

    error: derived / published − 1.
    """

    table: str
    cell: str
    unit: str
    published: float
    derived: float | None
    error: float | None
    basis: str
    source: str


def checks() -> tuple[Check, ...]:
    """Every cell, in the order of the report."""
    fpga, horowitz = load_technology("28nm"), load_technology("45nm")
    return (
        *_constants(fpga),
        *_spikformer_energies(horowitz),
        *_dtss_table_v(fpga),
        *_dtss_ablation(),
        *_dtss_sentences(),
        *_dt_snn_energy(),
        *_dt_snn_contradictions(),
        *_dt_snn_delay(),
        *_dt_snn_gpu(),
        *_teas(),
    )


def _check(table: str, cell: str, published: float, derived: float | None, basis: str, source: str, unit: str) -> Check:
    error = None if derived is None else derived / published - 1.0
    return Check(
        table=table, cell=cell, unit=unit, published=published, derived=derived, error=error, basis=basis, source=source
    )


def accumulate_pj(table: Technology) -> float:
    """An addition of floating-point numbers: what the field calls an AC."""
    assert table.float_accumulate is not None
    return table.float_accumulate.pj


def multiply_accumulate_pj(table: Technology) -> float:
    """A multiplication and an addition of floating-point numbers: a MAC."""
    assert table.float_multiply is not None
    return table.float_multiply.pj + accumulate_pj(table)


def _constants(fpga: Technology) -> Iterator[Check]:
    source = f"{DTSS}, section IV-E"
    mac, ac = multiply_accumulate_pj(fpga), accumulate_pj(fpga)
    basis = "the 28nm table: float_multiply + float_accumulate"
    yield _check("DTSS constants", "MAC", 13.32, mac, basis, source, "pJ")
    yield _check("DTSS constants", "AC", 1.8, ac, "the 28nm table: float_accumulate", source, "pJ")
    yield _check("DTSS constants", "zero check", 0.05, fpga.zero_check.pj, "the 28nm table: zero_check", source, "pJ")
    yield _check("DTSS constants", "MAC / AC", 7.4, mac / ac, "the quotient of both", source, "")


# (blocks, features), SOPs in 10⁹, energy in mJ
SPIKFORMER_ENERGIES = (
    ((8, 384), 6.82, 7.734),
    ((6, 512), 8.69, 9.417),
    ((8, 512), 11.09, 11.577),
    ((10, 512), 13.67, 13.899),
    ((8, 768), 22.09, 21.477),
)
STEPS_OF_THE_FIELD = 4


def _first_layer(shape: SpikformerShape, time_steps: int) -> int:
    """MACs of the layer that reads the image, at each of the steps."""
    return network_work.layers(shape)[0].multiplications * time_steps


def published_energy_mj(horowitz: Technology, macs: float, accumulates: float) -> float:
    """The field's E = 4.6 pJ · MAC + 0.9 pJ · AC: no memory, no neuron."""
    return (multiply_accumulate_pj(horowitz) * macs + accumulate_pj(horowitz) * accumulates) / 1e9


def _spikformer_energies(horowitz: Technology) -> Iterator[Check]:
    shape = network_work.imagenet()
    head = network_work.layers(shape)[-1].multiplications + shape.classes  # and its biases
    macs = _first_layer(shape, STEPS_OF_THE_FIELD) + head
    yield _check(
        "Spikingformer energy", "8-512, MACs", 0.347329512, macs / 1e9,
        "first convolution at 4 steps, and the head with its biases, from the shape", SPIKINGFORMER, "G",
    )  # fmt: skip
    yield _check(
        "Spikingformer energy", "8-512, energy", 7.463503, published_energy_mj(horowitz, macs, 6.51754094e9),
        "4.6 pJ · MAC of the line above + 0.9 pJ · the log's 6.51754094 G AC", SPIKINGFORMER, "mJ",
    )  # fmt: skip
    of_8_512 = _first_layer(shape, STEPS_OF_THE_FIELD)
    for (blocks, features), sops, energy in SPIKFORMER_ENERGIES:
        yield _check(
            "Spikformer energy", f"{blocks}-{features}", energy,
            published_energy_mj(horowitz, of_8_512, sops * 1e9),
            f"0.9 pJ · {sops:g} G SOP + 4.6 pJ · first layer of 8-512 at 4 steps; figures recalled, not read again",
            SPIKFORMER, "mJ",
        )  # fmt: skip
    for (blocks, features), sops, energy in SPIKFORMER_ENERGIES:
        own = _first_layer(network_work.imagenet(blocks, features), STEPS_OF_THE_FIELD)
        if own != of_8_512:
            yield _check(
                "Spikformer energy", f"{blocks}-{features}, own first layer", energy,
                published_energy_mj(horowitz, own, sops * 1e9),
                "as above with the network's own first layer: the paper took that of 512 features for every width",
                SPIKFORMER, "mJ",
            )  # fmt: skip


class TableV(msgspec.Struct, frozen=True, kw_only=True):
    """One data set of DTSS Table V: (compute, memory, total) energy over that of the DTSS network."""

    data: str
    vit: tuple[float, float, float]
    spikformer: tuple[float, float, float]
    spikformer_steps: int
    steps: float


TABLE_V = (
    TableV(data="CIFAR-10", vit=(22.57, 0.84, 16.12), spikformer=(2.79, 3.68, 2.98), spikformer_steps=4, steps=1.15),
    TableV(data="CIFAR-100", vit=(25.7, 0.88, 17.15), spikformer=(1.70, 2.32, 1.89), spikformer_steps=6, steps=3.81),
)
ACTIVITY = 0.0654  # spikes per neuron and step of the CIFAR-100 run of 3.81 steps, DTSS Table IV


def spiking_compute_pj(fpga: Technology, shape: SpikformerShape, activity: float, steps: float) -> float:
    """First layer as MACs once; else S = activity · steps accumulates for each product, and one zero check of each."""
    first = network_work.layers(shape)[0].multiplications
    rest = network_work.multiplications(shape) - first
    each = activity * steps * accumulate_pj(fpga) + fpga.zero_check.pj
    return first * multiply_accumulate_pj(fpga) + rest * each


def _dtss_table_v(fpga: Technology) -> Iterator[Check]:
    shape, table = network_work.cifar(), "DTSS Table V"
    source = f"{DTSS}, Table V"
    dense = network_work.multiplications(shape) * multiply_accumulate_pj(fpga)
    for row in TABLE_V:
        ours = spiking_compute_pj(fpga, shape, ACTIVITY, row.steps)
        theirs = spiking_compute_pj(fpga, shape, ACTIVITY, row.spikformer_steps)
        where = "measured on this run" if row.data == "CIFAR-100" else _activity_note(fpga, shape, row)
        compute = f"6.54 % activity at each of {row.steps:g} steps, {where}"
        yield _check(table, f"{row.data}, NS ViT, CE", row.vit[0], dense / ours, compute, source, "×")
        yield _check(
            table, f"{row.data}, NS ViT, ME", row.vit[1], 1 / row.steps,
            "a ViT moves each activation once, the SNN each membrane at each step; weights left out", source, "×",
        )  # fmt: skip
        shares = _compute_shares(row)
        yield _check(
            table, f"{row.data}, NS ViT, TE", row.vit[2], _mix(row.vit, shares[1]), _share_note(shares, 1), source, "×"
        )
        yield _check(
            table, f"{row.data}, Spikformer, CE", row.spikformer[0], theirs / ours,
            f"the same activity at each of {row.spikformer_steps} steps; Spikformer's is not published", source, "×",
        )  # fmt: skip
        yield _check(
            table, f"{row.data}, Spikformer, ME", row.spikformer[1], membrane_ratio(row.spikformer_steps, row.steps),
            f"membranes alone: {row.spikformer_steps} steps over {row.steps:g}", source, "×",
        )  # fmt: skip
        yield _check(
            table, f"{row.data}, Spikformer, TE", row.spikformer[2], _mix(row.spikformer, shares[0]),
            _share_note(shares, 0), source, "×",
        )  # fmt: skip
        for kind in ("CE", "ME", "TE"):
            yield _check(table, f"{row.data}, DTS SNN, {kind}", 1.0, 1.0, "1 by definition", source, "×")
    one, other = (row.spikformer[1] / row.vit[1] / row.spikformer_steps for row in TABLE_V)
    yield _check(
        table, "memory of a Spikformer step in the ViT's, CIFAR-10 over CIFAR-100", one / other, 1.0,
        "(3.68 / 0.84) / 4 over (2.32 / 0.88) / 6; the same two networks, so 1, and no model gives all cells",
        source, "×",
    )  # fmt: skip


def membrane_ratio(steps: float, other_steps: float) -> float:
    """Membranes read and written at every step: neurons drop out, steps are left."""
    accesses = 2 * network_work.neurons(network_work.cifar())
    return accesses * steps / (accesses * other_steps)


def _activity_note(fpga: Technology, shape: SpikformerShape, row: TableV) -> str:
    """22.57 = dense / ours, solved for the activity."""
    zero = spiking_compute_pj(fpga, shape, 0.0, row.steps)
    slope = spiking_compute_pj(fpga, shape, 1.0, row.steps) - zero
    dense = network_work.multiplications(shape) * multiply_accumulate_pj(fpga)
    implied = (dense / row.vit[0] - zero) / slope
    return f"that of CIFAR-100: none is published here, and the cell would take {100 * implied:.0f} %"


def _compute_shares(row: TableV) -> tuple[float, float]:
    """The share of compute in the DTSS total that TE = c·CE + (1 − c)·ME gives, of each of the two rows."""
    vit, spikformer = ((each[2] - each[1]) / (each[0] - each[1]) for each in (row.vit, row.spikformer))
    return vit, spikformer


def _mix(row: tuple[float, float, float], share: float) -> float:
    return share * row[0] + (1 - share) * row[1]


def _share_note(shares: tuple[float, float], used: int) -> str:
    rows = ("NS ViT", "Spikformer")
    return (
        f"published CE and ME, with the {100 * shares[used]:.1f} % of compute that the {rows[used]} row implies; "
        f"its own implies {100 * shares[1 - used]:.1f} %"
    )


# (row, T_avg, T_max, SA in %, SOPs in M): CIFAR-100
ABLATION = (
    ("Table III, all losses", 1.03, 4, 2.90, 101.24),
    ("Table III, without sps", 1.96, 4, 4.87, 181.50),
    ("Table III, qkv and mlp", 2.73, 4, 5.56, 185.31),
    ("Table III, none", 3.93, 4, 5.33, 182.69),
    ("Table IV, 1 of 4, 1e-4", 2.45, 4, 3.73, 172.54),
    ("Table IV, 1 of 4, 1e-6", 3.0, 4, 20.97, 429.18),
    ("Table IV, 2 of 4, 1e-4", 2.69, 4, 5.41, 183.65),
    ("Table IV, 2 of 4, 1e-6", 2.73, 4, 5.33, 185.31),
    ("Table IV, 3 of 4, 1e-4", 3.36, 4, 7.70, 254.39),
    ("Table IV, 3 of 4, 1e-6", 3.36, 4, 7.71, 255.78),
    ("Table IV, 4 of 4", 4.0, 4, 9.85, 319.75),
    ("Table IV, 4 of 6", 3.81, 6, 6.54, 319.51),
)


def _dtss_ablation() -> Iterator[Check]:
    macs = network_work.multiplications(network_work.cifar()) / 1e6
    for row, _, steps, activity, sops in ABLATION:
        yield _check(
            "DTSS activity", f"{row}, SA", activity, 100 * sops / (macs * steps),
            f"{sops:g} M SOPs over MACs · {steps} steps: spikes per synapse, where SA is per neuron; "
            "equal only if all neurons had one fan-out",
            f"{DTSS}, Tables III and IV", "%",
        )  # fmt: skip


def _dtss_sentences() -> Iterator[Check]:
    table, source = "DTSS sentences", DTSS
    yield _check(table, "abstract, T_avg on CIFAR-10", 4.97, 4.79, "Table I says 4.79", source, "steps")
    yield _check(
        table,
        "ImageNet, fewer steps",
        46.0,
        100 * (1 - 1.30 / 2),
        "Table I: 1.30 against the 2 of +2.01 %",
        source,
        "%",
    )
    yield _check(table, "ImageNet, accuracy gain", 2.01, 68.04 - 66.03, "Table I, against two steps", source, "points")
    yield _check(table, "CIFAR-10, fewer steps", 20.0, 100 * (1 - 4.79 / 6), "Table I: 4.79 against 6", source, "%")
    yield _check(table, "CIFAR-100, fewer steps", 36.5, 100 * (1 - 3.81 / 6), "Table I: 3.81 against 6", source, "%")


FIXED_STEPS = 0.589  # k: what one image takes besides its steps, in steps
CALIBRATED = "E ∝ k + T with k = 0.589, one number calibrated on all eight cells (candidate: the first layer, run once)"

# (network, data, T of the dynamic run, T of the static one, energy over the static one's)
DT_SNN_TABLE_II = (
    ("VGG-16", "CIFAR-10", 1.46, 4, 0.46),
    ("VGG-16", "CIFAR-100", 2.03, 4, 0.56),
    ("VGG-16", "TinyImageNet", 2.14, 4, 0.60),
    ("VGG-16", "CIFAR10-DVS", 5.25, 10, 0.54),
    ("ResNet-19", "CIFAR-10", 1.27, 4, 0.41),
    ("ResNet-19", "CIFAR-100", 1.90, 4, 0.53),
    ("ResNet-19", "TinyImageNet", 2.01, 4, 0.56),
    ("ResNet-19", "CIFAR10-DVS", 5.02, 10, 0.52),
)


def dynamic_energy(steps: float, static_steps: float) -> float:
    """(k + T) / (k + T_static): linear in T, so the average T is enough."""
    return (FIXED_STEPS + steps) / (FIXED_STEPS + static_steps)


def _dt_snn_energy() -> Iterator[Check]:
    for network, data, steps, static, energy in DT_SNN_TABLE_II:
        yield _check(
            "DT-SNN Table II", f"{network}, {data}", energy, dynamic_energy(steps, static), CALIBRATED,
            f"{DT_SNN}, Table II", "×",
        )  # fmt: skip


def _dt_snn_contradictions() -> Iterator[Check]:
    yield _check(
        "DT-SNN elsewhere", "8 steps over 1", 4.9, dynamic_energy(8, 1),
        "the k of Table II; 4.9 would take k = 0.79", f"{DT_SNN}, Fig. 1", "×",
    )  # fmt: skip
    yield _check(
        "DT-SNN elsewhere", "4 steps over 2", 1.86, dynamic_energy(4, 2),
        "the k of Table II; +86 % would take k = 0.33, so it contradicts Fig. 1 too", f"{DT_SNN}, section III", "×",
    )  # fmt: skip
    yield _check(
        "DT-SNN elsewhere", "σ-E unit over one step", 2e-5, None,
        "no energy of the unit or of a step is published; it grows with the classes, K = 10 here",
        f"{DT_SNN}, section III", "×",
    )  # fmt: skip


def dynamic_delay_product(steps: Sequence[float], static_steps: float) -> float:
    """The mean over images of energy · latency, over that of the static run; both linear in an image's steps."""
    counts = np.array(steps, np.float64)
    static = (FIXED_STEPS + static_steps) * static_steps
    return mean_of_products(FIXED_STEPS + counts, counts) / static


def _dt_snn_delay() -> Iterator[Check]:
    """ResNet-19 on CIFAR-10: 1.27 steps on average, 84 % less energy-delay product."""
    table, source = "DT-SNN energy-delay", f"{DT_SNN}, section I"
    at_most = dynamic_delay_product([1.0] * 91 + [4.0] * 9, 4)  # 1.27 on average
    yield _check(
        table, "ResNet-19, CIFAR-10, product of the means", 0.16, dynamic_delay_product([1.27], 4),
        "every image takes 1.27 steps: what the means alone would give", source, "×",
    )  # fmt: skip
    yield _check(
        table, "ResNet-19, CIFAR-10, mean of the products", 0.16, at_most,
        "91 % of images take 1 step, 9 % take 4: the most that 1.27 steps can; the published one lies between both",
        source, "×",
    )  # fmt: skip
    yield _check(
        table, "largest reduction", 80.9, 84.0,
        "another sentence of the paper gives 84 % for ResNet-19 on CIFAR-10", f"{DT_SNN}, sections I and IV", "%",
    )  # fmt: skip


# (network, images a second at 1, 2, 3, 4 steps, (T, images a second) of the dynamic runs)
DT_SNN_GPU = (
    ("VGG-16", (199.3, 121.8, 85.19, 64.34), ((1.10, 176.7), (1.46, 142.0), (2.11, 105.9))),
    ("ResNet-19", (185.3, 105.9, 77.14, 62.65), ((1.07, 169.3), (1.27, 147.5), (1.46, 135.7))),
)


def interpolated_throughput(static: Sequence[float], steps: float) -> float:
    """Time is linear in steps between the static runs."""
    times = [1 / each for each in static]
    return float(1 / np.interp(steps, np.arange(1, len(times) + 1), times))


def _dt_snn_gpu() -> Iterator[Check]:
    for network, static, dynamic in DT_SNN_GPU:
        assert all(one > other for one, other in pairwise(static))
        for steps, throughput in dynamic:
            derived = interpolated_throughput(static, steps)
            exit_ms = 1000 / throughput - 1000 / derived
            yield _check(
                "DT-SNN Table III", f"{network}, {steps:g} steps", throughput, derived,
                f"time on straight lines between the static runs; the rest, {exit_ms:.2f} ms, would be the exit test",
                f"{DT_SNN}, Table III", "images/s",
            )  # fmt: skip


TEAS_RATIOS = (  # a network, its data, its mean steps and the published ratio
    ("7 Conv 2 FC", "CIFAR-10", 6.2, 403.2),
    ("VGG16", "CIFAR-10", 45.5, 54.9),
    ("ResNet20", "CIFAR-10", 40.5, 61.7),
    ("VGG16", "CIFAR-100", 71.3, 35.1),
    ("VGG16", "ImageNet", 76.9, 32.5),
    ("ResNet34", "ImageNet", 83.1, 30.1),
)
TEAS_STEPS = 2500


def _teas() -> Iterator[Check]:
    for network, data, steps, ratio in TEAS_RATIOS:
        basis = f"{TEAS_STEPS} / {steps:g} steps"
        yield _check("TEAS", f"{network}, {data}", ratio, TEAS_STEPS / steps, basis, TEAS, "×")
    for cell, published in (("VGG-16, energy against the ANN", 11.5), ("mean energy against the ANN", 22.9)):
        yield _check("TEAS", cell, published, None, "no spike count is published", "TEAS, Fig. 8", "×")
