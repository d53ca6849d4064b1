"""The benches that mutants go through, the cheapest first: all of them are run by the tests too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings

from dtss.compiler.schedule.errors import UnsupportedError
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.benches.bench_handshakes import CASE
from dtss.rtl.generate import SCHEDULE, TOP, generate, leaf_modules
from dtss.rtl.limits import check_fits
from tests.rtl import test_elementwise, test_shell, test_units
from tests.rtl.mutation.cocotb_bench import CocotbBench, CocotbNetlistBench
from tests.rtl.mutation.netlists import AnyMutant, NetlistMutant
from tests.rtl.mutation.network_bench import NetlistBench, NetworkBench
from tests.rtl.random_networks import networks
from tests.rtl.small_network import MACHINES, TINY, Nodes, network, small_network, stored_network
from tests.rtl.test_handshakes import HANDSHAKES, handshake_case

SEED = 7  # of the small network's weights and images
NETWORKS: Mapping[str, Nodes] = {"small": network, "stored": stored_network}
SMALL_NETWORKS: tuple[tuple[str, str, TimeOrder, bool], ...] = (
    ("small", "odd", "outer", True),
    ("small", "tiny", "inner", True),
    ("stored", "tiny", "inner", True),
    ("stored", "odd", "outer", True),
    ("small", "wide_load", "inner", True),
    ("small", "odd", "inner", False),
    ("small", "narrow", "outer", False),
)
RANDOM_NETWORKS = 2

NETLIST_MODULES = (
    "ac_column", "accumulator_file", "address_walker", "gather_walker", "lif_neuron", "mask_unit", "pass_controller",
    "pass_sequencer", "slot_counter", "window_walker", "zero_skipper",
)  # fmt: skip
NETLIST_MUTANTS = 10  # of each
NETLIST_SEEDS = (7, 8)


class Bench(Protocol):
    """Something that may find a mutant. number 0: none."""

    @property
    def name(self) -> str: ...
    def takes(self, mutant: AnyMutant) -> bool:
        """Whether it can hold the mutant and runs what it changes."""

    def build(self, mutants: Mapping[int, AnyMutant]) -> None: ...
    def kills(self, number: int) -> bool: ...


def network_benches(folder: Path) -> Iterator[NetworkBench]:
    for kind, machine, order, streams in SMALL_NETWORKS:
        loaded = small_network(MACHINES[machine], order, SEED, streams=streams, nodes=NETWORKS[kind])
        name = f"{kind} network {machine} {order}"
        yield NetworkBench(name, loaded, folder / name.replace(" ", "_"))
    for number, loaded in enumerate(random_networks(RANDOM_NETWORKS)):
        yield NetworkBench(f"random network {number}", loaded, folder / f"random_{number}")


def random_networks(count: int) -> list[LoadedSchedule]:
    """The same ones each time, as long as Hypothesis stays the same."""
    found: list[LoadedSchedule] = []

    @seed(SEED)
    @settings(
        max_examples=4 * count, deadline=None, database=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(networks())
    def collect(loaded: LoadedSchedule) -> None:
        try:
            check_fits(loaded.schedule, loaded.tensors)
        except UnsupportedError:
            return
        found.append(loaded)

    collect()
    return sorted(found, key=lambda loaded: -len(loaded.schedule.nodes))[:count]


def unit_benches(folder: Path) -> Iterator[CocotbBench]:
    leaves = leaf_modules()
    for size, parameters in test_units.SIZES.items():
        yield CocotbBench(
            name=f"units {size}", test_module="dtss.rtl.benches.bench_units", toplevel="unit_bench",
            parameters=parameters, sources=leaves, harness=("unit_bench",), folder=folder / f"units_{size}",
        )  # fmt: skip
    for size, numbers in test_elementwise.SIZES.items():
        yield CocotbBench(
            name=f"elementwise {size}", test_module="dtss.rtl.benches.bench_elementwise",
            toplevel="elementwise_bench", parameters=numbers.verilog_parameters(), sources=leaves,
            harness=("elementwise_bench",), folder=folder / f"elementwise_{size}",
        )  # fmt: skip
    for bench in test_shell.BENCHES:
        tested = [module for module, of_module in test_shell.BENCH_OF.items() if of_module == bench]
        for size, parameters in test_shell.SIZES.items():
            yield CocotbBench(
                name=f"{bench.removeprefix('bench_')} {size}", test_module=f"dtss.rtl.benches.{bench}",
                toplevel="shell_bench", parameters=parameters, sources=leaves,
                harness=("dram_model", "shell_bench"), folder=folder / f"{bench}_{size}", tested=tested,
            )  # fmt: skip


def handshake_benches(folder: Path) -> Iterator[CocotbBench]:
    for streams, order in HANDSHAKES.items():
        loaded = small_network(TINY, order, SEED, streams=streams)
        own = folder / ("handshakes_streams" if streams else "handshakes_resident")
        manifest = generate(loaded, own / "generated")
        case = handshake_case(loaded, manifest, own / "generated" / SCHEDULE)
        memories = {f"memories/{path.name}": path.read_bytes() for path in (own / "generated" / "memories").iterdir()}
        yield CocotbBench(
            name=f"handshakes {'streams' if streams else 'resident'}",
            test_module="dtss.rtl.benches.bench_handshakes", toplevel=TOP, parameters={},
            sources=sorted((own / "generated" / "rtl").glob("*.v")), harness=(), folder=own / "bench",
            inputs={str(CASE): msgspec.json.encode(case)} | memories,
        )  # fmt: skip


def netlist_benches(folder: Path) -> Iterator[NetlistBench]:
    """One machine: the mutants are of its sizes."""
    for number in NETLIST_SEEDS:
        loaded = small_network(MACHINES["odd"], "outer", number, streams=True)
        yield NetlistBench(f"netlists, network {number}", loaded, folder / f"netlists_{number}")


def find_netlist_mutants(folder: Path) -> list[NetlistMutant]:
    return next(netlist_benches(folder)).find(NETLIST_MODULES, NETLIST_MUTANTS)


def netlist_unit_benches(folder: Path) -> Iterator[CocotbNetlistBench]:
    """At the sizes of the same machine."""
    network_bench = next(netlist_benches(folder))
    yield CocotbNetlistBench(
        name="units, netlists", test_module="dtss.rtl.benches.bench_units", toplevel="unit_bench",
        parameters=test_units.SIZES["machine"], sources=leaf_modules(), harness=("unit_bench",),
        folder=folder / "units_netlists", network=network_bench,
    )  # fmt: skip
    yield CocotbNetlistBench(
        name="elementwise, netlists", test_module="dtss.rtl.benches.bench_elementwise", toplevel="elementwise_bench",
        parameters=test_elementwise.SIZES["machine"].verilog_parameters(), sources=leaf_modules(),
        harness=("elementwise_bench",), folder=folder / "elementwise_netlists", network=network_bench,
    )  # fmt: skip


def all_benches(folder: Path) -> Iterator[Bench]:
    yield from netlist_benches(folder)
    yield from netlist_unit_benches(folder)
    yield from network_benches(folder)
    yield from unit_benches(folder)
    yield from handshake_benches(folder)
