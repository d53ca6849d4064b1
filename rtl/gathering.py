"""Where a product's words and its stationary operand lie, as the gatherer and the stationary loader walk them."""

from __future__ import annotations

from dataclasses import dataclass

from dtss.compiler.schedule.format import AnyNode, AttentionProduct, Convolution, Image, Linear, Product, Schedule
from dtss.compiler.schedule.geometry import Geometry
from dtss.compiler.schedule.interpret import Tensors
from dtss.rtl.memory_image import Fields
from dtss.rtl.places import Places, step_vector

WORDS, PIXELS, CURRENTS, TURNED = range(4)  # what a unit reads, see gather_fields.v


@dataclass(frozen=True)
class Gathering:
    """For the products of one schedule. A field that is not named is 0."""

    schedule: Schedule
    tensors: Tensors
    places: Places

    @property
    def _rows(self) -> int:
        return self.schedule.hardware.array.rows

    @property
    def _columns(self) -> int:
        return self.schedule.hardware.array.columns

    @property
    def _skip_group(self) -> int:
        return self.schedule.hardware.array.skip_group

    def gather(self, node: Product, cut: Geometry, group: int) -> Fields:
        """The words of a run: fields of gather_fields.v."""
        if not cut.slot_steps:
            return {}
        fields: Fields = {
            "outer": cut.time_order == "outer",
            "together": cut.together,
            "slot_steps": step_vector(cut.slot_steps),
            "stored_steps": step_vector(self.schedule.node(node.inputs[0]).steps.available),
            "strips": cut.strips,
            "positions_full": cut.positions_per_strip,
            "positions_last": int(cut.strip_positions[-1]),
            "chunks": cut.chunks,
            "tiles": len(cut.rows),
            "planes": cut.planes,
            "lanes_full": cut.rows[0],
            "lanes_last": cut.rows[-1],
            "chunk_words": cut.chunk_words(self._skip_group),
            "chunk_groups": cut.chunk_words(self._skip_group) // self._skip_group,
        }
        return fields | self._streamed(node, cut, group)

    def _streamed(self, node: Product, cut: Geometry, group: int) -> Fields:
        """Where the words come from: the part of `gather_fields` that depends on the kind of product."""
        source = self.schedule.node(node.inputs[0])
        slices = -(-source.channels // self._rows)
        unit = source.value.planes * slices  # words of a position
        words: Fields = {
            "mode": WORDS,
            "slices": len(cut.rows),
            "pieces": 1,
            "offsets": 1,
            "kernel_width": 1,
            "output_width": cut.positions,
            "stride": 1,
            "position_step": unit,
            "slice_step": 1,
            "plane_step": slices,
            "step_bases": self.places.step_bases(source, "spike"),
        }
        match node:
            case Convolution():
                return words | self._convolved(node, source, unit, slices)
            case Linear() if isinstance(source, Image):
                return words | {
                    "mode": PIXELS,
                    "position_step": 1,
                    "step_bases": self.places.step_bases(source, "image"),
                }
            case Linear():
                return words
            case AttentionProduct(stage="score_value"):
                return words | self._score_rows(source, cut, group)
            case AttentionProduct():
                return words | self._head(node, source, cut, group)

    def _head(self, node: AttentionProduct, source: AnyNode, cut: Geometry, group: int) -> Fields:
        """One head's channels of Q, or of K, turned."""
        channel = group * (source.channels // node.heads)
        fields: Fields = {
            "first_lane": channel % self._rows,
            "first_address": channel // self._rows,
        }
        if node.stage != "key_value":
            return fields
        unit = source.value.planes * -(-source.channels // self._rows)
        return fields | {
            "mode": TURNED,
            "strip_lanes": int(cut.strip_positions[0]),
            "slice_step": self._rows * unit,
        }

    def _convolved(self, node: Convolution, source: AnyNode, unit: int, slices: int) -> Fields:
        assert node.tiling is not None
        height, width, channels = source.shape
        several = node.tiling.offsets_per_word > 1
        from_image = isinstance(source, Image)
        fields: Fields = {}
        if from_image:
            unit, slices = 1, 1
            fields = {
                "mode": PIXELS,
                "step_bases": self.places.step_bases(source, "image"),
                "pad_row": self._pad_row(node, source),
            }
        last = 0 if several else slices - 1  # from the first slice to the last
        return fields | {
            "slices": 1 if several else slices,
            "pieces": node.tiling.offsets_per_word,
            "offsets": node.kernel[0] * node.kernel[1],
            "piece_lanes": channels if several else 0,
            "bounded": 1,
            "output_width": node.shape[1],
            "input_width": width,
            "input_height": height,
            "stride": node.stride,
            "padding": node.padding,
            "kernel_width": node.kernel[1],
            "first_address": -node.padding * (width + 1) * unit,
            "position_step": node.stride * unit,
            "row_step": (width - node.shape[1] + 1) * node.stride * unit,
            "offset_step": unit - last,
            "offset_row_step": (width - node.kernel[1] + 1) * unit - last,
        }

    def _pad_row(self, node: Convolution, image: AnyNode) -> int:
        if node.pad_value is None:
            return 0
        planes = image.value.planes
        return sum(
            int(value) << (channel * planes) for channel, value in enumerate(self.tensors[node.pad_value].ravel())
        )

    def _score_rows(self, source: AnyNode, cut: Geometry, group: int) -> Fields:
        """Rows of counts, COLUMNS of a token's scores side by side."""
        rows = -(-source.channels // self._columns)
        pieces = self._rows // self._columns
        fields: Fields = {
            "mode": CURRENTS,
            "first_address": group * cut.positions * rows,
            "position_step": rows,
            "step_bases": self.places.step_bases(source, "current"),
        }
        if pieces == 1:
            return fields
        return fields | {
            "slices": 1, "pieces": pieces, "offsets": rows, "kernel_width": rows, "offset_step": 1,
            "piece_lanes": self._columns,
        }  # fmt: skip

    def fill(self, node: AttentionProduct, cut: Geometry, group: int) -> Fields:
        """The operand that stays in the array: fields of stationary_fields.v."""
        source = self.schedule.node(node.inputs[1])
        slices = -(-source.channels // self._rows)
        unit = source.value.planes * slices
        fields: Fields = {
            "mode": WORDS,
            "outer": cut.time_order == "outer",
            "slot_steps": step_vector(cut.slot_steps),
            "stored_steps": step_vector(source.steps.available),
            "output_tiles": len(cut.columns),
            "columns_last": cut.columns[-1],
            "tiles": len(cut.rows),
            "rows_full": cut.rows[0],
            "rows_last": cut.rows[-1],
            "planes": source.value.planes,
            "row_step": unit,
            "tile_step": 0,
            "tile_lanes": self._columns,
            "slice_step": 0,
            "plane_step": slices,
        }
        if node.stage == "query_key_value":
            tiles = -(-source.channels // self._columns)
            return fields | {
                "mode": CURRENTS,
                "first_lane": 0,
                "first_address": group * sum(cut.rows) * tiles,
                "row_step": tiles,
                "tile_step": 1,
                "tile_lanes": 0,
                "step_bases": self.places.step_bases(source, "current"),
            }
        channel = group * (source.channels // node.heads)
        fields |= {
            "first_lane": channel % self._rows,
            "first_address": channel // self._rows,
            "step_bases": self.places.step_bases(source, "spike"),
        }
        if node.stage == "query_key":
            fields |= {"mode": TURNED, "tile_step": self._columns * unit, "tile_lanes": 0, "slice_step": 1}
        return fields
