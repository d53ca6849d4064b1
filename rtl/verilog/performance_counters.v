// performance_counters: exact event counts of a layer, by the names and definitions of the schedule's cycle rules.
//
// `select` numbers the counters in the order in which those rules list them.
//
// Ports:
//   clock               in   1             rising edge
//   clear               in   1             a layer starts: all counts back to 0
//   select              in   5             the counter asked for
//   value               out  COUNTER_BITS  its count
//   counting            in   1             from pass_controller, as the next three
//   streaming           in   1             the skipper looks at words
//   waiting             in   1             load stall
//   draining            in   1             before the walk
//   walking             in   1             the walk
//   advance             in   1             a pass starts in the next cycle
//   next_streams        in   1             that pass has words
//   offered_words       in   LANE_BITS+1   words of the group that is done in this cycle, else 0
//   issue               in   1             a word is issued, and read from its memory
//   word_valid          in   1             an issued word is at the array
//   word                in   ROWS          the word
//   word_rows           in   ROW_BITS      lanes that its tile uses
//   word_columns        in   COLUMN_BITS   channels that its tile uses
//   accumulate          in   1             an accumulator row is read, added to and written
//   loading             in   1             weight rows are read
//   load_rows           in   ROW_BITS      how many
//   stationary_operand  in   1             they are attention's stationary operand
//   parameter_read      in   1             a parameter row is read
//   visit               in   1             the walk visits a (position, step)
//   visit_has_slot      in   1             its accumulators are read
//   visit_output        in   1             its output is live
//   visit_columns       in   COLUMN_BITS   channels that the walked tile uses
//   has_neuron          in   1             the walk updates neurons; else it stores currents
//   membrane_read       in   1             a membrane row is read
//   membrane_write      in   1             a membrane row is written
//
// Latency: an event of cycle n is counted in n + 1.
module performance_counters #(
    parameter ROWS = 16,
    parameter ROW_BITS = 5,
    parameter COLUMN_BITS = 5,
    parameter LANE_BITS = 2,
    parameter COUNTER_BITS = 48
) (
    input  wire                    clock,
    input  wire                    clear,
    input  wire [4:0]              select,
    output reg  [COUNTER_BITS-1:0] value,
    input  wire                    counting,
    input  wire                    streaming,
    input  wire                    waiting,
    input  wire                    draining,
    input  wire                    walking,
    input  wire                    advance,
    input  wire                    next_streams,
    input  wire [LANE_BITS:0]      offered_words,
    input  wire                    issue,
    input  wire                    word_valid,
    input  wire [ROWS-1:0]         word,
    input  wire [ROW_BITS-1:0]     word_rows,
    input  wire [COLUMN_BITS-1:0]  word_columns,
    input  wire                    accumulate,
    input  wire                    loading,
    input  wire [ROW_BITS-1:0]     load_rows,
    input  wire                    stationary_operand,
    input  wire                    parameter_read,
    input  wire                    visit,
    input  wire                    visit_has_slot,
    input  wire                    visit_output,
    input  wire [COLUMN_BITS-1:0]  visit_columns,
    input  wire                    has_neuron,
    input  wire                    membrane_read,
    input  wire                    membrane_write
);
    // Additions that an issued word causes, and those that its zero bits keep still: ones · columns and zeros · columns.
    wire [ROW_BITS-1:0] ones;
    population_count #(.WIDTH(ROWS), .COUNT_BITS(ROW_BITS)) word_ones (.bits(word), .count(ones));
    wire [ROW_BITS-1:0] zeros = word_rows - ones;

    wire [ROW_BITS+COLUMN_BITS:0] ones_product;
    shift_add_product #(.SIGNED_BITS(ROW_BITS+1), .FACTOR_BITS(COLUMN_BITS)) count_additions (
        .signed_factor({1'b0, ones}), .factor(word_columns), .product(ones_product)
    );
    wire [ROW_BITS+COLUMN_BITS:0] zeros_product;
    shift_add_product #(.SIGNED_BITS(ROW_BITS+1), .FACTOR_BITS(COLUMN_BITS)) count_gated (
        .signed_factor({1'b0, zeros}), .factor(word_columns), .product(zeros_product)
    );
    wire [ROW_BITS+COLUMN_BITS-1:0] accumulates_now = ones_product[ROW_BITS+COLUMN_BITS-1:0];
    wire [ROW_BITS+COLUMN_BITS-1:0] gated_now = zeros_product[ROW_BITS+COLUMN_BITS-1:0];

    wire [COUNTER_BITS-1:0] cycles;
    wire [COUNTER_BITS-1:0] stream_cycles;
    wire [COUNTER_BITS-1:0] load_stall_cycles;
    wire [COUNTER_BITS-1:0] walk_cycles;
    wire [COUNTER_BITS-1:0] passes;
    wire [COUNTER_BITS-1:0] words_offered;
    wire [COUNTER_BITS-1:0] words_issued;
    wire [COUNTER_BITS-1:0] active_bits;
    wire [COUNTER_BITS-1:0] accumulates;
    wire [COUNTER_BITS-1:0] gated_accumulates;
    wire [COUNTER_BITS-1:0] accumulator_reads;
    wire [COUNTER_BITS-1:0] accumulator_writes;
    wire [COUNTER_BITS-1:0] weight_row_reads;
    wire [COUNTER_BITS-1:0] stationary_row_reads;
    wire [COUNTER_BITS-1:0] parameter_row_reads;
    wire [COUNTER_BITS-1:0] spike_word_reads;
    wire [COUNTER_BITS-1:0] spike_row_writes;
    wire [COUNTER_BITS-1:0] current_row_writes;
    wire [COUNTER_BITS-1:0] membrane_row_reads;
    wire [COUNTER_BITS-1:0] membrane_row_writes;
    wire [COUNTER_BITS-1:0] lif_updates;
    wire [COUNTER_BITS-1:0] zero_checks;

    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_cycles (
        .clock(clock), .clear(clear), .enable(counting), .increment(1'b1), .count(cycles)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_stream_cycles (
        .clock(clock), .clear(clear), .enable(streaming), .increment(1'b1), .count(stream_cycles)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_load_stall_cycles (
        .clock(clock), .clear(clear), .enable(waiting), .increment(1'b1), .count(load_stall_cycles)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_walk_cycles (
        .clock(clock), .clear(clear), .enable(draining || walking), .increment(1'b1), .count(walk_cycles)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_passes (
        .clock(clock), .clear(clear), .enable(advance && next_streams), .increment(1'b1), .count(passes)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(LANE_BITS+1)) count_words_offered (
        .clock(clock), .clear(clear), .enable(1'b1), .increment(offered_words), .count(words_offered)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_words_issued (
        .clock(clock), .clear(clear), .enable(issue), .increment(1'b1), .count(words_issued)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(ROW_BITS)) count_active_bits (
        .clock(clock), .clear(clear), .enable(word_valid), .increment(ones), .count(active_bits)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(ROW_BITS+COLUMN_BITS)) count_accumulates (
        .clock(clock), .clear(clear), .enable(word_valid), .increment(accumulates_now), .count(accumulates)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(ROW_BITS+COLUMN_BITS)) count_gated_accumulates (
        .clock(clock), .clear(clear), .enable(word_valid), .increment(gated_now), .count(gated_accumulates)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_accumulator_reads (
        .clock(clock), .clear(clear), .enable(accumulate || (visit && visit_has_slot)), .increment(1'b1), .count(accumulator_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_accumulator_writes (
        .clock(clock), .clear(clear), .enable(accumulate), .increment(1'b1), .count(accumulator_writes)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(ROW_BITS)) count_weight_row_reads (
        .clock(clock), .clear(clear), .enable(loading && !stationary_operand), .increment(load_rows), .count(weight_row_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(ROW_BITS)) count_stationary_row_reads (
        .clock(clock), .clear(clear), .enable(loading && stationary_operand), .increment(load_rows), .count(stationary_row_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_parameter_row_reads (
        .clock(clock), .clear(clear), .enable(parameter_read), .increment(1'b1), .count(parameter_row_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_spike_word_reads (
        .clock(clock), .clear(clear), .enable(issue), .increment(1'b1), .count(spike_word_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_spike_row_writes (
        .clock(clock), .clear(clear), .enable(visit && visit_output && has_neuron), .increment(1'b1), .count(spike_row_writes)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_current_row_writes (
        .clock(clock), .clear(clear), .enable(visit && !has_neuron), .increment(1'b1), .count(current_row_writes)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_membrane_row_reads (
        .clock(clock), .clear(clear), .enable(membrane_read), .increment(1'b1), .count(membrane_row_reads)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(1)) count_membrane_row_writes (
        .clock(clock), .clear(clear), .enable(membrane_write), .increment(1'b1), .count(membrane_row_writes)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(COLUMN_BITS)) count_lif_updates (
        .clock(clock), .clear(clear), .enable(visit && has_neuron), .increment(visit_columns), .count(lif_updates)
    );
    event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(COLUMN_BITS)) count_zero_checks (
        .clock(clock), .clear(clear), .enable(visit && visit_output && has_neuron), .increment(visit_columns), .count(zero_checks)
    );

    always @*
        case (select)
            5'd0: value = cycles;
            5'd1: value = stream_cycles;
            5'd2: value = load_stall_cycles;
            5'd3: value = walk_cycles;
            5'd4: value = passes;
            5'd5: value = words_offered;
            5'd6: value = words_issued;
            5'd7: value = active_bits;
            5'd8: value = accumulates;
            5'd9: value = gated_accumulates;
            5'd10: value = accumulator_reads;
            5'd11: value = accumulator_writes;
            5'd12: value = weight_row_reads;
            5'd13: value = stationary_row_reads;
            5'd14: value = parameter_row_reads;
            5'd15: value = spike_word_reads;
            5'd16: value = spike_row_writes;
            5'd17: value = {COUNTER_BITS{1'b0}};  // spike_word_writes: the elementwise unit's
            5'd18: value = {COUNTER_BITS{1'b0}};  // current_row_reads: the elementwise unit's
            5'd19: value = current_row_writes;
            5'd20: value = membrane_row_reads;
            5'd21: value = membrane_row_writes;
            5'd22: value = lif_updates;
            5'd23: value = zero_checks;
            default: value = {COUNTER_BITS{1'b0}};
        endcase

    wire unused = &{1'b0, ones_product[ROW_BITS+COLUMN_BITS], zeros_product[ROW_BITS+COLUMN_BITS]};
endmodule
