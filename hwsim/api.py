"""dtss-sim from Python: `run(schedule)` gives the same `Result` that the command reports."""

from __future__ import annotations

from pathlib import Path

import msgspec

from dtss.compiler.schedule.errors import BadInputError
from dtss.compiler.schedule.io import LoadedSchedule, load
from dtss.hwsim.images import load_samples
from dtss.hwsim.in_memory import load_in_memory_table, on_crossbars
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import Progress, simulate
from dtss.hwsim.technology import load_technology


def run(
    schedule: Path | str | LoadedSchedule,
    *,
    images: Path | str | None = None,
    tech: str = "45nm",
    in_memory: str | None = None,
    limit: int | None = None,
    progress: Progress = lambda done, whole: None,
) -> Result:
    """Execute schedule.json, or what `load` made of it, on images, bit for bit, and account for every event.

    images: .npy or .npz of uint8 pixels [B, H, W, C] or float network inputs [B, C, H, W]; None: those stored with the
    schedule.  tech: a shipped table or a TOML file.  in_memory: a table of crossbars, on which the stored weights are
    counted as well.  limit: the first so many images.  A notebook shows the result as a table; `dtss.hwsim.report`
    writes it as JSON, CSV, HTML or a trace. Raises `BadInputError` for what cannot be read.
    """
    if limit is not None and limit < 1:
        raise BadInputError("limit", f"found {limit}", "give a whole number above 0, or None for all images")
    technology = load_technology(tech)
    crossbars = None if in_memory is None else load_in_memory_table(in_memory)
    loaded = schedule if isinstance(schedule, LoadedSchedule) else load(Path(schedule))
    samples = load_samples(loaded, loaded.where, None if images is None else Path(images), limit)
    result = simulate(loaded, samples, technology, progress, by_step=True)
    if crossbars is None:
        return result
    return msgspec.structs.replace(result, in_memory=on_crossbars(loaded.schedule, crossbars))
