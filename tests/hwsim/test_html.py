"""The page in a browser: drawn whole, offline, without errors, and with the numbers of the JSON."""

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dtss.compiler.schedule.io import LoadedSchedule
from dtss.hwsim.compare import Comparison, compare
from dtss.hwsim.images import load_samples
from dtss.hwsim.in_memory import load_in_memory_table, on_crossbars
from dtss.hwsim.paper_accounting import paper_layers
from dtss.hwsim.report.beside import Beside
from dtss.hwsim.report.html import page
from dtss.hwsim.report.layers import layers
from dtss.hwsim.report.quantities import energy, whole
from dtss.hwsim.report.result_json import encode
from dtss.hwsim.result import Result
from dtss.hwsim.simulate import simulate
from dtss.hwsim.technology import load_technology

QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run", "--enable-logging=stderr", "--v=0",
)  # fmt: skip


class Elements(HTMLParser):
    """Tags with their attributes and the text inside."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.open: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        content: list[str] = []
        self.found.append((tag, dict(attrs), content))
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(content)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "br", "img", "link"):
            self.open.pop()

    def handle_data(self, data: str) -> None:
        for content in self.open:
            content.append(data)

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes, _ in self.found if name in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def result(digits: LoadedSchedule) -> Result:
    return simulate(digits, load_samples(digits, "digits", None, 12), load_technology("45nm"), by_step=True)


@pytest.fixture(scope="module")
def file(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page(result))
    return path


@pytest.fixture(scope="module")
def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if shutil.which(name):
            return name
    pytest.skip("needs chromium")


def in_browser(browser: str, file: Path, profile: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [browser, *QUIET, f"--user-data-dir={profile}", *options, file.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)


def at(document: Any, key: str) -> Any:
    """The value at a path such as `layers.3.cycles`."""
    for name in key.split("."):
        document = document[int(name) if isinstance(document, list) else name]
    return document


def test_nothing_comes_from_elsewhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"https?://|//[a-z]|@import|url\(|<script|<link|<iframe|\bsrc=", text)


def test_every_layer_is_in_every_figure(file: Path, result: Result) -> None:
    elements = Elements(file.read_text(encoding="utf-8"))
    rows = layers(result)
    assert [row.get("data-layer") for row in elements.with_class("row") if "data-layer" in row] == [
        r.name for r in rows
    ]
    cells = [cell for cell in elements.with_class("cell") if "title" in cell]
    assert len(cells) == sum(len(row.states) + len(row.neuron_states) for row in rows)
    drawn = Counter(re.findall(r'<rect class="(\w+)"', file.read_text(encoding="utf-8")))
    assert drawn["stream"] == sum(row.words_issued > 0 for row in rows)
    assert drawn["skipper"] == sum(row.skipper_cycles > 0 for row in rows)
    assert drawn["walk"] == sum(row.walk_cycles > 0 for row in rows)
    assert drawn["elementwise"] == sum(row.elementwise_cycles > 0 for row in rows)


def test_numbers_equal_the_json(file: Path, result: Result) -> None:
    document: dict[str, Any] = json.loads(encode(result))
    checked = 0
    for _, attributes, content in Elements(file.read_text(encoding="utf-8")).found:
        key = attributes.get("data-json")
        if key is None:
            continue
        value = at(document, key)
        assert float(attributes["data-value"] or "nan") == pytest.approx(value, rel=1e-12), key
        if "energy_pj" in key:
            assert "".join(content) == energy(value)
        checked += 1
    assert checked >= 8


def test_bars_are_as_long_as_the_energy(file: Path, result: Result) -> None:
    document: dict[str, Any] = json.loads(encode(result))
    by_name = {layer["name"]: sum(layer["energy_pj_per_image"].values()) for layer in document["layers"]}
    neurons = {layer["name"]: layer["neuron"] for layer in document["layers"]}
    rows = [row for row in Elements(file.read_text(encoding="utf-8")).with_class("row") if "data-layer" in row]
    for row in rows:
        name = str(row["data-layer"])
        whole = by_name[name] + by_name.get(neurons[name] or "", 0.0)
        assert float(row["data-value"] or "nan") == pytest.approx(whole, rel=1e-12)


def test_the_parts_of_a_layer_are_its_cycles(file: Path, result: Result) -> None:
    elements = Elements(file.read_text(encoding="utf-8"))
    parts = [float(a["data-cycles"] or "nan") for tag, a, _ in elements.found if tag == "i" and "data-cycles" in a]
    assert sum(parts) == pytest.approx(float(result.cycles.mean()), rel=1e-9)
    amounts = [a for a in elements.with_class("amount") if "data-cycles-of" in a]
    wholes = {str(a["data-cycles-of"]): float(a["data-value"] or "nan") for a in amounts}
    assert wholes == {node.name: float(node.cycles.mean()) for node in result.nodes if node.cycles.any()}


def test_a_result_without_steps_has_no_such_figure(digits: LoadedSchedule) -> None:
    result = simulate(digits, load_samples(digits, "digits", None, 1), load_technology("45nm"))
    assert b"data-step-of" not in page(result)


def test_the_browser_reports_no_error(browser: str, file: Path, tmp_path: Path) -> None:
    done = in_browser(browser, file, tmp_path / "profile", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    elements = Elements(done.stdout)
    assert [a.get("id") for tag, a, _ in elements.found if tag == "section" and "id" in a] == [
        "energy", "steps", "timeline", "memory", "layers", "basis",
    ]  # fmt: skip


def test_the_browser_shows_the_steps_of_the_json(browser: str, file: Path, result: Result, tmp_path: Path) -> None:
    done = in_browser(browser, file, tmp_path / "profile", "--dump-dom")
    document: dict[str, Any] = json.loads(encode(result))
    issued = {layer["name"]: layer["by_step"]["words_issued"] for layer in document["layers"]}
    rows = [
        (attributes, content) for _, attributes, content in Elements(done.stdout).found if "data-step-of" in attributes
    ]
    assert {str(attributes["data-step-of"]) for attributes, _ in rows} >= {
        n for n, words in issued.items() if any(words)
    }
    for attributes, content in rows:
        words = issued[str(attributes["data-step-of"])][int(attributes["data-step"] or "")]
        assert not words or content[2] == whole(words / document["images"])


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways(width: int, browser: str, file: Path, tmp_path: Path) -> None:
    assert_fits(width, browser, file, tmp_path)


def assert_fits(width: int, browser: str, file: Path, tmp_path: Path) -> None:
    """In a frame of that width; a headless window itself cannot be as narrow as a phone."""
    frame = tmp_path / "frame.html"
    content = json.dumps(file.read_text(encoding="utf-8")).replace("</", "<\\/")
    frame.write_text(
        f'<iframe id="page" style="width:{width}px;height:900px;border:0" srcdoc></iframe><p id="answer"></p>'
        "<script>const f = document.getElementById('page');"
        "f.onload = () => { const d = f.contentDocument.documentElement;"
        "document.getElementById('answer').textContent = 'inner ' + d.scrollWidth + ' of ' + d.clientWidth; };"
        f"f.srcdoc = {content};</script>",
        encoding="utf-8",
    )
    options = ("--dump-dom", f"--window-size={max(width + 40, 500)},1000", "--virtual-time-budget=3000")
    done = in_browser(browser, frame, tmp_path / "profile", *options)
    answer = re.search(r"inner (\d+) of (\d+)", done.stdout)
    assert answer is not None
    assert int(answer[1]) == int(answer[2]) == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_drawn_in_light_and_dark(scheme: str, browser: str, file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    dark = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    in_browser(browser, file, tmp_path / "profile", f"--screenshot={picture}", "--window-size=1280,2000", *dark)
    assert picture.stat().st_size > 50_000


@pytest.fixture(scope="module")
def compared(digits: LoadedSchedule, result: Result) -> Comparison:
    return compare(result, digits.tensors)


@pytest.fixture(scope="module")
def compared_file(result: Result, compared: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "report.html"
    path.write_bytes(page(result, Beside(comparison=compared)))
    return path


def test_the_comparison_is_a_section_of_its_own(compared_file: Path, file: Path, compared: Comparison) -> None:
    text = compared_file.read_text(encoding="utf-8")
    assert 'id="comparison"' in text
    assert 'id="comparison"' not in file.read_text(encoding="utf-8")
    elements = Elements(text)
    assert len(elements.with_class("variant")) == len(compared.variants)
    amounts = [float(a["data-value"] or "nan") for a in elements.with_class("amount") if "data-json" in a]
    assert amounts == pytest.approx([variant.total.total_pj for variant in compared.variants], rel=1e-12)
    assert text.count("<b>does not win</b>") >= sum(not layer.wins for layer in compared.layers) - 1  # one may be even


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_with_a_comparison_does_not_scroll_sideways(
    width: int, browser: str, compared_file: Path, tmp_path: Path
) -> None:
    assert_fits(width, browser, compared_file, tmp_path)


@pytest.fixture(scope="module")
def other_accountings(digits: LoadedSchedule, result: Result) -> tuple[Result, Beside]:
    crossbars = on_crossbars(digits.schedule, load_in_memory_table("32nm-imc"))
    whole = msgspec.structs.replace(result, in_memory=crossbars)
    return whole, Beside(paper_model=paper_layers(result, digits.tensors))


@pytest.fixture(scope="module")
def accounted_file(other_accountings: tuple[Result, Beside], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("accounted") / "report.html"
    path.write_bytes(page(*other_accountings))
    return path


def test_the_browser_shows_the_other_accountings_of_the_json(
    browser: str, accounted_file: Path, other_accountings: tuple[Result, Beside], tmp_path: Path
) -> None:
    done = in_browser(browser, accounted_file, tmp_path / "profile", "--dump-dom")
    assert "CONSOLE" not in done.stderr
    document: dict[str, Any] = json.loads(encode(*other_accountings))
    elements = Elements(done.stdout)
    shown = {
        str(a["data-json"]): (float(a["data-value"] or "nan"), content)
        for _, a, content in elements.found
        if "data-json" in a
    }
    for key, (value, content) in shown.items():
        expected = at(document, key)
        assert value == pytest.approx(expected, rel=1e-12), key
        if "energy_pj" in key:
            assert "".join(content) == energy(expected)
    paper = document["paper_model"]
    kinds = {kind for kind, counted in paper["energy_pj_per_image_by_kind"].items() if counted}
    assert {f"paper_model.energy_pj_per_image_by_kind.{kind}" for kind in kinds} <= set(shown)
    assert {f"paper_model.layers.{index}.membrane_accesses" for index in range(len(paper["layers"]))} <= set(shown)
    products = document["in_memory"]["products"]
    cells = [a for _, a, _ in elements.found if "data-product" in a]
    assert {str(a["data-product"]): float(a["data-value"] or "nan") for a in cells} == {
        product["name"]: product["energy_pj"] for product in products
    }
    assert {f"in_memory.products.{index}.pe_cycles" for index in range(len(products))} <= set(shown)


def test_other_accountings_are_on_the_page_only_where_they_were_asked_for(file: Path) -> None:
    assert not re.search('id="(paper|in-memory)"', file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_with_other_accountings_does_not_scroll_sideways(
    width: int, browser: str, accounted_file: Path, tmp_path: Path
) -> None:
    assert_fits(width, browser, accounted_file, tmp_path)
