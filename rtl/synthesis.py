"""dtss-rtl synth: what the Verilog of a generated folder takes in an FPGA or in cells of a library, by Yosys."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import msgspec

from dtss.compiler.schedule.errors import BadInputError, CheckFailedError
from dtss.rtl.characterize.library import HINT as LIBERTY_HINT
from dtss.rtl.characterize.library import unpack
from dtss.rtl.generate import TOP, WORK, read_manifest
from dtss.rtl.netlist import (
    ECP5_CELLS,
    MEMORIES,
    SEVEN_SERIES_CELLS,
    Netlist,
    Resources,
    Rules,
    Use,
    module_name,
    read_netlist,
    unmapped,
)
from dtss.rtl.parts import Part, UsageError, find_part
from dtss.rtl.simulators import MissingToolError

Target = Literal["7series", "ecp5", "liberty"]
TARGETS: tuple[Target, ...] = get_args(Target)
DEFAULT_TIMEOUT_SECONDS = 3600

# Dissolved into the modules that hold them, where that saves logic: a weight's choice of bank and its AND gate become
# one LUT. Adders keep their borders: across them Yosys would trade carry chains for LUTs, more of them and slower. So
# does the rest, and with it its row in the report.
DISSOLVED = (
    "ac_column", "weight_cell",
    "event_counter", "one_hot_select", "population_count", "shift_add_product",
)  # fmt: skip
RESULTS = ("elaborated.il", "elaborated.json", "netlist.json", "mapped.json", "report.json")
RULES: dict[Target, Rules] = {"7series": SEVEN_SERIES_CELLS, "ecp5": ECP5_CELLS, "liberty": ()}


@dataclass(frozen=True)
class Job:
    """What is synthesised, for what, and where Yosys works. `module`: this one alone, with its parameters."""

    sources: tuple[Path, ...]
    contents: tuple[Path, ...]  # of memories, named by the sources as `memories/<file>`
    top: str
    target: Target
    work: Path
    module: str | None = None
    part: Part | None = None
    liberty: Path | None = None
    place: bool = False
    timeout_seconds: int = DEFAULT_TIMEOUT_SECONDS


class Synthesis(msgspec.Struct, frozen=True, kw_only=True):
    """Of the top and of everything in it. Areas are in the liberty file's unit, as a rule µm²."""

    tool: str
    target: Target
    top: str
    part: str | None
    available: dict[str, int]
    modules: list[Use]
    max_frequency_mhz: float | None
    findings: list[str]

    @property
    def totals(self) -> dict[str, int | float]:
        return self.modules[0].resources

    @property
    def passed(self) -> bool:
        return not self.findings


def job_of_folder(
    folder: Path,
    target: Target,
    *,
    work: Path | None,
    part: str | None,
    module: str | None,
    liberty: Path | None,
    place: bool,
    timeout_seconds: int,
) -> Job:
    """The Verilog of a generated folder, with the contents of its memories."""
    manifest = read_manifest(folder)
    files = [folder / name for name in sorted(manifest.files)]
    return Job(
        sources=tuple(file for file in files if file.suffix == ".v"),
        contents=tuple(file for file in files if file.suffix == ".hex"),
        top=TOP,
        target=target,
        work=(work or folder / WORK) / "synth",
        module=module,
        part=find_part(target, part),
        liberty=liberty,
        place=place,
        timeout_seconds=timeout_seconds,
    )


def synthesise(job: Job, say: Callable[[str], None]) -> Synthesis:
    """Elaborate, map and count; `say` hears what is under way."""
    yosys = find_tool("yosys", "pip install 'dtss[formal]'")
    placer = find_tool("nextpnr-ecp5", "pip install 'dtss[place]'") if job.place else None
    prepare(job)
    if job.liberty is not None:
        say(f"reading {job.liberty}")
        read_liberty(job, job.liberty, yosys)
    say(f"elaborating {job.top}")
    elaborate = [*_read(job), f"hierarchy -check -top {job.top}", "proc", "opt_clean", "check -assert"]
    run_yosys(job, yosys, "elaborate", [*elaborate, "write_rtlil elaborated.il", "write_json elaborated.json"])
    top = _asked_module(job, read_netlist(job.work / "elaborated.json"))
    say(f"mapping {job.module or job.top}: minutes")
    mapping = ["read_rtlil elaborated.il", *_mapping(job, top), "write_json netlist.json", *_flat(job)]
    run_yosys(job, yosys, "map", mapping)
    netlist = read_netlist(job.work / "netlist.json")
    frequency = None
    if placer is not None:
        say("placing and routing: minutes")
        frequency = _place(job, placer)
    return _synthesis(job, netlist, top, frequency)


def find_tool(name: str, hint: str) -> list[str]:
    """The command of a tool: as a wheel of YoWASP beside this Python, else on PATH, else `MissingToolError`."""
    here = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    if importlib.util.find_spec(f"yowasp_{name.replace('-', '_')}") is not None:
        wheel = shutil.which(f"yowasp-{name}", path=here)
        if wheel is not None:
            return [wheel]
    path = shutil.which(name, path=here)
    if path is None:
        raise MissingToolError(name, "is not installed", hint)
    return [path]


def prepare(job: Job) -> None:
    """All inputs in the folder where Yosys runs: YoWASP's sees no other. What an earlier run left goes."""
    for folder, files in (("rtl", job.sources), ("memories", job.contents)):
        (job.work / folder).mkdir(parents=True, exist_ok=True)
        for file in files:
            try:
                shutil.copyfile(file, job.work / folder / file.name)
            except FileNotFoundError:
                raise BadInputError(str(file), "is not there", "generate the folder again") from None
    for name in RESULTS:
        (job.work / name).unlink(missing_ok=True)


def _read(job: Job) -> list[str]:
    return [f"read_verilog {' '.join(f'rtl/{file.name}' for file in job.sources)}"]


def read_liberty(job: Job, liberty: Path, yosys: list[str]) -> None:
    """Unpack the file to cells.lib, and see that Yosys can map to it."""
    content = unpack(liberty)
    (job.work / "cells.lib").write_bytes(content)
    if b"library" not in content:
        raise BadInputError(str(liberty), "has no library", LIBERTY_HINT)
    try:
        run_yosys(job, yosys, "liberty", ["read_liberty -lib -ignore_miss_func cells.lib"])
    except CheckFailedError as error:
        raise BadInputError(str(liberty), error.found, LIBERTY_HINT) from None
    areas = _liberty_areas(content.decode(errors="replace"))
    if not areas or re.search(rb"\bff\s*\(", content) is None:
        raise BadInputError(str(liberty), "has no cells with an area, or no flip-flop", LIBERTY_HINT)


def _liberty_areas(text: str) -> dict[str, float]:
    """Area of each cell."""
    areas = {}
    for cell in re.split(r"\bcell\s*\(", text)[1:]:
        name, _, body = cell.partition(")")
        area = re.search(r"\barea\s*:\s*([0-9.eE+-]+)", body)
        if area:
            areas[name.strip().strip('"')] = float(area.group(1))
    return areas


def _asked_module(job: Job, elaborated: Netlist) -> str:
    """Yosys' name of the module that is synthesised."""
    if job.module is None:
        return job.top
    found = sorted(name for name in elaborated.modules if module_name(name) == job.module)
    if not found:
        known = sorted({module_name(name) for name in elaborated.modules})
        raise UsageError(f"--module {job.module}", "is not in the design", f"choose of: {', '.join(known)}")
    return found[0]


def _mapping(job: Job, top: str) -> list[str]:
    """Yosys' commands from the elaborated design to cells of the target."""
    keep = ["setattr -mod -set keep_hierarchy 1 *"]
    keep += [f"setattr -mod -unset keep_hierarchy *{name}*" for name in DISSOLVED if name != job.module]
    match job.target:
        case "7series":
            return [f"hierarchy -top {top}", *keep, f"synth_xilinx -family xc7 -top {top} -flatten -noiopad -noclkbuf"]
        case "ecp5":
            return [f"hierarchy -top {top}", *keep, f"synth_ecp5 -top {top}"]
        case "liberty":
            return [
                f"hierarchy -top {top}",
                *(f"blackbox *{name}*" for name in MEMORIES if name != job.module),  # a memory compiler makes them
                *keep,
                f"synth -top {top} -flatten",
                "dfflibmap -liberty cells.lib",
                "abc -liberty cells.lib",
                "opt_clean -purge",
            ]


def _flat(job: Job) -> list[str]:
    """nextpnr takes one module without borders."""
    if not job.place:
        return []
    return ["setattr -mod -unset keep_hierarchy *", "flatten", "opt_clean -purge", "write_json mapped.json"]


def run_yosys(job: Job, yosys: Sequence[str], stage: str, commands: Sequence[str]) -> None:
    (job.work / f"{stage}.ys").write_text("\n".join(commands) + "\n", encoding="utf-8")
    log = job.work / f"{stage}.log"
    said = _run(job, [*yosys, "-q", "-l", log.name, "-s", f"{stage}.ys"], stage)
    if said is not None:
        said = said.strip() or (log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "")
        raise CheckFailedError(f"Yosys, {stage}", _first_error(said), f"see {log}")


def _run(job: Job, command: Sequence[str], stage: str) -> str | None:
    """Nothing if it went well, else what it said, the log first."""
    output = job.work / f"{stage}.out"
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            [*command], cwd=job.work, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, process_group=0
        ) as process,
    ):
        try:
            code = process.wait(job.timeout_seconds)
        except subprocess.TimeoutExpired:
            found = f"not done after {job.timeout_seconds} s"
            hint = "give it longer with --timeout, or one module with --module"
            raise CheckFailedError(f"{Path(command[0]).name}, {stage}", found, hint) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    return None if code == 0 else output.read_text(encoding="utf-8", errors="replace")


def _first_error(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = (line.partition("ERROR: ")[2] for line in lines if "ERROR: " in line)
    warnings = (line.partition("Warning: ")[2] for line in lines if "no driver" in line or "multiple" in line)
    return next(warnings, None) or next(errors, None) or (lines[-1] if lines else "it ended without a word")


def _place(job: Job, placer: Sequence[str]) -> float:
    """Fmax of the module alone, without pins, as nextpnr estimates it after routing."""
    assert job.part is not None
    options = [job.part.option, "--package", "CABGA381", "--out-of-context", "--timing-allow-fail", "--seed", "1"]
    said = _run(job, [*placer, *options, "--json", "mapped.json", "--report", "report.json", "--quiet"], "place")
    if said is not None:
        raise CheckFailedError("nextpnr-ecp5", _first_error(said), f"see {job.work / 'place.out'}")
    clocks = msgspec.json.decode((job.work / "report.json").read_bytes())["fmax"]
    return float(min(clock["achieved"] for clock in clocks.values()))


def _synthesis(job: Job, netlist: Netlist, top: str, frequency: float | None) -> Synthesis:
    areas = None
    if job.target == "liberty":
        areas = _liberty_areas((job.work / "cells.lib").read_text(encoding="utf-8", errors="replace"))
    counted = Resources(netlist, RULES[job.target], areas)
    uses = list(counted.uses(top, job.module or job.top))
    findings = [f"{cell} is left unmapped" for cell in unmapped(netlist)]
    multipliers = uses[0].resources.get("dsp", 0)
    if multipliers:
        findings.append(f"{multipliers} multipliers (DSP): nothing here should multiply")
    return Synthesis(
        tool=netlist.creator.partition(" (")[0],
        target=job.target,
        top=job.module or job.top,
        part=job.part.name if job.part else None,
        available=job.part.resources if job.part else {},
        modules=uses,
        max_frequency_mhz=frequency,
        findings=findings,
    )
