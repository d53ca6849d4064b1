"""dtss-rtl generate: a schedule becomes Verilog, the contents of its memories, and what lies outside."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import jinja2
import msgspec
import numpy as np

from dtss.compiler.schedule import io
from dtss.compiler.schedule.errors import BadInputError, UnsupportedError
from dtss.compiler.schedule.io import LoadedSchedule
from dtss.rtl.engine import Engine, engine_for
from dtss.rtl.limits import check_fits
from dtss.rtl.loading import Loader
from dtss.rtl.memory_image import Bits, hex_text
from dtss.rtl.program import program, program_bits
from dtss.rtl.shell import Shell, loader_for, outside_memory, shell_for, transfer_rows

FORMAT = "dtss-rtl/2"
MANIFEST = "manifest.json"
SCHEDULE = Path("schedule") / "schedule.json"
TOP = "dtss_accelerator_top"
README = "README.md"
OUTSIDE = "memories/outside.bin"
WORK = "verify"  # where `dtss-rtl verify` works unless told otherwise
ADDRESSES = 1 << 32  # bytes that the weight loader can name


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was generated, from what. `files` holds the SHA-256 of each file by its path in the folder."""

    format: str
    network: str
    schedule_sha256: str
    engine: Engine
    shell: Shell
    files: dict[str, str]


def generate(loaded: LoadedSchedule, folder: Path) -> Manifest:
    """Write everything into `folder`: the new folder whole, or the old one unchanged."""
    _refuse_foreign(folder)
    schedule = loaded.schedule
    check_fits(schedule, loaded.tensors)
    rows = program(schedule, loaded.tensors)
    engine, shell = engine_for(schedule, len(rows)), shell_for(schedule)
    loader = loader_for(engine, shell)
    table = transfer_rows(schedule, loader, shell, rows)
    outside = outside_memory(schedule, loaded.tensors, engine, loader, table)
    if len(outside) > ADDRESSES:
        raise UnsupportedError("weights", f"{len(outside)} bytes outside", "the loader has addresses of 32 bits")
    contents: dict[str, bytes] = {
        **_verilog(engine, shell, loader),
        "memories/program.hex": hex_text(program_bits(engine, rows)).encode(),
        "memories/transfers.hex": hex_text(_whole_table(loader.table(table), shell)).encode(),
        OUTSIDE: outside,
        README: _text(
            f"{README}.j2", schedule=schedule, engine=engine, shell=shell, outside_bytes=len(outside)
        ).encode(),
        **_schedule_files(loaded),
    }
    manifest = Manifest(
        format=FORMAT,
        network=schedule.network,
        schedule_sha256=hashlib.sha256(io.encode(schedule)).hexdigest(),
        engine=engine,
        shell=shell,
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


def leaf_modules() -> list[Path]:
    """The hand-written Verilog files, by name."""
    return sorted((Path(str(resources.files("dtss.rtl"))) / "verilog").glob("*.v"))


def top_module(engine: Engine, shell: Shell, loader: Loader) -> str:
    """The generated top: the accelerator and its shell with this schedule's numbers."""
    address_bits = engine.current_address_bits
    bases = (f"{address_bits}'d{base}" for base in reversed(shell.step_bases))
    extra = engine.count_bits - (shell.table_address_bits + 1)
    return _text(
        f"{TOP}.v.j2",
        engine=engine,
        shell=shell,
        arrived=f"{{{extra}'d0, arrived}}" if extra else "arrived",
        narrow_bits=sum(bits << 8 * index for index, bits in enumerate(shell.narrow_bits)),
        step_base=f"{{{', '.join(bases)}}}",
        table_row_bits=sum(loader.table_widths.values()),
    )


def _verilog(engine: Engine, shell: Shell, loader: Loader) -> dict[str, bytes]:
    modules = {f"rtl/{path.name}": path.read_bytes() for path in leaf_modules()}
    return modules | {f"rtl/{TOP}.v": top_module(engine, shell, loader).encode()}


def _text(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(str(resources.files("dtss.rtl"))) / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(template).render(**values)


def _whole_table(rows: Bits, shell: Shell) -> Bits:
    """As many rows as the memory has."""
    return np.concatenate([rows, np.zeros(((1 << shell.table_address_bits) - len(rows), rows.shape[1]), np.uint8)])


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
