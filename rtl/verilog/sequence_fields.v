// sequence_fields: names for the bits that say which passes and walks a run has, the last field in the lowest bits.
//
// Ports:
//   row                   in   SEQUENCE_BITS             the configuration, constant while the run lasts
//   outer                 out  1                         time runs outermost: a round of all strips for each walked step
//   together              out  1                         time innermost: a pass serves all slot steps
//   gathered              out  1                         the words of the only strip are there, from the block before
//   strips                out  POSITION_BITS             strips of a round
//   positions_full        out  POSITION_BITS             positions of a strip
//   positions_last        out  POSITION_BITS             of the last one
//   words_full            out  WORD_COUNT_BITS           words of a pass
//   words_last            out  WORD_COUNT_BITS           in the last strip
//   output_tiles          out  COUNT_BITS                output tiles of the run
//   columns_last          out  COLUMN_BITS               channels of the last one; the others have all columns
//   tiles                 out  COUNT_BITS                reduction tiles
//   slices                out  COUNT_BITS                period of their rows
//   rows_full             out  ROW_BITS                  weight rows of a tile
//   rows_last             out  ROW_BITS                  of the last one of a period
//   weight_base           out  WEIGHT_ADDRESS_BITS       first beat of the run's weights
//   parameter_base        out  PARAMETER_ADDRESS_BITS    parameter row of the first output tile
//   chunk_words           out  WORD_ADDRESS_BITS         from one chunk of the strip buffer to the next
//   chunk_groups          out  FLAG_ADDRESS_BITS         the same in groups
//   membrane_tile_step    out  MEMBRANE_ADDRESS_BITS     membrane rows from one output tile to the next
//   result_currents       out  1                         results go to current memory, else spikes to spike memory
//   result_states         out  1                         the currents stored are the states after the step
//   result_base           out  ADDRESS_BITS              address of the first strip's first position
//   result_lane           out  ROW_BITS                  lane of its first spike
//   result_position_step  out  ADDRESS_BITS              to the next position
//   result_strip_step     out  ADDRESS_BITS              to the next strip
//   result_step_bases     out  TIME_STEPS*ADDRESS_BITS   where the results of each step begin
//   source_steps          out  TIME_STEPS                steps at which the walk reads a stored current
//   source_base           out  ADDRESS_BITS              as of the results
//   source_position_step  out  ADDRESS_BITS
//   source_strip_step     out  ADDRESS_BITS
//   source_step_bases     out  TIME_STEPS*ADDRESS_BITS
//
// Latency: none, wires only.
module sequence_fields #(
    parameter SEQUENCE_BITS = 8,
    parameter TIME_STEPS = 4,
    parameter POSITION_BITS = 6,
    parameter WORD_COUNT_BITS = 11,
    parameter COUNT_BITS = 8,
    parameter COLUMN_BITS = 5,
    parameter ROW_BITS = 5,
    parameter WEIGHT_ADDRESS_BITS = 8,
    parameter PARAMETER_ADDRESS_BITS = 8,
    parameter WORD_ADDRESS_BITS = 10,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter MEMBRANE_ADDRESS_BITS = 8,
    parameter ADDRESS_BITS = 12
) (
    input  wire [SEQUENCE_BITS-1:0]           row,
    output wire                               outer,
    output wire                               together,
    output wire                               gathered,
    output wire [POSITION_BITS-1:0]           strips,
    output wire [POSITION_BITS-1:0]           positions_full,
    output wire [POSITION_BITS-1:0]           positions_last,
    output wire [WORD_COUNT_BITS-1:0]         words_full,
    output wire [WORD_COUNT_BITS-1:0]         words_last,
    output wire [COUNT_BITS-1:0]              output_tiles,
    output wire [COLUMN_BITS-1:0]             columns_last,
    output wire [COUNT_BITS-1:0]              tiles,
    output wire [COUNT_BITS-1:0]              slices,
    output wire [ROW_BITS-1:0]                rows_full,
    output wire [ROW_BITS-1:0]                rows_last,
    output wire [WEIGHT_ADDRESS_BITS-1:0]     weight_base,
    output wire [PARAMETER_ADDRESS_BITS-1:0]  parameter_base,
    output wire [WORD_ADDRESS_BITS-1:0]       chunk_words,
    output wire [FLAG_ADDRESS_BITS-1:0]       chunk_groups,
    output wire [MEMBRANE_ADDRESS_BITS-1:0]   membrane_tile_step,
    output wire                               result_currents,
    output wire                               result_states,
    output wire [ADDRESS_BITS-1:0]            result_base,
    output wire [ROW_BITS-1:0]                result_lane,
    output wire [ADDRESS_BITS-1:0]            result_position_step,
    output wire [ADDRESS_BITS-1:0]            result_strip_step,
    output wire [TIME_STEPS*ADDRESS_BITS-1:0] result_step_bases,
    output wire [TIME_STEPS-1:0]              source_steps,
    output wire [ADDRESS_BITS-1:0]            source_base,
    output wire [ADDRESS_BITS-1:0]            source_position_step,
    output wire [ADDRESS_BITS-1:0]            source_strip_step,
    output wire [TIME_STEPS*ADDRESS_BITS-1:0] source_step_bases
);
    assign {
        outer, together, gathered, strips, positions_full, positions_last, words_full, words_last, output_tiles,
        columns_last, tiles, slices, rows_full, rows_last, weight_base, parameter_base, chunk_words, chunk_groups,
        membrane_tile_step, result_currents, result_states, result_base, result_lane, result_position_step,
        result_strip_step, result_step_bases, source_steps, source_base, source_position_step, source_strip_step,
        source_step_bases
    } = row;
endmodule
