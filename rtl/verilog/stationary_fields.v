// stationary_fields: names for the bits of a fill of the stationary memory, the last field in the lowest bits.
//
// Ports:
//   row            in   STATIONARY_BITS          the configuration, constant while the fill lasts
//   mode           out  2                        0 words of spike memory, 2 rows of currents, 3 words turned
//   outer          out  1                        steps outside output tiles, as the passes take them
//   slot_steps     out  TIME_STEPS               steps that are filled
//   stored_steps   out  TIME_STEPS               steps at which the value is stored; at others it is 0
//   output_tiles   out  COUNT_BITS               output tiles
//   columns_last   out  ROW_BITS                 turned words: columns of the last one, the others have all
//   tiles          out  COUNT_BITS               reduction tiles
//   rows_full      out  ROW_BITS                 rows of a reduction tile
//   rows_last      out  ROW_BITS                 of the last one
//   planes         out  PLANE_BITS               bit planes of a weight that comes from words
//   first_lane     out  ROW_BITS                 lane of the first column, turned words: of the first row
//   first_address  out  ADDRESS_BITS             of the first row or token
//   row_step       out  ADDRESS_BITS             to the next row, turned words: to the next token
//   tile_step      out  ADDRESS_BITS             to the next output tile, from the first row
//   tile_lanes     out  ROW_BITS                 lanes to the next output tile, on to the next address where they end
//   slice_step     out  ADDRESS_BITS             turned words: to the next reduction tile
//   plane_step     out  ADDRESS_BITS             to the next plane
//   step_bases     out  TIME_STEPS*ADDRESS_BITS  where the value of each step begins
//
// Latency: none, wires only.
module stationary_fields #(
    parameter STATIONARY_BITS = 8,
    parameter TIME_STEPS = 4,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter ROW_BITS = 5,
    parameter ADDRESS_BITS = 12
) (
    input  wire [STATIONARY_BITS-1:0]         row,
    output wire [1:0]                         mode,
    output wire                               outer,
    output wire [TIME_STEPS-1:0]              slot_steps,
    output wire [TIME_STEPS-1:0]              stored_steps,
    output wire [COUNT_BITS-1:0]              output_tiles,
    output wire [ROW_BITS-1:0]                columns_last,
    output wire [COUNT_BITS-1:0]              tiles,
    output wire [ROW_BITS-1:0]                rows_full,
    output wire [ROW_BITS-1:0]                rows_last,
    output wire [PLANE_BITS-1:0]              planes,
    output wire [ROW_BITS-1:0]                first_lane,
    output wire [ADDRESS_BITS-1:0]            first_address,
    output wire [ADDRESS_BITS-1:0]            row_step,
    output wire [ADDRESS_BITS-1:0]            tile_step,
    output wire [ROW_BITS-1:0]                tile_lanes,
    output wire [ADDRESS_BITS-1:0]            slice_step,
    output wire [ADDRESS_BITS-1:0]            plane_step,
    output wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases
);
    assign {
        mode, outer, slot_steps, stored_steps, output_tiles, columns_last, tiles, rows_full, rows_last, planes,
        first_lane, first_address, row_step, tile_step, tile_lanes, slice_step, plane_step, step_bases
    } = row;
endmodule
