// descriptor_fields: names for the bits of a pass descriptor, the last field in the lowest bits.
//
// Ports:
//   descriptor      in   DESCRIPTOR_BITS         one row of the descriptor memory
//   last            out  1                       the layer ends with this pass
//   streams         out  1                       words stream over a weight tile; else there is only the walk
//   walks           out  1                       the strip is walked after this pass
//   rows            out  ROW_BITS                weight rows of the tile
//   columns         out  COLUMN_BITS             channels of the tile
//   weight_base     out  WEIGHT_ADDRESS_BITS     its first beat in the weight memory
//   flag_base       out  FLAG_ADDRESS_BITS       first group of flags
//   word_base       out  WORD_ADDRESS_BITS       first spike word
//   words           out  WORD_COUNT_BITS         words that stream
//   first_slot      out  SLOT_BITS               accumulator slot of the first word
//   positions       out  POSITION_BITS           positions of the strip
//   window          out  TIME_STEPS              steps that this walk may visit, bit t = step t
//   parameter_base  out  PARAMETER_ADDRESS_BITS  row of the parameter memory
//   membrane_base   out  MEMBRANE_ADDRESS_BITS   membrane row of the strip's first position
//
// Latency: none, wires only.
module descriptor_fields #(
    parameter DESCRIPTOR_BITS = 8,
    parameter ROW_BITS = 5,
    parameter COLUMN_BITS = 5,
    parameter WEIGHT_ADDRESS_BITS = 8,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter WORD_ADDRESS_BITS = 8,
    parameter WORD_COUNT_BITS = 11,
    parameter SLOT_BITS = 5,
    parameter POSITION_BITS = 6,
    parameter TIME_STEPS = 4,
    parameter PARAMETER_ADDRESS_BITS = 8,
    parameter MEMBRANE_ADDRESS_BITS = 8
) (
    input  wire [DESCRIPTOR_BITS-1:0]        descriptor,
    output wire                              last,
    output wire                              streams,
    output wire                              walks,
    output wire [ROW_BITS-1:0]               rows,
    output wire [COLUMN_BITS-1:0]            columns,
    output wire [WEIGHT_ADDRESS_BITS-1:0]    weight_base,
    output wire [FLAG_ADDRESS_BITS-1:0]      flag_base,
    output wire [WORD_ADDRESS_BITS-1:0]      word_base,
    output wire [WORD_COUNT_BITS-1:0]        words,
    output wire [SLOT_BITS-1:0]              first_slot,
    output wire [POSITION_BITS-1:0]          positions,
    output wire [TIME_STEPS-1:0]             window,
    output wire [PARAMETER_ADDRESS_BITS-1:0] parameter_base,
    output wire [MEMBRANE_ADDRESS_BITS-1:0]  membrane_base
);
    assign {
        last, streams, walks, rows, columns, weight_base, flag_base, word_base, words, first_slot, positions, window,
        parameter_base, membrane_base
    } = descriptor;
endmodule
