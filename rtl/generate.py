"""dtss-rtl generate: a schedule becomes Verilog, memory contents and layer configurations.

The only place where a list of time steps becomes a bit vector (bit t = step t).
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path

import jinja2
import msgspec
import numpy as np

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.format import AttentionProduct, Convolution, Lif, Linear, Product, Schedule
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.compiler.schedule.numerics import FixedLeak, Leak, ShiftLeak, signed_bits
from dtss.compiler.schedule.words import stationary_operand
from dtss.rtl.engine import NEURON_PARAMETERS, SHIFT_BITS, Engine, engine_for
from dtss.rtl.layout import Layout, channel_parameters, layout_of
from dtss.rtl.memory_image import Bits, bits_of, hex_text, integer_of_row, pack_fields

FORMAT = "dtss-rtl/1"
MANIFEST = "manifest.json"
SCHEDULE = Path("schedule") / "schedule.json"
TOP = "dtss_strip_engine_top"
WORK = "verify"  # where `dtss-rtl verify` works unless told otherwise


class LayerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One product: its folder under memories/, its configuration word, and the rows that it uses of each memory."""

    name: str
    folder: str
    configuration: str  # hexadecimal, see layer_fields.v
    passes: int
    block_starts: tuple[int, ...]  # first pass of each weight block; a block is one run of the engine
    weight_beats: int
    flag_rows: int
    word_rows: int
    parameter_rows: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was generated, from what. `files` holds the SHA-256 of each file by its path in the folder."""

    format: str
    network: str
    schedule_sha256: str
    engine: Engine
    layers: tuple[LayerEntry, ...]
    files: dict[str, str]


def step_vector(steps: Iterable[int]) -> int:
    """Bit t is 1 for each step t."""
    return sum(1 << step for step in set(steps))


def generate(loaded: LoadedSchedule, folder: Path) -> Manifest:
    """Write everything into `folder`: the new folder whole, or the old one unchanged."""
    _refuse_foreign(folder)
    schedule = loaded.schedule
    layouts = [layout_of(schedule, node) for node in schedule.products]
    engine = engine_for(schedule, layouts)
    for layout in layouts:
        _check_fits(schedule, loaded.tensors, engine, layout)
    contents: dict[str, bytes] = dict(_verilog(engine))
    entries = []
    for index, layout in enumerate(layouts):
        entry = _entry(schedule, engine, layout, f"{index:02d}_{_file_name(layout.node.name)}")
        entries.append(entry)
        for name, rows in static_memories(schedule, loaded.tensors, engine, layout).items():
            contents[f"memories/{entry.folder}/{name}.hex"] = hex_text(rows).encode()
    contents |= _schedule_files(loaded)
    manifest = Manifest(
        format=FORMAT,
        network=schedule.network,
        schedule_sha256=hashlib.sha256(io.encode(schedule)).hexdigest(),
        engine=engine,
        layers=tuple(entries),
        files={name: hashlib.sha256(contents[name]).hexdigest() for name in sorted(contents)},
    )
    contents[MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    _replace_folder(folder, contents)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a generated folder, or `BadInputError`."""
    path = folder / MANIFEST
    hint = "give a folder written by `dtss-rtl generate`"
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except OSError as error:
        raise BadInputError(str(path), f"cannot be read ({error.strerror})", hint) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInputError(str(path), f"is not a {FORMAT} manifest: {error}", hint) from None
    if manifest.format != FORMAT:
        raise BadInputError(
            f"{path}: format", f"found {manifest.format!r}, this tool writes {FORMAT!r}", "generate it again"
        )
    return manifest


def configuration(schedule: Schedule, engine: Engine, layout: Layout) -> Bits:
    """The layer's configuration row, see layer_fields.v."""
    node, cut = layout.node, layout.cut
    neuron = _neuron(schedule, node)
    in_memory = neuron is not None and cut.time_order == "outer"
    shift, multiplier = _leak_fields(neuron.leak) if neuron is not None else (0, 0)
    resident_steps = len(cut.slot_steps) if cut.time_order == "inner" else 1
    stride = resident_steps if layout.words_per_step else 1
    lanes = np.arange(engine.group)
    fields = {
        "has_neuron": neuron is not None,
        "reads_parameters": reads_parameters(node),
        "stationary_operand": isinstance(node, AttentionProduct),
        "hard_reset": neuron is not None and neuron.reset == "hard",
        "leak_fixed": neuron is not None and isinstance(neuron.leak, FixedLeak),
        "leak_shift": shift,
        "leak_multiplier": multiplier,
        "current_shift": node.current_shift,
        "state_steps": step_vector(cut.walk_steps),
        "active_steps": step_vector(neuron.steps.active if neuron is not None else ()),
        "slot_steps": step_vector(cut.slot_steps),
        "reused_steps": step_vector(node.steps.reused),
        "membrane_reads": step_vector(neuron.membrane_reads if neuron is not None and in_memory else ()),
        "membrane_writes": step_vector(neuron.membrane_writes if neuron is not None and in_memory else ()),
        "walk_slot_stride": resident_steps,
        "planes": cut.planes,
        "group_planes": engine.group % cut.planes,
        "group_slots": engine.group // cut.planes * stride,
        "slot_stride": stride,
        "lane_planes": lanes % cut.planes,
        "lane_slots": lanes // cut.planes * stride,
    }
    return pack_fields(engine.layer_widths, {name: np.array([value], np.int64) for name, value in fields.items()})


def descriptors(engine: Engine, layout: Layout) -> Bits:
    """One row for each pass, see descriptor_fields.v."""
    cut, table = layout.cut, layout.table
    streams = table.reduction_tile >= 0
    tile, step = np.maximum(table.reduction_tile, 0), np.maximum(table.step, 0)
    block = (table.group, step if layout.words_per_step else 0, table.strip, tile)
    weights = (table.group, step, tile, table.output_tile) if cut.weights_change else (0, 0, tile, table.output_tile)
    flag_base = np.where(streams, layout.flag_base[block], 0) if streams.any() else np.zeros(len(table), np.int64)
    weight_base = np.where(streams, layout.weight_base[weights], 0) if streams.any() else flag_base
    parameter_row = table.group * len(cut.columns) + table.output_tile
    everywhere = step_vector(range(engine.time_steps))
    return pack_fields(
        engine.descriptor_widths,
        {
            "last": np.diff(table.block, append=-1) != 0,
            "streams": streams,
            "walks": table.walk > 0,
            "rows": table.rows,
            "columns": table.columns,
            "weight_base": weight_base,
            "flag_base": flag_base,
            "word_base": flag_base * engine.group,
            "words": np.where(streams, layout.block_words[table.strip], 0),
            "first_slot": step if cut.weights_change and cut.time_order == "inner" else np.zeros_like(step),
            "positions": cut.strip_positions[table.strip],
            "window": np.array(
                [everywhere if s < 0 else step_vector((s,)) for s in table.walk_step.tolist()], np.int64
            ),
            "parameter_base": parameter_row,
            "membrane_base": _membrane_base(layout, parameter_row),
        },
    )


def static_memories(
    schedule: Schedule, tensors: Mapping[str, np.ndarray], engine: Engine, layout: Layout
) -> dict[str, Bits]:
    """Contents that no image changes: descriptors, parameters and, but for attention, weights."""
    memories = {"descriptors": descriptors(engine, layout)} if layout.runs else {}
    if reads_parameters(layout.node):
        memories["parameters"] = parameter_rows(schedule, tensors, engine, layout)
    if isinstance(layout.node, Convolution | Linear):
        operand = stationary_operand(layout.node, tensors, None)[:, None]
        memories["weights"] = weight_rows(engine, layout, operand[0])
    return memories


def weight_rows(engine: Engine, layout: Layout, operand: np.ndarray) -> Bits:
    """Weight memory of a stationary operand [weight steps, weight groups, reduction length, channels of a group]."""
    rows = np.zeros((layout.weight_beats, engine.load_rows, engine.columns), np.int64)
    starts, channels = np.cumsum((0, *layout.cut.rows)), np.cumsum((0, *layout.cut.columns))
    for (group, step, tile, output_tile), base in np.ndenumerate(layout.weight_base):
        block = operand[step, group, starts[tile] : starts[tile + 1], channels[output_tile] : channels[output_tile + 1]]
        beats = -(-len(block) // engine.load_rows)
        flat = rows[base : base + beats].reshape(-1, engine.columns)  # a view: writes go to `rows`
        flat[: len(block), : block.shape[1]] = block
    return bits_of(rows, engine.weight_bits).reshape(len(rows), -1)


def parameter_rows(schedule: Schedule, tensors: Mapping[str, np.ndarray], engine: Engine, layout: Layout) -> Bits:
    """One row for each (group, output tile): `NEURON_PARAMETERS` of each channel."""
    channels = np.cumsum((0, *layout.cut.columns))
    rows = np.zeros((layout.cut.groups, len(layout.cut.columns), engine.columns, len(NEURON_PARAMETERS)), np.int64)
    for index, values in enumerate(_channel_values(schedule, tensors, layout).values()):
        for tile, count in enumerate(layout.cut.columns):
            rows[:, tile, :count, index] = values[:, channels[tile] : channels[tile + 1]]
    return bits_of(rows, engine.value_bits).reshape(layout.parameter_rows, -1)


def reads_parameters(node: Product) -> bool:
    """A walk reads a parameter row unless it only stores attention's sums, which have no bias."""
    return not isinstance(node, AttentionProduct) or node.neuron is not None


def _neuron(schedule: Schedule, node: Product) -> Lif | None:
    if node.neuron is None:
        return None
    neuron = schedule.node(node.neuron)
    assert isinstance(neuron, Lif)
    return neuron


def _leak_fields(leak: Leak) -> tuple[int, int]:
    """(leak_shift, leak_multiplier)."""
    match leak:
        case ShiftLeak(shift=shift):
            return shift, 0
        case FixedLeak(multiplier=multiplier, fraction_bits=fraction_bits):
            return fraction_bits, multiplier


def _channel_values(schedule: Schedule, tensors: Mapping[str, np.ndarray], layout: Layout) -> dict[str, np.ndarray]:
    """`NEURON_PARAMETERS` by name, each [groups, channels of a group]; 0 where the product has none."""
    node, neuron = layout.node, _neuron(schedule, layout.node)
    names = {"bias": None if isinstance(node, AttentionProduct) else node.bias}
    if neuron is not None:
        names |= {"threshold": neuron.threshold, "reset_to": neuron.reset_to, "initial": neuron.initial}
    nothing = np.zeros(sum(layout.cut.columns), np.int64)
    values = {name: tensors[tensor].astype(np.int64) for name, tensor in names.items() if tensor is not None}
    return {name: channel_parameters(layout, values.get(name, nothing)) for name in NEURON_PARAMETERS}


def _membrane_base(layout: Layout, parameter_row: np.ndarray) -> np.ndarray:
    if not layout.keeps_membranes:
        return np.zeros_like(parameter_row)
    return parameter_row * layout.cut.positions + layout.table.strip * layout.cut.positions_per_strip


def _check_fits(schedule: Schedule, tensors: Mapping[str, np.ndarray], engine: Engine, layout: Layout) -> None:
    """Every number of the layer fits the field that carries it; the compiler should have seen to it."""
    node, neuron = layout.node, _neuron(schedule, layout.node)
    found = [
        ("current", signed_bits(node.value.low, node.value.high), engine.value_bits),
        ("bit planes", layout.cut.planes, (1 << engine.plane_bits) - 1),
        ("current_shift", node.current_shift, (1 << SHIFT_BITS) - 1),
    ]
    if isinstance(node, AttentionProduct):
        source = schedule.node(node.inputs[1])
        found.append(("stationary operand", signed_bits(source.value.low, source.value.high), engine.weight_bits))
    if neuron is not None:
        found.append(("leak shift", _leak_fields(neuron.leak)[0], (1 << SHIFT_BITS) - 1))
        found.append(("membrane", signed_bits(neuron.membrane.low, neuron.membrane.high), engine.membrane_bits))
    for name, values in _channel_values(schedule, tensors, layout).items():
        limit = engine.membrane_bits if name == "initial" else engine.value_bits
        found.append((name, signed_bits(int(values.min()), int(values.max())), limit))
    for what, needed, available in found:
        if needed > available:
            raise UnsupportedError(
                f"{node.name}: {what}", f"needs {needed}, the engine has {available}", "compile for wider hardware"
            )


def _entry(schedule: Schedule, engine: Engine, layout: Layout, folder: str) -> LayerEntry:
    return LayerEntry(
        name=layout.node.name,
        folder=folder,
        configuration=f"{integer_of_row(configuration(schedule, engine, layout)[0]):x}",
        passes=len(layout.table),
        block_starts=layout.block_starts,
        weight_beats=layout.weight_beats,
        flag_rows=layout.flag_rows,
        word_rows=layout.flag_rows * engine.group,
        parameter_rows=layout.parameter_rows if reads_parameters(layout.node) else 0,
    )


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)[:80]


def leaf_modules() -> list[Path]:
    """The hand-written Verilog files, by name."""
    return sorted((Path(str(resources.files("dtss.rtl"))) / "verilog").glob("*.v"))


def _verilog(engine: Engine) -> Iterator[tuple[str, bytes]]:
    for path in leaf_modules():
        yield f"rtl/{path.name}", path.read_bytes()
    yield f"rtl/{TOP}.v", top_module(engine).encode()


def top_module(engine: Engine) -> str:
    """The generated top: strip_engine with this schedule's numbers."""
    folder = Path(str(resources.files("dtss.rtl"))) / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(f"{TOP}.v.j2").render(engine=engine)


def _schedule_files(loaded: LoadedSchedule) -> dict[str, bytes]:
    """The schedule and its tensors, so that the folder can be verified wherever it is taken."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / SCHEDULE.name
        io.save(path, loaded.schedule, loaded.tensors)
        return {str(SCHEDULE.parent / file.name): file.read_bytes() for file in sorted(Path(name).iterdir())}


def _refuse_foreign(folder: Path) -> None:
    """The whole folder is replaced: nothing may be in it that is not ours."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise BadInputError(str(folder), "is not a folder", "give a new folder, or one written by `dtss-rtl generate`")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    known = {*read_manifest(folder).files, MANIFEST}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_dir() and str(name) not in known and name.parts[0] != WORK:
            raise BadInputError(str(path), "was not written by dtss-rtl", "move it, or generate into another folder")


def _replace_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Build the folder beside its place, then swap."""
    folder = folder.resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            new, old = Path(temporary) / "new", Path(temporary) / "old"
            for name, content in contents.items():
                path = new / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            _swap(new, folder, old)
    except OSError as error:
        found = f"cannot be written ({error.strerror or error})"
        raise BadInputError(str(folder), found, "free space or choose another place") from None


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Rename `new` to `folder`; what was there goes to `old`, and comes back if that fails."""
    if not folder.exists():
        new.rename(folder)
        return
    folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        old.rename(folder)
        raise
