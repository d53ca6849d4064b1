// gather_fields: names for the bits of a run's gathering, the last field in the lowest bits.
//
// A chunk is what one pass streams: the words of a strip for one reduction tile, of all its slot steps or of one.
//
// Ports:
//   row              in   GATHER_BITS              the configuration, constant while the run lasts
//   mode             out  2                        0 words of spike memory, 1 pixels, 2 rows of currents, 3 words turned
//   outer            out  1                        time runs outermost: a round of all strips for each step
//   together         out  1                        a chunk holds all slot steps of a position
//   slot_steps       out  TIME_STEPS               steps that are streamed
//   stored_steps     out  TIME_STEPS               steps at which the value is stored; at others it is 0
//   strips           out  POSITION_BITS            strips of a round
//   positions_full   out  POSITION_BITS            positions of a strip
//   positions_last   out  POSITION_BITS            of the last one
//   chunks           out  COUNT_BITS               chunks of a strip, and of the strip buffer
//   tiles            out  COUNT_BITS               reduction tiles
//   slices           out  COUNT_BITS               of these, slices of one kernel offset
//   pieces           out  COUNT_BITS               kernel offsets (or rows) side by side in a word
//   offsets          out  COUNT_BITS               kernel offsets (or rows) in all
//   planes           out  PLANE_BITS               bit planes
//   lanes_full       out  ROW_BITS                 lanes of a tile
//   lanes_last       out  ROW_BITS                 of the last slice
//   piece_lanes      out  ROW_BITS                 lanes of a piece, and from one piece to the next
//   first_lane       out  ROW_BITS                 lane of the source at which the tile begins: a head's
//   strip_lanes      out  ROW_BITS                 turned words: source lanes from one strip to the next
//   bounded          out  1                        kernel offsets may lie outside the value
//   output_width     out  SIZE_BITS                positions of an output row
//   input_width      out  SIZE_BITS                of the value that is read
//   input_height     out  SIZE_BITS
//   stride           out  SIZE_BITS
//   padding          out  SIZE_BITS
//   kernel_width     out  SIZE_BITS
//   first_address    out  ADDRESS_BITS             of position 0, offset 0, less its padding
//   position_step    out  ADDRESS_BITS             to the next position of an output row
//   row_step         out  ADDRESS_BITS             to the next output row
//   slice_step       out  ADDRESS_BITS             to the next slice
//   offset_step      out  ADDRESS_BITS             to the next kernel column, from the last slice
//   offset_row_step  out  ADDRESS_BITS             to the next kernel row, from the last slice
//   plane_step       out  ADDRESS_BITS             to the next plane
//   chunk_words      out  WORD_ADDRESS_BITS        room of a chunk in the strip buffer, whole groups
//   chunk_groups     out  FLAG_ADDRESS_BITS        the same in groups
//   step_bases       out  TIME_STEPS*ADDRESS_BITS  where the value of each step begins
//   pad_row          out  PIXEL_BITS               the pixel outside the image
//
// Latency: none, wires only.
module gather_fields #(
    parameter GATHER_BITS = 8,
    parameter TIME_STEPS = 4,
    parameter POSITION_BITS = 6,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter ROW_BITS = 5,
    parameter SIZE_BITS = 6,
    parameter ADDRESS_BITS = 12,
    parameter WORD_ADDRESS_BITS = 10,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter PIXEL_BITS = 24
) (
    input  wire [GATHER_BITS-1:0]             row,
    output wire [1:0]                         mode,
    output wire                               outer,
    output wire                               together,
    output wire [TIME_STEPS-1:0]              slot_steps,
    output wire [TIME_STEPS-1:0]              stored_steps,
    output wire [POSITION_BITS-1:0]           strips,
    output wire [POSITION_BITS-1:0]           positions_full,
    output wire [POSITION_BITS-1:0]           positions_last,
    output wire [COUNT_BITS-1:0]              chunks,
    output wire [COUNT_BITS-1:0]              tiles,
    output wire [COUNT_BITS-1:0]              slices,
    output wire [COUNT_BITS-1:0]              pieces,
    output wire [COUNT_BITS-1:0]              offsets,
    output wire [PLANE_BITS-1:0]              planes,
    output wire [ROW_BITS-1:0]                lanes_full,
    output wire [ROW_BITS-1:0]                lanes_last,
    output wire [ROW_BITS-1:0]                piece_lanes,
    output wire [ROW_BITS-1:0]                first_lane,
    output wire [ROW_BITS-1:0]                strip_lanes,
    output wire                               bounded,
    output wire [SIZE_BITS-1:0]               output_width,
    output wire [SIZE_BITS-1:0]               input_width,
    output wire [SIZE_BITS-1:0]               input_height,
    output wire [SIZE_BITS-1:0]               stride,
    output wire [SIZE_BITS-1:0]               padding,
    output wire [SIZE_BITS-1:0]               kernel_width,
    output wire [ADDRESS_BITS-1:0]            first_address,
    output wire [ADDRESS_BITS-1:0]            position_step,
    output wire [ADDRESS_BITS-1:0]            row_step,
    output wire [ADDRESS_BITS-1:0]            slice_step,
    output wire [ADDRESS_BITS-1:0]            offset_step,
    output wire [ADDRESS_BITS-1:0]            offset_row_step,
    output wire [ADDRESS_BITS-1:0]            plane_step,
    output wire [WORD_ADDRESS_BITS-1:0]       chunk_words,
    output wire [FLAG_ADDRESS_BITS-1:0]       chunk_groups,
    output wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases,
    output wire [PIXEL_BITS-1:0]              pad_row
);
    assign {
        mode, outer, together, slot_steps, stored_steps, strips, positions_full, positions_last, chunks, tiles, slices,
        pieces, offsets, planes, lanes_full, lanes_last, piece_lanes, first_lane, strip_lanes, bounded, output_width,
        input_width, input_height, stride, padding, kernel_width, first_address, position_step, row_step, slice_step, offset_step,
        offset_row_step, plane_step, chunk_words, chunk_groups, step_bases, pad_row
    } = row;
endmodule
