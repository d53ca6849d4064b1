"""Energy of the same switching event at another node and supply: the one scaling method of the technology tables.

Stillmaker and Baas, "Scaling equations for the accurate prediction of CMOS device performance from 180 nm to 7 nm",
Integration 58 (2017), fitted HSpice runs of the PTM and ITRS models. With their table 5,

    f(node, V) = a2·V² + a1·V + a0          energy(to) = energy(from) · f(to) / f(from)

A node between two of a family lies on the straight line through (log node, log f) of its neighbours; a planar node
below 32 nm on the line through 45 and 32 nm, because the next of their nodes are FinFETs.

The method says nothing of leakage, and nothing off the chip scales with it.
"""

from __future__ import annotations

import math

CITATION = "Stillmaker & Baas 2017, table 5"

# node: (a2, a1, a0), high performance. 65 and 32 nm as in the authors' corrigendum, with the result of its example;
# the others as several public copies of the table agree on them, the paper itself not seen.
PLANAR = {
    130: (7.171, -6.709, 2.904),
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
}
FINFET = {
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}

LAST_PLANAR_NM = 22.0
VOLTAGES = (0.7, 1.3)  # the supplies of these nodes; a parabola outside what it was fitted to says nothing


def covers(node_nm: float) -> bool:
    """Whether the method has a line for this node."""
    return LAST_PLANAR_NM <= node_nm <= max(PLANAR) or min(FINFET) <= node_nm <= max(FINFET)


def energy_factor(node_nm: float, voltage_v: float) -> float:
    """f(node, V), in the paper's own unit: only ratios mean anything."""
    family = PLANAR if node_nm >= LAST_PLANAR_NM else FINFET
    if node_nm in family:
        return _fitted(family, node_nm, voltage_v)
    larger = min(node for node in family if node > node_nm and node != min(family))
    smaller = max(node for node in family if node < larger)
    above, below = _fitted(family, larger, voltage_v), _fitted(family, smaller, voltage_v)
    slope = math.log(above / below) / math.log(larger / smaller)
    return above * math.exp(slope * math.log(node_nm / larger))


def energy_ratio(from_nm: float, from_v: float, to_nm: float, to_v: float) -> float:
    """What an energy at one node and supply is multiplied by at another."""
    return energy_factor(to_nm, to_v) / energy_factor(from_nm, from_v)


def _fitted(family: dict[int, tuple[float, float, float]], node_nm: float, voltage_v: float) -> float:
    a2, a1, a0 = family[int(node_nm)]
    return a2 * voltage_v**2 + a1 * voltage_v + a0
