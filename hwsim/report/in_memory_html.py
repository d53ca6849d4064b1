"""What the page says of the stored weights on crossbars."""

from __future__ import annotations

import msgspec

from dtss.hwsim.in_memory import InMemoryProduct, InMemoryResult
from dtss.hwsim.report import quantities
from dtss.hwsim.report.layers import Layer
from dtss.hwsim.technology import Entry


class ProductRow(msgspec.Struct, frozen=True, kw_only=True):
    """number: of the layer, as elsewhere on the page.  cells: PE-cycles, energy in nJ on crossbars and of this machine.

    width: of the bar, in percent of the longest.
    """

    index: int
    number: int
    product: InMemoryProduct
    cells: tuple[str, ...]
    width: float


class InMemorySection(msgspec.Struct, frozen=True, kw_only=True):
    """totals: the cells of the last line. entries: the table's, with the energy of each as text."""

    finding: str
    left_out: str
    products: tuple[ProductRow, ...]
    totals: tuple[str, ...]
    entries: tuple[tuple[str, str, Entry], ...]


def in_memory_section(crossbars: InMemoryResult, layers: tuple[Layer, ...]) -> InMemorySection:
    """`layers`: of this machine, a product with its neurons as a PE has them."""
    numbers = {layer.name: number for number, layer in enumerate(layers, start=1)}
    by_name = {layer.name: layer.whole_pj for layer in layers}
    here = [by_name[product.name] for product in crossbars.products]
    there = [product.energy_pj for product in crossbars.products]
    column = quantities.nanojoules([*there, *here, crossbars.energy_pj, sum(here)])
    longest = max(there, default=1.0) or 1.0
    table = crossbars.table
    return InMemorySection(
        finding=(
            f"{table.description[0].upper()}{table.description[1:]}: {quantities.energy(crossbars.energy_pj)} in "
            f"{quantities.whole(crossbars.pe_cycles)} PE-cycles an image, however many spikes enter, without DRAM and "
            f"leakage. This machine takes {quantities.energy(sum(here))} for the same layers, with both."
        ),
        left_out=", ".join(crossbars.left_out),
        products=tuple(
            ProductRow(
                index=index,
                number=numbers[product.name],
                product=product,
                cells=(quantities.whole(product.pe_cycles), column[index], column[len(here) + index]),
                width=round(100 * product.energy_pj / longest, 3),
            )
            for index, product in enumerate(crossbars.products)
        ),
        totals=(quantities.whole(crossbars.pe_cycles), *column[-2:]),
        entries=tuple(
            (name, f"{entry.pj:g} pJ", entry)
            for name, entry in msgspec.structs.asdict(table).items()
            if isinstance(entry, Entry)
        ),
    )
