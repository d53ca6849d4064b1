"""dtss-schedule/1: the frozen, typed form of schedule.json.

Shape letters: T time steps, B images, H×W positions, N = H·W tokens, C channels, O output channels,
K classes, d = C/heads. A value is [B, *shape] integers at each time step.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import msgspec

from dtss.compiler.schedule.hardware import Hardware
from dtss.compiler.schedule.numerics import Leak, Reset, planes_for, signed_bits

TimeOrder = Literal["inner", "outer"]
Group = Literal["sps", "qkv", "attn", "mlp"]


class Steps(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What happens to a node's value at each time step; the lists partition 0 … T−1.

    active: computed.  bias_only: the input is zero, so the value is the bias and no weight is read.
    reused: equal to the value at the first active step.  zero: known to be zero, not computed.
    dead: nobody needs it, not computed.  why[t] is the fact that allowed it, empty where active.
    """

    active: tuple[int, ...] = ()
    bias_only: tuple[int, ...] = ()
    reused: tuple[int, ...] = ()
    zero: tuple[int, ...] = ()
    dead: tuple[int, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def available(self) -> tuple[int, ...]:
        """Steps at which a consumer may ask for the value and it is not known to be zero."""
        return tuple(sorted((*self.active, *self.bias_only, *self.reused)))


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proved bounds of a node's value. Unsigned values travel as bit planes, signed ones as currents."""

    low: int
    high: int

    @property
    def is_current(self) -> bool:
        return self.low < 0

    @property
    def planes(self) -> int:
        return planes_for(self.high)

    @property
    def bits(self) -> int:
        return signed_bits(self.low, self.high) if self.is_current else self.planes


class Tiling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a product is cut for the array; `cycles.geometry` gives it its meaning.

    time_order: inner, all steps of a position share a strip; outer, each step walks all strips.
    positions_per_strip: output positions whose sums stay beside the array together.
    offsets_per_word: kernel offsets packed into one spike word (1 unless the channels are few).
    strips, reduction_tiles, output_tiles: tile counts, per head and (time_order outer) per step.
    output_tiles_per_block: output tiles whose weights are in weight memory together.
    """

    time_order: TimeOrder
    positions_per_strip: int
    offsets_per_word: int
    strips: int
    reduction_tiles: int
    output_tiles: int
    output_tiles_per_block: int


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One operation: `name` computes a value of `shape` from the values of `inputs`."""

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, int, int]
    value: Value
    steps: Steps

    @property
    def positions(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def channels(self) -> int:
        return self.shape[2]


class Image(Node, frozen=True, kw_only=True, tag="image"):
    """The direct-encoded image, unsigned pixels p [H, W, C], the same at every step."""


class Convolution(Node, frozen=True, kw_only=True, tag="convolution"):
    """I[y, x, o] = (Σ_{i,j,c} weight[o, i, j, c] · x[y·stride + i − padding, …, c]) << current_shift + bias[o].

    Outside the image x is pad_value[c] (0 where no tensor is named). The weights have weight_bits in DRAM,
    two's complement; on chip they take the array's width.
    """

    weight: str
    weight_bits: int
    bias: str | None
    current_shift: int
    kernel: tuple[int, int]
    stride: int
    padding: int
    pad_value: str | None
    neuron: str | None  # the LIF that walks this product's accumulators
    tiling: Tiling | None


class Linear(Node, frozen=True, kw_only=True, tag="linear"):
    """I[n, o] = (Σ_c weight[o, c] · x[n, c]) << current_shift + bias[o]; weight_bits as in Convolution."""

    weight: str
    weight_bits: int
    bias: str | None
    current_shift: int
    neuron: str | None
    tiling: Tiling | None


AttentionStage = Literal["key_value", "query_key_value", "query_key", "score_value"]


class AttentionProduct(Node, frozen=True, kw_only=True, tag="attention_product"):
    """One of the two exact products of softmax-free attention; inputs are (streamed, stationary).

    key_value:        KV[h, i, j] = Σ_n K[n, h, i] · V[n, h, j]          shape (heads, d, d)
    query_key_value:  I[n, (h, j)] = Σ_i Q[n, h, i] · KV[h, i, j]        shape (H, W, C)
    query_key:        S[h, n, m] = Σ_i Q[n, h, i] · K[m, h, i]           shape (heads, N, N)
    score_value:      I[n, (h, j)] = Σ_m S[h, n, m] · V[m, h, j]         shape (H, W, C)

    The result is shifted left by current_shift.
    """

    stage: AttentionStage
    heads: int
    current_shift: int
    neuron: str | None
    tiling: Tiling | None


class Lif(Node, frozen=True, kw_only=True, tag="lif"):
    """H = leak(U) + I; Y = [H ≥ threshold]; U = reset(H, Y); spikes Y at steps.active, else 0.

    threshold, reset_to and initial name [C] tensors. mask_steps: the frozen time-step mask.
    state_steps: the steps at which U is updated. membrane_reads / membrane_writes: the steps at which
    U crosses from / to membrane memory when time runs outermost (innermost it stays in a register).
    """

    group: Group
    time_order: TimeOrder
    leak: Leak
    reset: Reset
    threshold: str
    reset_to: str
    initial: str
    mask_steps: tuple[int, ...]
    state_steps: tuple[int, ...]
    membrane_reads: tuple[int, ...]
    membrane_writes: tuple[int, ...]
    membrane: Value


class Integrator(Node, frozen=True, kw_only=True, tag="integrator"):
    """O[t] = leak(O[t−1]) + I[t] at steps.active, without gaps; O is 0 before the first of them."""

    leak: Leak


class Add(Node, frozen=True, kw_only=True, tag="add"):
    """Elementwise sum of its inputs: spike counts, or currents of one scale."""


class MaxPool(Node, frozen=True, kw_only=True, tag="max_pool"):
    """Maximum over a window (the OR, for bits); outside the image nothing competes."""

    kernel: int
    stride: int
    padding: int

    @property
    def window(self) -> tuple[int, int]:
        return self.kernel, self.kernel


class SumPool(Node, frozen=True, kw_only=True, tag="sum_pool"):
    """x[y, x, c] = Σ over a window, 0 outside the image; an average's division is folded into what follows."""

    kernel: tuple[int, int]
    stride: int
    padding: int

    @property
    def window(self) -> tuple[int, int]:
        return self.kernel


class TokenSum(Node, frozen=True, kw_only=True, tag="token_sum"):
    """x[c] = Σ_n x[n, c]: the token mean without its division, which is folded into the output scale."""


AnyNode = Image | Convolution | Linear | AttentionProduct | Lif | Integrator | Add | MaxPool | SumPool | TokenSum
Product = Convolution | Linear | AttentionProduct


class Preprocess(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Network input of a pixel p: x = (p·pixel_scale − mean[c]) / std[c]; pixels are unsigned, ≤ pixel_max."""

    pixel_scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixel_max: int


class Output(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """logits_per_step[t] = scale · node[t]; logits = their mean over the T steps."""

    node: str
    scale: float
    classes: tuple[str, ...]


class AverageTimeSteps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """T_avg (DTSS Eq. 3), the mean over LIF layers: of the trained masks, and of what is left to run."""

    masks: float
    pruned: float


MemoryName = Literal["weight", "parameter", "spike", "current", "membrane", "image"]


class Region(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows first_row … first_row + rows − 1 of a memory, and what lies there while `buffers` says that it is needed.

    node: whose value, membranes, weights or parameters.  block: of the weights, see `geometry`.
    Weights and parameters that do not all fit follow one another around their memories: rows count modulo their size.
    """

    memory: MemoryName
    node: str
    block: int
    first_row: int
    rows: int


class MemoryUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One memory: rows that are needed at once at the worst time, rows up to the highest region, rows there are."""

    row_bits: int
    needed_rows: int
    used_rows: int
    capacity_rows: int


class MemoryPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where everything lies on chip. weights_resident: all weights and parameters
    fit, so DRAM is read once, not once an image."""

    weight_bits: int
    weights_resident: bool
    weight: MemoryUse
    parameter: MemoryUse
    strip: MemoryUse
    stationary: MemoryUse
    spike: MemoryUse
    current: MemoryUse
    membrane: MemoryUse
    image: MemoryUse
    regions: tuple[Region, ...]


class SideCar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of tensors beside schedule.json, bound to it by its hash."""

    file: str
    sha256: str


class FloatReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the float network says of the stored images, and of its whole test set when it was trained."""

    trained_accuracy: float | None
    sample_accuracy: float | None


class Schedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """One network on one machine, in execution order."""

    format: Literal["dtss-schedule/1"]
    network: str
    time_steps: int
    average_time_steps: AverageTimeSteps
    preprocess: Preprocess
    output: Output
    memory: MemoryPlan
    passes: tuple[str, ...]
    reference: FloatReference
    hardware: Hardware
    tensors: SideCar
    nodes: tuple[AnyNode, ...]

    def node(self, name: str) -> AnyNode:
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, AnyNode]:
        return {node.name: node for node in reversed(self.nodes)}

    @property
    def lif_nodes(self) -> tuple[Lif, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Lif))

    @property
    def products(self) -> tuple[Product, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Product))
