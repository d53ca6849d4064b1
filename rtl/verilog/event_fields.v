// event_fields: names for the bits of strip_engine's events, the last field in the lowest bits.
//
// Ports:
//   events              in   EVENT_BITS     of one cycle
//   streams             out  1              the skipper looks at words
//   load_stalls         out  1              waiting for a weight tile
//   word_stalls         out  1              waiting for words
//   walks               out  1              the walk, and the draining before it
//   fetches             out  1              the first pass of a run is fetched
//   pass_starts         out  1              a pass with words starts in the next cycle
//   offered_words       out  LANE_BITS+1    words of the group that is done in this cycle, else 0
//   issues              out  1              a word is issued, and read from the strip buffer
//   word_valid          out  1              an issued word is at the array
//   word                out  ROWS           the word
//   word_rows           out  ROW_BITS       lanes that its tile uses
//   word_columns        out  COLUMN_BITS    channels that its tile uses
//   accumulates         out  1              an accumulator row is read, added to and written
//   loads               out  1              weight rows are read
//   load_rows           out  ROW_BITS       how many
//   stationary_operand  out  1              they are attention's stationary operand
//   parameter_reads     out  1              a parameter row is read
//   visits              out  1              the walk visits a (position, step)
//   accumulator_reads   out  1              its accumulators are read
//   spike_row_writes    out  1              its spikes are stored
//   current_row_writes  out  1              its currents are stored
//   visit_columns       out  COLUMN_BITS    channels that the walked tile uses
//   updates_neurons     out  1              the walk updates neurons
//   membrane_reads      out  1              a membrane row is read
//   membrane_writes     out  1              a membrane row is written
//   source_reads        out  1              a row of stored currents is read
//
// Latency: none, wires only.
module event_fields #(
    parameter EVENT_BITS = 8,
    parameter LANE_BITS = 2,
    parameter ROWS = 16,
    parameter ROW_BITS = 5,
    parameter COLUMN_BITS = 5
) (
    input  wire [EVENT_BITS-1:0]  events,
    output wire                   streams,
    output wire                   load_stalls,
    output wire                   word_stalls,
    output wire                   walks,
    output wire                   fetches,
    output wire                   pass_starts,
    output wire [LANE_BITS:0]     offered_words,
    output wire                   issues,
    output wire                   word_valid,
    output wire [ROWS-1:0]        word,
    output wire [ROW_BITS-1:0]    word_rows,
    output wire [COLUMN_BITS-1:0] word_columns,
    output wire                   accumulates,
    output wire                   loads,
    output wire [ROW_BITS-1:0]    load_rows,
    output wire                   stationary_operand,
    output wire                   parameter_reads,
    output wire                   visits,
    output wire                   accumulator_reads,
    output wire                   spike_row_writes,
    output wire                   current_row_writes,
    output wire [COLUMN_BITS-1:0] visit_columns,
    output wire                   updates_neurons,
    output wire                   membrane_reads,
    output wire                   membrane_writes,
    output wire                   source_reads
);
    assign {
        streams, load_stalls, word_stalls, walks, fetches, pass_starts, offered_words, issues, word_valid, word,
        word_rows, word_columns, accumulates, loads, load_rows, stationary_operand, parameter_reads, visits,
        accumulator_reads, spike_row_writes, current_row_writes, visit_columns, updates_neurons, membrane_reads,
        membrane_writes, source_reads
    } = events;
endmodule
