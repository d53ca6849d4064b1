"""dtss-train ablation: the settings, every number's way from dtss-sim into the tables, kills, failures, messages."""

import csv
import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from dtss.models import ablation as ablation_module
from dtss.models.ablation import CommandError, Measurement, Outcome, Plan, run_program
from dtss.models.ablation_grid import TABLE_III, TABLE_IV, groups_table, setting, steps_table
from dtss.models.ablation_report import encode, is_the_papers, markdown, report, tables
from dtss.models.checkpoint import Checkpoint, load
from dtss.models.cli import main
from dtss.models.recipes import RECIPES
from dtss.models.run import Job, Observer, run_job
from dtss.models.spikformer import CONFIGS
from dtss.models.training_state import state_path

TINY = """
base = "digits"
[network]
name = "tiny"
depth = 1
dim = 16
heads = 2
stem_channels = [8, 16]
[recipe]
epochs = 4
batch_size = 20
learning_rate = 0.04
score_rate_share = 1.0
mask_weight = 0.1
mask_warmup_share = 0.0
"""
GRID = ["--groups", "mlp,qkv", "none", "--mask-weights", "0.1", "--initial-steps", "4", "1", "--time-steps", "2"]
LIMITS = ["--limit-images", "80", "--images", "12", "--quiet"]
RUNS = ["qkv+mlp-0.1-4of4-seed0", "none-4of4-seed0", "qkv+mlp-0.1-1of2-seed0"]
FILES = ["ablation.csv", "ablation.json", "ablation.md"]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("settings") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def whole(settings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    assert main(command(settings, folder)) == 0
    return folder


def command(settings: Path, folder: Path, *more: str, grid: Sequence[str] = GRID) -> list[str]:
    return ["ablation", "--config", str(settings), "-o", str(folder), *grid, *LIMITS, *more]


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def without_rehearsal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation_module, "rehearse", lambda _plan: None)


def test_the_papers_tables() -> None:
    assert [(each.group_names, each.initial_steps, each.time_steps) for each in TABLE_III] == [
        ("qkv+attn+mlp+sps", 2, 4),
        ("qkv+attn+mlp", 2, 4),
        ("qkv+mlp", 2, 4),
        ("none", 2, 4),
    ]
    assert groups_table([each.groups for each in TABLE_III], 1e-6, 2, 4) == tuple(TABLE_III)
    rows, left_out = steps_table(("mlp", "qkv"), None, None, None)
    assert (rows, left_out) == (tuple(TABLE_IV), ())
    third, fourth = list(TABLE_III)[2], list(TABLE_IV)[3]
    assert third == fourth
    assert (TABLE_III[third].accuracy_percent, TABLE_IV[fourth].sops_m) == (78.09, 185.31)


def test_a_grid_of_ones_own() -> None:
    rows, left_out = steps_table(("qkv",), [0.0, 0.5, 0.5], [1, 4], [2, 4])
    assert [each.name for each in rows] == [
        "none-1of2",
        "qkv-0.5-1of2",
        "none-1of4",
        "qkv-0.5-1of4",
        "none-4of4",
        "qkv-0.5-4of4",
    ]
    assert left_out == ((4, 2),)
    rest, left_out = steps_table(("qkv",), None, [4], None)
    assert [each.name for each in rest] == [f"qkv-{w}-4of{t}" for t in (4, 6) for w in ("0.0001", "1e-06")]
    assert (left_out, steps_table(("qkv",), None, [9], [2, 4])) == ((), ((), ((9, 2), (9, 4))))


def test_equal_trainings_are_equal_settings() -> None:
    assert setting(("mlp", "qkv"), 0.0, 1, 2) == setting((), 3.0, 1, 2) != setting(("mlp",), 3.0, 1, 2)
    assert setting(("mlp", "qkv"), 1, 1, 2) == setting(("qkv", "mlp"), 1.0, 1, 2)


def test_every_number_is_the_checkpoints_or_the_simulators(whole: Path) -> None:
    saved = read(whole / "ablation.json")
    assert sorted(path.name for path in whole.iterdir()) == [*FILES, "runs"]
    assert sorted(path.name for path in (whole / "runs").iterdir()) == sorted(saved["runs"]) == sorted(RUNS)
    for name, outcome in saved["runs"].items():
        home = whole / "runs" / name
        training, result = load(home / "network.pt").training, read(home / "result.json")
        with (home / "network.csv").open() as file:
            log = list(csv.DictReader(file))[-1]
        totals, measured = result["totals"], outcome["measurement"]
        assert outcome["failure"] is None
        assert measured == {
            "test_accuracy": training["test_accuracy"],
            "test_images": 80,
            "average_time_steps": result["time_steps"]["average_of_masks"],
            "average_time_steps_pruned": result["time_steps"]["average_after_pruning"],
            "spike_rate": pytest.approx(float(log["spike_rate"]), rel=1e-5),
            "accumulates_per_image": sum(layer["counts"]["accumulates"] for layer in result["layers"]) / 12,
            "compute_energy_pj_per_image": totals["compute_energy_pj_per_image"],
            "memory_energy_pj_per_image": totals["memory_energy_pj_per_image"],
            "energy_pj_per_image": pytest.approx(
                measured["compute_energy_pj_per_image"]
                + measured["memory_energy_pj_per_image"]
                + totals["leakage_energy_pj_per_image"]
            ),
            "cycles_per_image": sum(result["per_image"]["cycles"]) / 12,
            "integer_accuracy": result["accuracy"]["integer_top1"],
            "simulated_images": 12,
        }
    measured = {name: saved["runs"][name]["measurement"] for name in RUNS}
    assert measured[RUNS[0]]["average_time_steps"] < measured[RUNS[1]]["average_time_steps"]
    assert measured[RUNS[0]]["energy_pj_per_image"] < measured[RUNS[1]]["energy_pj_per_image"]


def test_both_tables_in_every_format(whole: Path, settings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = read(whole / "ablation.json")
    assert (saved["format"], saved["left_out"]) == ("dtss-ablation/1", [[4, 2]])
    assert saved["options"]["images"] == 12
    assert {name: [row["runs"] for row in rows] for name, rows in saved["tables"].items()} == {
        "groups": [[RUNS[0]], [RUNS[1]]],
        "steps": [[RUNS[2]]],
    }
    measured = saved["runs"][RUNS[2]]["measurement"]
    [row] = saved["tables"]["steps"]
    assert row["mean"] == {name: value for name, value in measured.items() if name in row["mean"]}
    assert (row["spread"], row["published"], row["failures"]) == (None, None, {})
    assert row["setting"] == {"groups": ["qkv", "mlp"], "mask_weight": 0.1, "initial_steps": 1, "time_steps": 2}

    with (whole / "ablation.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["table"], line["groups"], line["measured_runs"]) for line in lines] == [
        ("groups", "qkv+mlp", "1"),
        ("groups", "none", "1"),
        ("steps", "qkv+mlp", "1"),
    ]
    assert float(lines[2]["energy_pj_per_image"]) == measured["energy_pj_per_image"]
    assert (lines[2]["energy_pj_per_image_spread"], lines[2]["published_sops_m"], lines[2]["failures"]) == ("", "", "")

    page = (whole / "ablation.md").read_text()
    printed = f"{measured['energy_pj_per_image'] / 1000:.1f}"
    assert "paper:" not in page
    assert "- λ_m = 0.1; masks start with 4 of 4 steps." in page
    assert "- Left out, initial above maximum: 4 of 2." in page
    assert "Images: 80 held out, 12 of them simulated." in page
    lines_of_page = [cells_of(line) for line in page.splitlines() if line.startswith("|")]
    [header] = [line for line in lines_of_page if line[0] == "initial"]
    [last] = [line for line in lines_of_page if line[:3] == ["1", "2", "0.1"]]
    cells = dict(zip(header, last, strict=True))
    assert cells["energy nJ"] == printed
    assert cells["accuracy %"] == f"{100 * measured['test_accuracy']:.2f}"

    loud = [option for option in command(settings, whole, "--resume") if option != "--quiet"]
    assert main(loud) == 0
    text = capsys.readouterr().out
    printed_lines = [" ".join(each.split()) for each in text.splitlines()]
    assert len(lines_of_page) == 7
    for line in lines_of_page:
        assert " ".join(line) in printed_lines or line[0].endswith(":")
    assert main([*command(settings, whole, "--resume"), "--json"]) == 0
    assert capsys.readouterr().out.encode() == (whole / "ablation.json").read_bytes()


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_command_in_a_checkpoint_trains_the_same_network(whole: Path, settings: Path, tmp_path: Path) -> None:
    studied = load(whole / "runs" / RUNS[2] / "network.pt")
    program, *arguments = shlex.split(studied.training["command"])
    assert (program, arguments[:2]) == ("dtss-train", ["--config", "tiny.toml"])
    output = tmp_path / "network.pt"
    places = {"tiny.toml": str(settings), "network.pt": str(output)}
    assert main([*(places.get(argument, argument) for argument in arguments), "--quiet"]) == 0
    alone = load(output)
    assert all(torch.equal(tensor, alone.state_dict[name]) for name, tensor in studied.state_dict.items())
    assert {**alone.training, "command": studied.training["command"]} == studied.training


def kill_within(settings: Path, folder: Path, run: str) -> None:
    """Starts the study in a process of its own and kills it within an epoch of this run."""
    code = "import sys; from dtss.models.cli import main; sys.exit(main())"
    arguments = command(settings, folder, "--save-every-minutes", "0")
    # this process's dtss, wherever it was imported from
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
    state = state_path(folder / "runs" / run / "network.pt")
    try:
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and process.poll() is None:
            if state.exists() and torch.load(state, weights_only=True)["updates"] > 4:
                break
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert state.exists()


def test_a_killed_study_ends_with_the_same_tables(
    whole: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    kill_within(settings, folder, RUNS[1])
    assert list(read(folder / "ablation.json")["runs"]) == RUNS[:1]
    (folder / ".ablation.md.12345").write_text("half of a table")
    with pytest.raises(SystemExit):
        main(command(settings, folder))
    assert last_line(capsys) == (
        f"dtss-train ablation: error: -o {folder}: holds an earlier study; give --resume to go on, or another folder"
    )
    finished = (folder / "runs" / RUNS[0] / "result.json").stat().st_mtime_ns
    shares: dict[str, list[float]] = {}

    def spied(job: Job, _observer: Observer) -> Checkpoint:
        return run_job(job, Observer(update=shares.setdefault(job.output.parent.name, []).append))

    monkeypatch.setattr(ablation_module, "run_job", spied)
    without_rehearsal(monkeypatch)
    assert main(command(settings, folder, "--resume")) == 0
    assert list(shares) == RUNS[1:]
    assert shares[RUNS[1]][0] > 4 / 16 >= 4 * shares[RUNS[2]][0]  # of 16 updates: more than 4 were not done again
    assert (folder / "runs" / RUNS[0] / "result.json").stat().st_mtime_ns == finished
    for name in FILES:
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    for run in RUNS:
        expected, resumed = (load(home / "runs" / run / "network.pt").state_dict for home in (whole, folder))
        assert all(torch.equal(tensor, resumed[name]) for name, tensor in expected.items())
    assert sorted(path.name for path in folder.iterdir()) == [*FILES, "runs"]


def test_networks_without_outcomes_are_measured_and_not_trained_again(
    whole: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    (folder / "runs" / RUNS[2]).mkdir(parents=True)
    (folder / "runs" / RUNS[2] / "network.pt").write_bytes((whole / "runs" / RUNS[2] / "network.pt").read_bytes())
    monkeypatch.setattr(ablation_module, "run_job", None)
    without_rehearsal(monkeypatch)
    assert main(command(settings, folder, "--table", "steps", "--resume", grid=GRID[3:])) == 0
    assert read(folder / "ablation.json")["runs"] == {RUNS[2]: read(whole / "ablation.json")["runs"][RUNS[2]]}


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def test_changed_options_are_named(
    whole: Path, settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (whole / "ablation.json").read_bytes()
    changed = command(settings, whole, "--resume", "--epochs", "9", "--seeds", "0", "1", "--tech", "28nm")
    assert main(changed) == 3
    assert last_line(capsys) == (
        f"dtss-train ablation: {whole}/ablation.json: a study with other options: found recipe.epochs 4 there and 9 "
        "now, seeds 0 there and 0 1 now, technology '45nm' there and '28nm' now; "
        "give the options that it was started with, or another folder"
    )
    assert (whole / "ablation.json").read_bytes() == before


SMALL_MACHINE = 300  # bytes of spike memory: enough for the tiny network at T = 2, not at T = 4


def test_a_network_that_does_not_fit_costs_only_its_own_row(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = Path(__file__).parents[2] / "compiler" / "schedule" / "targets" / "edge-16x16.toml"
    monkeypatch.chdir(tmp_path)
    small = shipped.read_text().replace("spike_bytes = 32768", f"spike_bytes = {SMALL_MACHINE}")
    Path("small.toml").write_text(small)
    more = ["--hardware", "small.toml", "--epochs", "1", "--groups", "qkv,mlp"]
    # the rehearsal with the digits network fails on so small a machine, and that says nothing
    assert main(command(settings, Path("study"), *more)) == 3
    said = (
        "dtss-compile ended with exit code 4: memory.spike_bytes: the network needs 1024 bytes at once, and edge-16x16 "
        f"has {SMALL_MACHINE}; use a hardware file with memory.spike_bytes = 1024 or more"
    )
    assert capsys.readouterr().err == f"dtss-train ablation: {RUNS[0]}: {said}\n"
    saved = read(Path("study/ablation.json"))
    assert saved["runs"][RUNS[0]] == {"failure": said, "measurement": None}
    assert saved["runs"][RUNS[2]]["measurement"]["energy_pj_per_image"] > 0
    assert saved["options"]["hardware"].startswith("small.toml sha256:")
    page = Path("study/ablation.md").read_text()
    assert f"- {RUNS[0]} failed: {said}" in page
    assert cells_of(next(line for line in page.splitlines() if "✓" in line))[4:] == ["–"] * 9
    assert "Runs measured: 1 of 2." in page

    # a larger machine is another study; the same one tries the failed run again, with the network that is there
    Path("small.toml").write_text(small.replace(f"spike_bytes = {SMALL_MACHINE}", "spike_bytes = 768"))
    assert main(command(settings, Path("study"), *more, "--resume")) == 3
    assert "options: found hardware 'small.toml sha256:" in last_line(capsys)


def test_diverged_runs_are_told_and_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, folder = tmp_path / "wild.toml", tmp_path / "study"
    settings.write_text(TINY.replace("learning_rate = 0.04", "learning_rate = 1e25"))
    without_rehearsal(monkeypatch)
    options = command(settings, folder, "--epochs", "1", grid=["--table", "groups", *GRID[:3]])
    for resume in ([], ["--resume"]):
        assert main([*options, *resume]) == 3
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith(f"dtss-train ablation: {RUNS[0]}: network.pt: state_dict: ")
        assert first.endswith("training diverged: train again with a smaller --lr")
        assert second.startswith(f"dtss-train ablation: {RUNS[1]}: network.pt: state_dict: ")
    rows = read(folder / "ablation.json")["tables"]["groups"]
    assert [row["mean"] for row in rows] == [None, None]


def test_a_rehearsal_finds_mistakes_before_any_training(
    settings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation_module, "run_job", None)
    folder = tmp_path / "study"
    assert main(command(settings, folder, "--tech", "90nm")) == 3
    assert capsys.readouterr().err == (
        "dtss-train ablation: dtss-sim ended with exit code 3: 90nm: cannot be read as a technology table "
        "(No such file or directory); give one of: 28nm-asic, 28nm-fpga, 45nm; or the path of a TOML file\n"
    )
    assert main(["ablation", "--config", "cifar10-small", "-o", str(folder), "--quiet"]) == 3
    assert last_line(capsys).startswith("dtss-train ablation: data set cifar10: no folder: found no --data; ")
    assert not folder.exists()


def test_a_missing_command_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation_module, "COMMANDS", {"dtss-sim": "dtss.nowhere"})
    with pytest.raises(CommandError, match=r"^dtss-sim ended with exit code 1: .*No module named dtss\.nowhere$"):
        run_program("dtss-sim")


def usage_error(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(["ablation", "--config", "digits", "-o", str(folder), *options])
    assert end.value.code == 2
    return last_line(capsys).removeprefix("dtss-train ablation: error: ")


def test_usage_errors_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new"
    assert usage_error(capsys, new, "--groups", "qkv,head") == (
        "argument --groups: unknown group 'head'; choose among sps, qkv, attn, mlp"
    )
    assert usage_error(capsys, new, "--initial-steps", "4", "--time-steps", "2", "3") == (
        "--initial-steps: no setting is left of 4 of 2, 4 of 3; give some that are at most the --time-steps"
    )
    assert usage_error(capsys, new, "--groups") == "argument --groups: expected at least one argument"
    assert usage_error(capsys, new, "--mask-weights", "-1") == (
        "argument --mask-weights: -1 is no weight; give a finite number, 0 or more"
    )
    assert usage_error(capsys, new, "--time-steps", "0") == (
        "argument --time-steps: '0' is not a whole number from 1 to 999999999"
    )
    assert usage_error(capsys, new, "--table", "groups", "--time-steps", "2") == (
        "--time-steps is of Table IV; leave it out, or --table groups out"
    )
    assert usage_error(capsys, new, "--table", "steps", "--groups", "none") == (
        "--groups is of Table III; leave it out, or --table steps out"
    )
    assert usage_error(capsys, new, "--seeds", "-1") == "seed is -1; give a whole number from 0 to 2**63 - 1"
    plain = tmp_path / "plain.toml"
    plain.write_text('base = "digits"\n[network]\nmasked = false\n')
    assert usage_error(capsys, new, "--config", str(plain)) == (
        "digits: has no time-step masks; choose a configuration with masks"
    )
    assert usage_error(capsys, plain) == f"-o {plain}: this is a file; give the name of a folder"
    assert usage_error(capsys, tmp_path) == f"-o {tmp_path}: holds other files; give a new or an empty folder"
    assert usage_error(capsys, tmp_path / "no" / "x") == (
        f"-o {tmp_path}/no/x: the folder {tmp_path}/no does not exist; create it first"
    )
    assert list(tmp_path.iterdir()) == [plain]
    new.mkdir()
    (new / "ablation.json").write_text("{}")
    assert main(["ablation", "--config", "digits", "-o", str(new), "--resume"]) == 3
    assert last_line(capsys).startswith(f"dtss-train ablation: {new}/ablation.json: no ablation study: found ")


def measurement(accuracy: float, energy_pj: float) -> Measurement:
    return Measurement(
        test_accuracy=accuracy,
        test_images=100,
        average_time_steps=2.5,
        average_time_steps_pruned=2.0,
        spike_rate=0.05,
        accumulates_per_image=1.5e8,
        compute_energy_pj_per_image=0.25 * energy_pj,
        memory_energy_pj_per_image=0.75 * energy_pj,
        energy_pj_per_image=energy_pj,
        cycles_per_image=12_345.6,
        integer_accuracy=accuracy,
        simulated_images=10,
    )


def paper_plan(seeds: Sequence[int]) -> Plan:
    """The paper's Table III."""
    recipe = dataclasses.replace(RECIPES["spikformer-4-384"], data_set="cifar100")
    return Plan(
        config=CONFIGS["spikformer-4-384"],
        recipe=recipe,
        source="spikformer-4-384",
        shared=(),
        tables={"groups": tuple(TABLE_III)},
        left_out=(),
        seeds=tuple(seeds),
        hardware="wide-64x32",
        technology="45nm",
    )


def test_published_rows_stand_only_beside_the_papers_own_network() -> None:
    plan = paper_plan([0])
    outcomes = {run.name: Outcome(measurement=measurement(0.5, 1e9)) for run in plan.runs}
    content = report(plan, outcomes)
    rows = json.loads(encode(content))["tables"]["groups"]
    assert rows[0]["published"] == {
        "accuracy_percent": 74.64,
        "average_time_steps": 1.03,
        "activity_percent": 2.90,
        "sops_m": 101.24,
    }
    [table] = tables(plan, content)
    assert table.headers[-4:] == ("paper: accuracy %", "paper: T_avg", "paper: activity %", "paper: SOPs M")
    assert table.rows[2] == (
        *("✓", "×", "✓", "×", "50.00", "2.50", "2.00", "5.00", "150.0", "0.250", "0.750", "1.000", "12,346"),
        *("78.09", "2.73", "5.56", "185.31"),
    )
    assert table.headers[8:12] == ("SOPs M", "compute mJ", "memory mJ", "energy mJ")
    others = (
        dataclasses.replace(plan, recipe=RECIPES["spikformer-4-384"]),
        dataclasses.replace(plan, limit_images=1000),
        dataclasses.replace(plan, config=dataclasses.replace(plan.config, dim=192, stem_channels=(48, 96, 192, 192))),
        dataclasses.replace(plan, config=CONFIGS["digits"]),
    )
    assert is_the_papers(plan)
    for other in others:
        assert not is_the_papers(other)
        assert "paper:" not in markdown(other, report(other, {}))


def test_means_and_spreads_over_seeds() -> None:
    plan = paper_plan([0, 1, 2])
    assert [run.seed for run in plan.runs] == [0] * 4 + [1] * 4 + [2] * 4
    name = "qkv+mlp-1e-06-2of4"
    outcomes = {
        f"{name}-seed0": Outcome(measurement=measurement(0.50, 1e6)),
        f"{name}-seed1": Outcome(failure="Traceback\n  in between\ndied"),
        f"{name}-seed2": Outcome(measurement=measurement(0.52, 3e6)),
    }
    content = report(plan, outcomes)
    row = content.tables["groups"][2]
    assert row.mean is not None and row.spread is not None
    assert (row.mean["test_accuracy"], row.spread["test_accuracy"]) == pytest.approx((0.51, 0.02 / 2**0.5))
    [table] = tables(plan, content)
    assert table.rows[2][4] == "51.00 ± 1.41"
    assert table.rows[2][11] == "2.000 ± 1.414"
    assert table.rows[0][4:13] == ("–",) * 9
    assert table.notes[1:] == (f"{name}-seed1 failed: Traceback … died",)


def test_help_does_not_wait_for_torch() -> None:
    code = (
        "import sys\n"
        "from dtss.models.cli import build_parser, main\n"
        "assert 'dtss-train ablation trains, compiles' in ' '.join(build_parser().format_help().split())\n"
        "try:\n"
        "    main(['ablation', '--help'])\n"
        "finally:\n"
        "    assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = " ".join(done.stdout.split())
    assert "of Table III, each comma-separated or none (qkv,attn,mlp,sps qkv,attn,mlp qkv,mlp none)" in text
    assert "λ_m of Table IV (0.0001 1e-06)" in text
