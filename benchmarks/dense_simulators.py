"""Simulators of dense matrix products, on the products of a schedule: each shape once, times how often it is taken."""

import io
import logging
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from dtss.compiler.schedule.format import AttentionProduct, Convolution, Product, Schedule
from dtss.compiler.schedule.geometry import reduction_length
from dtss.compiler.schedule.hardware import Hardware


class Shape(NamedTuple):
    """[rows, length] · [length, columns]."""

    rows: int
    columns: int
    length: int


class Costs(NamedTuple):
    """energy_pj: None where none is estimated."""

    cycles: float
    energy_pj: float | None = None


# Words of 8 bits. One bank of each memory, as wide as the DRAM, which is shared in the schedule's machine, not here.
SCALE_SIM = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth = USER
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
ifmapsramszkB = {spike_kib}
filtersramszkB = {weight_kib}
ofmapsramszkB = {current_kib}
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = {words}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = {words}
IfmapSRAMBankNum = 1
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = {words}
FilterSRAMBankNum = 1
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""


def matrix_products(schedule: Schedule) -> Mapping[Shape, int]:
    """Shape → how many products of it one image takes, over steps and heads."""
    found: Counter[Shape] = Counter()
    for node in schedule.products:
        times = len(node.steps.active)
        if isinstance(node, AttentionProduct):
            shape, heads = _head_shape(schedule, node), node.heads
            found[shape] += times * heads
        else:
            found[_shape(schedule, node)] += times
    return found


def _shape(schedule: Schedule, node: Product) -> Shape:
    offsets = prod(node.kernel) if isinstance(node, Convolution) else 1
    return Shape(node.positions, node.channels, offsets * schedule.node(node.inputs[0]).channels)


def _head_shape(schedule: Schedule, node: AttentionProduct) -> Shape:
    length = reduction_length(node, schedule.node(node.inputs[0]))
    if node.stage in ("key_value", "query_key"):  # of shape (heads, rows, columns)
        return Shape(node.shape[1], node.shape[2], length)
    return Shape(node.positions, node.channels // node.heads, length)


def scale_sim(schedule: Schedule) -> Costs:
    """An array of the schedule's size and memories, still weights: addresses of every cycle, traces not written."""
    from scalesim.scale_sim import scalesim  # noqa: PLC0415  # not always there

    products = matrix_products(schedule)
    with tempfile.TemporaryDirectory() as name, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        folder = Path(name)
        (folder / "machine.cfg").write_text(_scale_sim_machine(schedule.hardware), encoding="utf-8")
        rows = [f"p{index},{','.join(map(str, shape))},\n" for index, shape in enumerate(products)]
        (folder / "products.csv").write_text("Layer,M,N,K,\n" + "".join(rows), encoding="utf-8")
        (folder / "layout.csv").write_text("Layer,\n", encoding="utf-8")
        simulator = scalesim(
            save_disk_space=True,
            verbose=False,
            config=str(folder / "machine.cfg"),
            topology=str(folder / "products.csv"),
            layout=str(folder / "layout.csv"),
            input_type_gemm=True,
        )
        simulator.run_scale(top_path=str(folder))
        layers = simulator.runner.single_layer_sim_object_list
        cycles = [float(layer.get_compute_report_items()[0]) for layer in layers]  # first of them: with the prefetch
    return Costs(sum(each * times for each, times in zip(cycles, products.values(), strict=True)))


def _scale_sim_machine(hardware: Hardware) -> str:
    return SCALE_SIM.format(
        rows=hardware.array.rows,
        columns=hardware.array.columns,
        spike_kib=hardware.memory.spike_bytes // 1024,
        weight_kib=hardware.memory.weight_bytes // 1024,
        current_kib=hardware.memory.current_bytes // 1024,
        words=hardware.dram.bits_per_cycle // 8,
    )


def zigzag(schedule: Schedule) -> Costs:
    """Its own TPU-like machine: 32×32 multipliers, weights in registers, 2 MB of SRAM, DRAM of 64 bits a cycle."""
    import zigzag as package  # noqa: PLC0415  # not always there
    from zigzag.api import get_hardware_performance_zigzag  # noqa: PLC0415

    products = matrix_products(schedule)
    inputs = Path(package.__file__).parent / "inputs"
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            *_, totals = get_hardware_performance_zigzag(
                [_zigzag_layer(index, shape) for index, shape in enumerate(products)],
                str(inputs / "hardware" / "tpu_like.yaml"),
                str(inputs / "mapping" / "tpu_like.yaml"),
                dump_folder=folder,
                loma_show_progress_bar=False,
            )
    finally:
        logging.disable(level)
    found = {layer.layer.name: layer for layer, _ in totals[0][1]}
    each = [(found[f"p{index}"], times) for index, times in enumerate(products.values())]
    return Costs(
        sum(layer.latency_total2 * times for layer, times in each),
        sum(layer.energy_total * times for layer, times in each),
    )


def _zigzag_layer(index: int, shape: Shape) -> dict[str, Any]:
    return {
        "id": index,
        "name": f"p{index}",
        "operator_type": "Gemm",
        "equation": "O[d][k]+=I[d][c]*W[c][k]",
        "dimension_relations": [],
        "loop_dims": ["D", "K", "C"],
        "loop_sizes": list(shape),
        "operand_precision": {"I": 8, "W": 8, "O": 16, "O_final": 8},
        "operand_source": {},
    }
