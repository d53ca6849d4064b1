"""dtss-rtl characterize: liberty files, energies by hand, simulated gates against Icarus Verilog's, real streams."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.compiler.schedule.format import TimeOrder
from dtss.compiler.schedule.interpret import interpret
from dtss.hwsim.cli import main as main_of_dtss_sim
from dtss.hwsim.technology import load_technology
from dtss.rtl.characterize.formulas import FormulaError, truth_table
from dtss.rtl.characterize.gate_builder import build
from dtss.rtl.characterize.gate_simulation import simulate
from dtss.rtl.characterize.gates import GateNetlist
from dtss.rtl.characterize.library import Library, read_library
from dtss.rtl.characterize.mapped import MappedCell, MappedModule, Port
from dtss.rtl.characterize.stimulus import Answer, Stimulus, run
from dtss.rtl.characterize.streams import ArraySampler, ProductWords, word_quotas
from dtss.rtl.cli import main
from dtss.rtl.counts import Image, counts_of_the_rules
from tests.rtl.tiny_cells import CLOCK_PJ, GATES, liberty

SLEW = 50.0


@pytest.fixture
def library(tmp_path: Path) -> Library:
    path = tmp_path / "tiny.lib"
    path.write_text(liberty())
    return read_library(path)


def module(inputs: Sequence[str], outputs: dict[str, str], cells: Sequence[tuple[str, dict[str, str]]]) -> MappedModule:
    """A netlist by names of nets; the ports are a bit wide each, an output's net is named beside it."""
    numbers: dict[str, int] = {}

    def bits(net: str) -> list[int | str]:
        return [net] if net in "01" else [numbers.setdefault(net, 2 + len(numbers))]

    return MappedModule(
        ports={
            **{name: Port(direction="input", bits=bits(name)) for name in inputs},
            **{name: Port(direction="output", bits=bits(net)) for name, net in outputs.items()},
        },
        cells={
            f"cell{index}": MappedCell(type=kind, connections={pin: bits(net) for pin, net in pins.items()})
            for index, (kind, pins) in enumerate(cells)
        },
    )


def drive(**ports: Sequence[int]) -> dict[str, np.ndarray]:
    return {name: np.array(values, np.uint8)[:, None] for name, values in ports.items()}


@pytest.mark.parametrize(
    ("formula", "truth"),
    [
        ("!A", "10 10 10 10"),
        ("A'", "10 10 10 10"),
        ("A B", "00 01 00 01"),
        ("A&B|C", "00 01 11 11"),
        ("(A*B)+(!A*C)", "00 01 10 11"),
        ("A^B C", "00 00 01 10"),
        ("1", "11 11 11 11"),
    ],
)
def test_formulas(formula: str, truth: str) -> None:
    """A is the lowest bit of the state; ^ binds more than &, & more than |."""
    assert "".join(map(str, truth_table(formula, "ABC").astype(int))) == truth.replace(" ", "")


@pytest.mark.parametrize("formula", ["A &", "(A", "A)", "D", "", "A ! & B"])
def test_what_is_no_formula(formula: str) -> None:
    with pytest.raises(FormulaError):
        truth_table(formula, "ABC")


def test_units_and_tables(library: Library) -> None:
    """In ps, pF, pJ, µW; a table goes on beyond its points."""
    inverter, flip_flop = library.cells["INV"], library.cells["DFF"]
    assert (library.voltage_v, library.temperature_c) == (1.0, 25.0)
    assert inverter.pins["A"].capacitance_pf == pytest.approx(0.001)
    assert inverter.leakage_uw == pytest.approx(0.002)
    output = inverter.pins["Y"]
    assert output.powers[0].edges["rise"].at(500.0, 0.123) == pytest.approx(0.003)
    assert output.arcs[0].delays["fall"].at(0.0, 0.002) == pytest.approx(10.0)
    assert flip_flop.problem is None and library.cells["CLKGATE"].clock_gate is not None


def test_tables_with_either_axis_first(tmp_path: Path) -> None:
    """e = 10 · slew + load in both."""
    path = tmp_path / "axes.lib"
    turned = "variable_1 : total_output_net_capacitance; variable_2 : input_transition_time;"
    text = liberty().replace("variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;", turned)
    values = 'rise_power (energy) { values ("3.0, 3.0", "3.0, 3.0"); }'
    assert values in text.replace("3, 3", "3.0, 3.0")
    text = text.replace("3.0, 3.0", "0, 10", 1).replace('"3.0, 3.0"', '"10, 20"', 1)
    path.write_text(text.replace('index_1 ("0, 1"); index_2 ("0, 10");', 'index_1 ("0, 10"); index_2 ("0, 1");'))
    rise = read_library(path).cells["INV"].pins["Y"].powers[0].edges["rise"]
    assert rise.at(500.0, 0.005) == pytest.approx((10 * 0.5 + 5) / 1000)  # 0.5 ns and 5 fF, in fJ
    assert rise.at(2000.0, 0.020) == pytest.approx((10 * 2 + 20) / 1000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], r"bad\.lib: line \d+: the file ends in the middle of a group"),
        (lambda text: text.replace("time_unit", "time"), "time_unit: is missing; energies need it: say it as 1ns"),
        (lambda text: text.replace('"1nW"', '"1nA"'), "leakage_power_unit: found '1nA'"),
        (lambda text: text.replace("capacitive_load_unit (1, ff);", ""), "capacitive_load_unit: is missing"),
        (lambda text: text.replace("nom_voltage : 1.0;", ""), "nom_voltage: is missing"),
        (lambda text: text.replace("input; capacitance : 1.0;", "input;"), r"INV\.A: has no capacitance"),
        (lambda text: text.replace('("0.01, 0.01", "0.01, 0.01")', '("0.01")'), "has a table of 1 values for 2 × 2"),
        (lambda text: text.replace("area : 1.0", "area : wide"), "INV.area: found 'wide' where a number belongs"),
        (lambda text: "", "the file ends in the middle of a group"),
        (lambda text: "module x; endmodule", "found 'module' where a library begins|a name without a value"),
    ],
)  # fmt: skip
def test_bad_liberty_files(change: Callable[[str], str], said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.lib"
    path.write_text(change(liberty()))
    with pytest.raises(BadInputError, match=said):
        read_library(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('function : "!A"; internal_power', 'function : "!A"; other_power', r"tiny: INV\.Y: has no internal_power"),
        ("cell_leakage_power : 2.0", "other : 2.0", "tiny: INV: has no leakage"),
        ("timing ()", "other ()", r"tiny: INV\.Y: has no timing"),
        ('function : "!A"', 'function : "!Z"', "Z is no input"),
        ('function : "!A";', "", r"INV\.Y: has no function"),
    ],
)
def test_cells_that_cannot_be_simulated(old: str, new: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.lib"
    path.write_text(liberty().replace(old, new))
    inverter = module(["a"], {"y": "y"}, [("INV", {"A": "a", "Y": "y"})])
    with pytest.raises(BadInputError, match=said):
        build("one", inverter, read_library(path), SLEW)


def test_an_unknown_cell_and_a_foreign_clock(library: Library) -> None:
    with pytest.raises(CheckFailedError, match=r"\$_AND_ is left unmapped"):
        build("one", module(["a"], {}, [("$_AND_", {"A": "a"})]), library, SLEW)
    divided = [("INV", {"A": "clock", "Y": "n"}), ("DFF", {"CK": "n", "D": "a", "Q": "q"})]
    with pytest.raises(BadInputError, match="DFF: is clocked on 'CK', which is not the clock"):
        build("one", module(["clock", "a"], {"q": "q"}, divided), library, SLEW)
    ring = [("INV", {"A": "x", "Y": "y"}), ("INV", {"A": "y", "Y": "x"})]
    with pytest.raises(CheckFailedError, match="has a loop of gates"):
        build("ring", module([], {"y": "y"}, ring), library, SLEW)


def test_energy_by_hand(library: Library) -> None:
    """a → NAND2 with b → INV: each net carries 1 fF, so 0.5 fJ a transition; the last one carries nothing."""
    cells = [("NAND2", {"A": "a", "B": "b", "Y": "n"}), ("INV", {"A": "n", "Y": "y"})]
    netlist = build("and", module(["a", "b"], {"y": "y"}, cells), library, SLEW)
    activity = simulate(netlist, drive(a=[1, 1, 0, 0], b=[0, 1, 1, 0]))
    # a rises; b rises, n falls, y rises; a falls, n rises, y falls; b falls.
    assert activity.energy_pj * 1000 == pytest.approx([0.5, 0.5 + 2 + 0.5 + 3, 0.5 + 5 + 0.5 + 1, 0.5])
    assert activity.transitions.tolist() == [1, 3, 3, 1]
    assert activity.settled_ps.tolist() == [1, 1 + 20 + 10, 1 + 20 + 10, 1]
    assert activity.outputs["y"].ravel().tolist() == [0, 1, 0, 0]
    assert netlist.area == 3.0 and netlist.logic_leakage_uw == pytest.approx(0.004)
    assert netlist.clock_pj == 0.0


def test_a_flip_flop_and_its_clock_by_hand(library: Library) -> None:
    """Q follows D a cycle later, and drives an inverter."""
    cells = [("DFF", {"CK": "clock", "D": "d", "Q": "q"}), ("INV", {"A": "q", "Y": "y"})]
    netlist = build("register", module(["clock", "d"], {"y": "y"}, cells), library, SLEW)
    activity = simulate(netlist, drive(d=[1, 1, 0, 0]))
    rise, fall = 10 + 0.5 + 1, 6 + 0.5 + 3  # of Q, its net, and the inverter's output
    data = 0.5 + 1  # of D's net and pin
    assert activity.energy_pj * 1000 == pytest.approx([data, rise, data, fall])
    assert activity.clock_pj == pytest.approx(4 * [CLOCK_PJ])
    assert activity.outputs["y"].ravel().tolist() == [1, 0, 0, 1]
    assert netlist.input_delay_ps == 110 and activity.settled_ps.tolist() == [110, 100 + 10, 110, 120 + 10]


def test_a_clock_gate_by_hand(library: Library) -> None:
    """The flip-flop's clock moves only in a cycle after one in which the enable was up."""
    cells = [
        ("CLKGATE", {"CK": "clock", "E": "e", "GCK": "g"}),
        ("DFF", {"CK": "g", "D": "d", "Q": "q"}),
    ]
    netlist = build("gated", module(["clock", "d", "e"], {"q": "q"}, cells), library, SLEW)
    activity = simulate(netlist, drive(d=[1, 1, 1, 0, 0], e=[0, 1, 0, 0, 1]))
    always, passed = 0.003 + 0.002 + 0.001, 0.004 + 0.003 + CLOCK_PJ
    assert activity.clock_pj == pytest.approx([always, always, always + passed, always, always])
    assert activity.outputs["q"].ravel().tolist() == [0, 0, 1, 1, 1]


def test_glitches(library: Library) -> None:
    """a & !a: up for the inverter's delay when a rises, which is longer than none but shorter than an AND2's."""
    late = [("BUF", {"A": "a", "Y": "p"}), ("BUF", {"A": "p", "Y": "r"}), ("INV", {"A": "r", "Y": "n"})]
    pulse = [*late, ("AND2", {"A": "a", "B": "n", "Y": "y"})]
    swallowed = [("INV", {"A": "a", "Y": "n"}), ("AND2", {"A": "a", "B": "n", "Y": "y"})]
    for cells, moves in ((pulse, 2), (swallowed, 0)):
        netlist = build("pulse", module(["a"], {"y": "y"}, cells), library, SLEW)
        stimulus = drive(a=[0, 1, 0])
        timed, settled = simulate(netlist, stimulus), simulate(netlist, stimulus, timed=False)
        nets = len(cells)
        assert timed.transitions.tolist() == [0, nets + moves, nets]
        assert settled.transitions.tolist() == [0, nets, nets]
        assert (timed.outputs["y"] == settled.outputs["y"]).all()


def random_gates(random: np.random.Generator, count: int) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Inputs, and gates and flip-flops that each take nets from before them."""
    inputs = [f"i{index}" for index in range(6)]
    nets, cells = list(inputs), []
    for index in range(count):
        net = f"n{index}"
        if index % 5 == 4:
            cells.append(("DFF", {"CK": "clock", "D": str(random.choice(nets[-8:])), "Q": net}))
        else:
            kind = str(random.choice(sorted(GATES)))
            chosen = random.choice(nets[-8:], len(GATES[kind][1]), replace=False)
            cells.append((kind, {**dict(zip(GATES[kind][1], map(str, chosen), strict=True)), "Y": net}))
        nets.append(net)
    return inputs, cells


def in_icarus(
    inputs: Sequence[str], cells: Sequence[tuple[str, dict[str, str]]], drive: np.ndarray, delays: dict[str, int]
) -> str:
    """The same gates as continuous assignments with their delays, inertial in Verilog, too; a counter for each net."""
    nets = [pins.get("Y", pins.get("Q", "")) for _, pins in cells]
    declared, counted = [*inputs, *nets], []
    for net in declared:
        counted += [f"integer count_{net} = 0;", f"always @({net}) if (counting) count_{net} = count_{net} + 1;"]
    logic = []
    for (kind, pins), net in zip(cells, nets, strict=True):
        if kind == "DFF":
            logic += [
                f"reg r_{net} = 0;",
                f"always @(posedge clock) r_{net} <= {pins['D']};",
                f"assign #(100, 120) {net} = r_{net};",
            ]
            continue
        formula = {
            "INV": "~{A}", "BUF": "{A}", "NAND2": "~({A} & {B})", "NOR2": "~({A} | {B})", "AND2": "{A} & {B}",
            "XOR2": "{A} ^ {B}", "MUX2": "{S} ? {B} : {A}",
        }[kind].format(**pins)  # fmt: skip
        logic.append(f"assign #{delays[net]} {net} = {formula};")
    together = f"{{{', '.join(reversed(inputs))}}}"
    steps = [
        f"clock = 1; #{delays['clock']} {together} = {row @ (1 << np.arange(len(inputs)))}; #50000 clock = 0; #50000;"
        for row in drive.astype(np.int64)
    ]
    shown = [f'$display("{net} %0d", count_{net});' for net in declared]
    return "\n".join(
        [
            "module bench;", "reg clock = 0; reg counting = 0;",
            *(f"reg {net} = 0;" for net in inputs), *(f"wire {net};" for net in nets), *logic, *counted,
            "initial begin #50000 counting = 1;", *steps, *shown, "$finish; end", "endmodule",
        ]
    )  # fmt: skip


@pytest.mark.rtl
@pytest.mark.parametrize("seed", range(4))
def test_transitions_are_those_of_icarus(seed: int, library: Library, tmp_path: Path) -> None:
    """Net by net, on random gates and flip-flops with random inputs. Each gate has a delay of its own: where a pulse is
    as long as a delay, Verilog leaves open what happens.
    """
    if shutil.which("iverilog") is None:
        pytest.skip("needs iverilog")
    random = np.random.default_rng(seed)
    inputs, cells = random_gates(random, 120)
    drives = random.integers(0, 2, (60, len(inputs))).astype(np.uint8)
    nets = [*inputs, *(pins.get("Y", pins.get("Q", "")) for _, pins in cells)]
    built = build("random", module(["clock", *inputs], {f"o{net}": net for net in nets}, cells), library, SLEW)
    numbers = {net: int(built.outputs[f"o{net}"][0]) for net in nets}
    own = random.choice(np.arange(100, 1000), len(built.gates.truth), replace=False)
    gates = replace(built.gates, delays_ps=np.broadcast_to(own[:, None, None], built.gates.delays_ps.shape).copy())
    netlist = replace(built, gates=gates)
    by_number = dict(zip(gates.outputs.tolist(), own.tolist(), strict=True))
    delays = {net: by_number.get(number, 0) for net, number in numbers.items()} | {"clock": built.input_delay_ps}
    stimulus = {name: drives[:, [index]] for index, name in enumerate(inputs)}
    activity = simulate(netlist, stimulus)
    mine = {net: int(activity.net_transitions[number]) for net, number in numbers.items()}
    source = tmp_path / "bench.v"
    source.write_text(in_icarus(inputs, cells, drives, delays))
    subprocess.run(["iverilog", "-o", tmp_path / "bench", source], check=True)
    said = subprocess.run(["vvp", "-n", tmp_path / "bench"], check=True, capture_output=True, text=True).stdout
    theirs = {line.split()[0]: int(line.split()[1]) for line in said.splitlines() if len(line.split()) == 2}
    assert mine == theirs
    assert activity.transitions.sum() > 1.05 * simulate(netlist, stimulus, timed=False).transitions.sum()  # glitches


@pytest.mark.parametrize("order", ["inner", "outer"])
def test_passes_add_up_to_the_interpreters_sums(order: TimeOrder, small_schedule: Callable[..., Path]) -> None:
    """Every word times its weights, shifted by its plane and added in its slot, over all passes of each product."""
    path = small_schedule(order=order)
    loaded = io.load(path)
    schedule = loaded.schedule
    run = interpret(schedule, loaded.tensors, loaded.tensors[io.IMAGES][:1].astype(np.int64))
    image = Image(loaded, path, 0, run)
    counts = counts_of_the_rules(image)
    for node in (node for node in schedule.products if node.steps.active):
        words = ProductWords(image, node)
        total = issued = 0
        for each in words.passes:
            chunk, weights = words.words(each), words.weights(each)
            sums = chunk.bits[:, : len(weights)].astype(np.int64) @ weights
            total += int((sums << chunk.plane[:, None]).sum())
            issued += int(chunk.bits.any(axis=1).sum())
            assert chunk.slot.max() < schedule.hardware.array.strip_slots
        assert total == sum(int(value.sum()) for value in run.accumulators[node.name].values())
        assert issued == counts[node.name]["words_issued"]


def test_quotas_are_shares_and_leave_no_layer_out() -> None:
    assert word_quotas([1000, 0, 100, 3], 110) == [100, 0, 10, 1]
    assert word_quotas([5, 5], 100) == [5, 5]


def test_the_arrays_stream(small_schedule: Callable[..., Path]) -> None:
    """While a pass streams the next tile loads; the bank that loads never computes."""
    path = small_schedule()
    loaded = io.load(path)
    run = interpret(loaded.schedule, loaded.tensors, loaded.tensors[io.IMAGES][:1].astype(np.int64))
    sampler = ArraySampler(loaded.schedule.hardware.array, 1, whole=True)
    for number, node in enumerate(loaded.schedule.products):
        if node.steps.active:
            sampler.add(ProductWords(Image(loaded, path, 0, run), node), number, 40)
    stream = sampler.stream()
    held = np.zeros((2, 16, 16), np.int64)
    for cycle in range(len(stream.node)):
        bank, beat = int(stream.bank[cycle]), int(stream.beat[cycle])
        if stream.enable[cycle]:
            assert (stream.spikes[cycle].astype(np.int64) @ held[bank] == stream.sums[cycle]).all()
        if beat >= 0:
            held[1 - bank, beat] = stream.loading[cycle, 0]
    assert stream.enable.sum() > 100 and set(stream.node) > {-1, 0}


def test_netlists_are_asked_for_the_ports_of_this_version(library: Library) -> None:
    netlist: GateNetlist = build("one", module(["a"], {"y": "y"}, [("INV", {"A": "a", "Y": "y"})]), library, SLEW)
    every = np.ones(2, np.bool_)
    with pytest.raises(BadInputError, match=r"rtl/one\.v: has the inputs a; generate the folder again"):
        run(netlist, Stimulus(drive(b=[0, 1]), (), every))
    with pytest.raises(
        CheckFailedError, match="netlist of one: y: cycle 1, element 0: got 0, expected 1; 1 differ in all"
    ):
        run(netlist, Stimulus(drive(a=[0, 1]), (Answer("y", np.array([[1], [1]]), every),), every))


@pytest.fixture
def folder(digits: Callable[[str], Path], tmp_path: Path) -> Path:
    """The digits accelerator."""
    assert main(["generate", str(digits("inner")), "-o", str(tmp_path / "rtl"), "--quiet"]) == 0
    return tmp_path / "rtl"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.lib"
    path.write_text(liberty())
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--liberty", "missing.lib"], "missing.lib: cannot be read"),
        (["--base", "55nm"], "dtss-sim: failed with exit code 3: dtss-sim: error: 55nm: cannot be read"),
        (["-o", "nowhere/table.toml"], "nowhere/table.toml: has no folder to be written in"),
    ],
)
def test_what_cannot_be_read_or_written(
    options: list[str], said: str, folder: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["characterize", str(folder), "--liberty", str(tiny), "-o", str(tiny.parent / "table.toml"), *options]
    assert main(command) == 3
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("yosys")
class TestWithYosys:
    """The whole command, on cells of our own."""

    @staticmethod
    def run(folder: Path, tiny: Path, name: str, *options: str) -> int:
        table = str(tiny.parent / name)
        words = ["--words", "1024", "--images", "2", "--node-nm", "45", *options]
        return main(["characterize", str(folder), "--liberty", str(tiny), "-o", table, *words])

    def test_the_digits_accelerator(self, folder: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Accepted by dtss-sim, what is measured says so, the rest is the base table's; the same bytes again."""
        assert self.run(folder, tiny, "first.toml", "--json") == 0
        result = json.loads(capsys.readouterr().out)
        table = load_technology(str(tiny.parent / "first.toml"))
        base = load_technology("45nm")
        events = result["events"]
        assert table.accumulate.at(24) == pytest.approx(events["accumulate"], rel=1e-5)
        assert 0 < table.gated_accumulate.pj < table.accumulate.at(24)
        measured = {name for name, entry in table.entries.items() if entry.confidence == "measured"}
        assert measured == {
            "accumulate", "gated_accumulate", "zero_check", "lif_update", "accumulator_read", "accumulator_write",
            "register_leakage", "lane_leakage",
        }  # fmt: skip
        assert (table.dram.pj, table.sram_access.anchors) == (base.dram.pj, base.sram_access.anchors)
        assert table.dram.source.startswith("table 45nm: ") and table.multiply is None
        assert (table.node_nm, table.voltage_v) == (45, 1.0)
        array = result["units"][0]
        assert array["module"] == "ac_column" and array["energy_pj"] > array["energy_without_glitches_pj"] > 0
        assert result["fit"]["r_squared"] > 0.3 and abs(result["fit"]["total_error"]) < 0.1
        # Two flip-flops a bit of a weight, and those of the sum, behind a clock gate for each weight and bank and one.
        assert array["flip_flops"] == 2 * 16 * 8 + 12 and result["clock_gates"]
        assert array["clock_pj_per_cycle"] == pytest.approx((2 * 16 + 1) * 0.006)
        assert self.run(folder, tiny, "second.toml", "--quiet") == 0
        first, second = ((tiny.parent / f"{name}.toml").read_text() for name in ("first", "second"))
        assert first.replace('"first"', '"second"') == second
        assert (
            main_of_dtss_sim([str(folder / "schedule/schedule.json"), "--tech", str(tiny.parent / "first.toml")]) == 0
        )

    def test_membranes_from_memory(self, digits: Callable[[str], Path], tiny: Path, tmp_path: Path) -> None:
        """Time outermost."""
        assert main(["generate", str(digits("outer")), "-o", str(tmp_path / "outer"), "--quiet"]) == 0
        assert self.run(tmp_path / "outer", tiny, "outer.toml", "--quiet") == 0

    def test_the_whole_array_and_no_clock_gates(
        self, folder: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Columns are equal: all of them give what one gives, about. Without gates every clock pin counts."""
        energies = {}
        for name, options in (("column", ()), ("array", ("--whole-array", "--no-clock-gates"))):
            assert self.run(folder, tiny, f"{name}.toml", "--json", *options) == 0
            energies[name] = json.loads(capsys.readouterr().out)
        assert energies["array"]["events"]["accumulate"] == pytest.approx(
            energies["column"]["events"]["accumulate"], rel=0.25
        )
        unit = energies["array"]["units"][0]
        assert (unit["module"], unit["columns"]) == ("ac_array", 16)
        assert unit["clock_pj_per_cycle"] == pytest.approx(unit["flip_flops"] * CLOCK_PJ)

    @pytest.mark.parametrize(
        ("file", "old", "new", "said"),
        [
            ("ac_column.v", "{spikes[lane]}", "{spikes[lane ^ 1]}", "netlist of ac_column: sum: cycle"),
            ("lif_neuron.v", "leaked = membrane - lost", "leaked = membrane", "netlist of lif_unit: "),
            ("zero_skipper.v", "remaining & -remaining", "remaining & ~(remaining - 1)", None),
            ("zero_skipper.v", "flags & ~issued", "flags", "netlist of zero_skipper: "),
            ("accumulator_file.v", "held + (", "held - (", "netlist of accumulator_file: row"),
        ],
    )
    def test_a_netlist_that_computes_something_else(
        self,
        file: str,
        old: str,
        new: str,
        said: str | None,
        folder: Path,
        tiny: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        """A fault in the Verilog stops the command; another way to say the same does not."""
        path = folder / "rtl" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        assert self.run(folder, tiny, "table.toml", "--quiet") == (0 if said is None else 1)
        assert said is None or said in capsys.readouterr().err
        assert (tiny.parent / "table.toml").exists() == (said is None)

    @pytest.mark.parametrize(
        ("old", "new", "code", "said"),
        [
            ("internal_power", "no_power", 3, "has no internal_power"),
            ("  ff (IQ, IQN)", "  gg (IQ, IQN)", 3, "has no cells with an area, or no flip-flop"),
            ("  time_unit", "  times_unit", 3, "time_unit: is missing"),
        ],
    )
    def test_libraries_that_will_not_do(
        self, old: str, new: str, code: int, said: str, folder: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        tiny.write_text(tiny.read_text().replace(old, new))
        assert self.run(folder, tiny, "table.toml", "--quiet") == code
        assert said in capsys.readouterr().err


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.usefixtures("yosys")
def test_a_real_library(folder: Path, data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A liberty file below DATA/liberty: energies of the size that libraries of 180 to 7 nm have."""
    files = sorted((data_folder / "liberty").glob("*.lib*"))
    if not files:
        pytest.skip("no liberty file in DATA/liberty")
    command = ["characterize", str(folder), "--liberty", str(files[0]), "-o", str(tmp_path / "table.toml"), "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    events = result["events"]
    assert 0.005 < events["accumulate"] < 5 and 0.1 < events["gated_accumulate"] / events["accumulate"] < 0.6
    assert abs(result["fit"]["total_error"]) < 0.05
