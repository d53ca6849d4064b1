// strip_engine: runs one product layer and the walks it feeds, as its pass descriptors say.
//
//   descriptor memory ─► pass_controller ─► weight memory ─► ac_array banks
//   flag memory ─► zero_skipper ─► word memory ─► ac_array ─► accumulator_file ─► lif_unit ─► walk stream
//                  slot_counter ──────────────────────────────►   walk_controller ─┘ ▲ ▼ membrane_memory
//
// A word issued in cycle n is at the AND bank in n + 1, is accumulated in n + 2 and can be walked in n + 3.
// The owner fills the memories through their write ports, sets `layer` and `start_row`, and pulses `start` while not
// `busy`. A run ends with the next descriptor that is marked last: a layer takes one run for each weight block.
//
// Ports:
//   clock                     in   1                                     rising edge
//   reset                     in   1                                     synchronous
//   start                     in   1                                     run a block of the layer
//   start_row                 in   DESCRIPTOR_ADDRESS_BITS               first descriptor of the run: a weight block's
//   layer                     in   LAYER_BITS                            its configuration, see layer_fields
//   busy                      out  1                                     a block runs
//   done                      out  1                                     the block has ended; until the next start
//   descriptor_write_enable   in   1                                     write ports of the five memories
//   descriptor_write_address  in   DESCRIPTOR_ADDRESS_BITS               one row for each pass, from row 0
//   descriptor_write_row      in   DESCRIPTOR_BITS                       see descriptor_fields
//   weight_write_enable       in   1                                     weights
//   weight_write_address      in   WEIGHT_ADDRESS_BITS                   one row for each load beat
//   weight_write_row          in   LOAD_ROWS*COLUMNS*WEIGHT_BITS         as ac_array takes it
//   flag_write_enable         in   1                                     non-zero flags
//   flag_write_address        in   FLAG_ADDRESS_BITS                     one row for each group of words
//   flag_write_row            in   GROUP                                 bit g: word g of the group is not zero
//   word_write_enable         in   1                                     spike words
//   word_write_address        in   WORD_ADDRESS_BITS                     one row a word
//   word_write_row            in   ROWS                                  bit r: lane r
//   parameter_write_enable    in   1                                     neuron parameters
//   parameter_write_address   in   PARAMETER_ADDRESS_BITS                one row for each output tile
//   parameter_write_row       in   COLUMNS*4*VALUE_BITS                  as lif_unit takes it
//   walk_valid                out  1                                     a visit's results are below
//   walk_spikes               out  COLUMNS                               output spikes
//   walk_membranes            out  COLUMNS*MEMBRANE_BITS                 U after reset
//   walk_currents             out  COLUMNS*VALUE_BITS                    (sum << current_shift) + bias
//   walk_accumulators         out  COLUMNS*ACCUMULATOR_BITS              the sums
//   counter_select            in   5                                     see performance_counters
//   counter_value             out  COUNTER_BITS                          the counter asked for
//
// Latency: results of a visit appear one cycle after it. The parameters from SLOT_BITS on follow from those before.
module strip_engine #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter SLOTS = 32,
    parameter GROUP = 4,
    parameter TIME_STEPS = 4,
    parameter WEIGHT_BITS = 8,
    parameter ACCUMULATOR_BITS = 24,
    parameter MEMBRANE_BITS = 24,
    parameter LOAD_ROWS = 1,
    parameter FIXED_LEAK = 0,
    parameter LEAK_MULTIPLIER_BITS = 1,
    parameter SHIFT_BITS = 6,
    parameter PLANE_BITS = 5,
    parameter POSITION_BITS = 6,
    parameter DESCRIPTOR_ADDRESS_BITS = 8,
    parameter WEIGHT_ADDRESS_BITS = 8,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter WORD_ADDRESS_BITS = 10,
    parameter PARAMETER_ADDRESS_BITS = 4,
    parameter MEMBRANE_ADDRESS_BITS = 8,
    parameter COUNTER_BITS = 48,
    parameter SLOT_BITS = (SLOTS > 1) ? $clog2(SLOTS) : 1,
    parameter ROW_BITS = $clog2(ROWS + 1),
    parameter COLUMN_BITS = $clog2(COLUMNS + 1),
    parameter WORD_COUNT_BITS = SLOT_BITS + 1 + PLANE_BITS,
    parameter VALUE_BITS = (ACCUMULATOR_BITS > MEMBRANE_BITS) ? ACCUMULATOR_BITS : MEMBRANE_BITS,
    parameter DESCRIPTOR_BITS = 3 + ROW_BITS + COLUMN_BITS + WEIGHT_ADDRESS_BITS + FLAG_ADDRESS_BITS
        + WORD_ADDRESS_BITS + WORD_COUNT_BITS + SLOT_BITS + POSITION_BITS + TIME_STEPS
        + PARAMETER_ADDRESS_BITS + MEMBRANE_ADDRESS_BITS,
    parameter LAYER_BITS = 5 + SHIFT_BITS + LEAK_MULTIPLIER_BITS + SHIFT_BITS + 6*TIME_STEPS
        + 3*SLOT_BITS + 2*PLANE_BITS + GROUP*(PLANE_BITS + SLOT_BITS)
) (
    input  wire                                     clock,
    input  wire                                     reset,
    input  wire                                     start,
    input  wire [DESCRIPTOR_ADDRESS_BITS-1:0]       start_row,
    input  wire [LAYER_BITS-1:0]                    layer,
    output wire                                     busy,
    output wire                                     done,
    input  wire                                     descriptor_write_enable,
    input  wire [DESCRIPTOR_ADDRESS_BITS-1:0]       descriptor_write_address,
    input  wire [DESCRIPTOR_BITS-1:0]               descriptor_write_row,
    input  wire                                     weight_write_enable,
    input  wire [WEIGHT_ADDRESS_BITS-1:0]           weight_write_address,
    input  wire [LOAD_ROWS*COLUMNS*WEIGHT_BITS-1:0] weight_write_row,
    input  wire                                     flag_write_enable,
    input  wire [FLAG_ADDRESS_BITS-1:0]             flag_write_address,
    input  wire [GROUP-1:0]                         flag_write_row,
    input  wire                                     word_write_enable,
    input  wire [WORD_ADDRESS_BITS-1:0]             word_write_address,
    input  wire [ROWS-1:0]                          word_write_row,
    input  wire                                     parameter_write_enable,
    input  wire [PARAMETER_ADDRESS_BITS-1:0]        parameter_write_address,
    input  wire [COLUMNS*4*VALUE_BITS-1:0]          parameter_write_row,
    output reg                                      walk_valid,
    output reg  [COLUMNS-1:0]                       walk_spikes,
    output reg  [COLUMNS*MEMBRANE_BITS-1:0]         walk_membranes,
    output reg  [COLUMNS*VALUE_BITS-1:0]            walk_currents,
    output reg  [COLUMNS*ACCUMULATOR_BITS-1:0]      walk_accumulators,
    input  wire [4:0]                               counter_select,
    output wire [COUNTER_BITS-1:0]                  counter_value
);
    localparam LANE_BITS = (GROUP > 1) ? $clog2(GROUP) : 1;
    localparam BEATS = (ROWS + LOAD_ROWS - 1) / LOAD_ROWS;
    localparam BEAT_BITS = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam SUM_BITS = WEIGHT_BITS + $clog2(ROWS);

    // ---- the layer's configuration
    wire has_neuron, reads_parameters, stationary_operand, hard_reset, leak_fixed;
    wire [SHIFT_BITS-1:0] leak_shift, current_shift;
    wire [LEAK_MULTIPLIER_BITS-1:0] leak_multiplier;
    wire [TIME_STEPS-1:0] state_steps, active_steps, slot_steps, reused_steps, membrane_reads, membrane_writes;
    wire [SLOT_BITS-1:0] walk_slot_stride, group_slots, slot_stride;
    wire [PLANE_BITS-1:0] planes, group_planes;
    wire [GROUP*PLANE_BITS-1:0] lane_planes;
    wire [GROUP*SLOT_BITS-1:0] lane_slots;
    layer_fields #(
        .LAYER_BITS(LAYER_BITS), .GROUP(GROUP), .SHIFT_BITS(SHIFT_BITS), .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS),
        .TIME_STEPS(TIME_STEPS), .SLOT_BITS(SLOT_BITS), .PLANE_BITS(PLANE_BITS)
    ) configuration (
        .layer(layer),
        .has_neuron(has_neuron),
        .reads_parameters(reads_parameters),
        .stationary_operand(stationary_operand),
        .hard_reset(hard_reset),
        .leak_fixed(leak_fixed),
        .leak_shift(leak_shift),
        .leak_multiplier(leak_multiplier),
        .current_shift(current_shift),
        .state_steps(state_steps),
        .active_steps(active_steps),
        .slot_steps(slot_steps),
        .reused_steps(reused_steps),
        .membrane_reads(membrane_reads),
        .membrane_writes(membrane_writes),
        .walk_slot_stride(walk_slot_stride),
        .planes(planes),
        .group_planes(group_planes),
        .group_slots(group_slots),
        .slot_stride(slot_stride),
        .lane_planes(lane_planes),
        .lane_slots(lane_slots)
    );

    // ---- descriptors: the memory's output is the next pass, a register holds what the running one still needs
    wire idle, fetching, advance, counting, waiting, streaming, draining, walking, begin_walk, loading;
    reg  [DESCRIPTOR_ADDRESS_BITS-1:0] next_index;
    wire [DESCRIPTOR_ADDRESS_BITS-1:0] descriptor_address =
        idle ? start_row : advance ? next_index + 1 : next_index;
    wire [DESCRIPTOR_BITS-1:0] next_descriptor;
    synchronous_memory #(.WIDTH(DESCRIPTOR_BITS), .ADDRESS_BITS(DESCRIPTOR_ADDRESS_BITS)) descriptor_memory (
        .clock(clock),
        .write_enable(descriptor_write_enable),
        .write_address(descriptor_write_address),
        .write_data(descriptor_write_row),
        .read_enable(1'b1),
        .read_address(descriptor_address),
        .read_data(next_descriptor)
    );
    always @(posedge clock)
        next_index <= descriptor_address;

    wire next_last, next_streams, next_walks;
    wire [ROW_BITS-1:0] next_rows;
    wire [COLUMN_BITS-1:0] next_columns;
    wire [WEIGHT_ADDRESS_BITS-1:0] next_weight_base;
    wire [FLAG_ADDRESS_BITS-1:0] next_flag_base;
    wire [WORD_ADDRESS_BITS-1:0] next_word_base;
    wire [WORD_COUNT_BITS-1:0] next_words;
    wire [SLOT_BITS-1:0] next_first_slot;
    wire [POSITION_BITS-1:0] next_positions;
    wire [TIME_STEPS-1:0] next_window;
    wire [PARAMETER_ADDRESS_BITS-1:0] next_parameter_base;
    wire [MEMBRANE_ADDRESS_BITS-1:0] next_membrane_base;
    descriptor_fields #(
        .DESCRIPTOR_BITS(DESCRIPTOR_BITS), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS),
        .WEIGHT_ADDRESS_BITS(WEIGHT_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS),
        .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .WORD_COUNT_BITS(WORD_COUNT_BITS), .SLOT_BITS(SLOT_BITS),
        .POSITION_BITS(POSITION_BITS), .TIME_STEPS(TIME_STEPS), .PARAMETER_ADDRESS_BITS(PARAMETER_ADDRESS_BITS),
        .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS)
    ) next_pass (
        .descriptor(next_descriptor),
        .last(next_last),
        .streams(next_streams),
        .walks(next_walks),
        .rows(next_rows),
        .columns(next_columns),
        .weight_base(next_weight_base),
        .flag_base(next_flag_base),
        .word_base(next_word_base),
        .words(next_words),
        .first_slot(next_first_slot),
        .positions(next_positions),
        .window(next_window),
        .parameter_base(next_parameter_base),
        .membrane_base(next_membrane_base)
    );

    reg current_last, current_walks, current_bank;
    reg [ROW_BITS-1:0] current_rows;
    reg [COLUMN_BITS-1:0] current_columns;
    reg [POSITION_BITS-1:0] current_positions;
    reg [TIME_STEPS-1:0] current_window;
    reg [PARAMETER_ADDRESS_BITS-1:0] current_parameter_base;
    reg [MEMBRANE_ADDRESS_BITS-1:0] current_membrane_base;
    always @(posedge clock)
        if (advance) begin
            current_last <= next_last;
            current_walks <= next_walks;
            current_rows <= next_rows;
            current_columns <= next_columns;
            current_positions <= next_positions;
            current_window <= next_window;
            current_parameter_base <= next_parameter_base;
            current_membrane_base <= next_membrane_base;
        end
    always @(posedge clock)
        if (reset)
            current_bank <= 1'b0;
        else if (advance)
            current_bank <= !current_bank;

    // ---- passes
    wire stream_last, visit, visit_last;
    wire [BEAT_BITS-1:0] load_beat;
    wire [ROW_BITS-1:0] load_rows;
    pass_controller #(.LOAD_ROWS(LOAD_ROWS), .ROW_BITS(ROW_BITS), .BEAT_BITS(BEAT_BITS)) controller (
        .clock(clock),
        .reset(reset),
        .start(start),
        .current_last(current_last),
        .current_walks(current_walks),
        .next_streams(next_streams),
        .next_rows(next_rows),
        .stream_last(stream_last),
        .walk_last(visit_last),
        .idle(idle),
        .fetching(fetching),
        .advance(advance),
        .counting(counting),
        .waiting(waiting),
        .streaming(streaming),
        .draining(draining),
        .walking(walking),
        .begin_walk(begin_walk),
        .loading(loading),
        .load_beat(load_beat),
        .load_rows(load_rows),
        .done(done)
    );
    assign busy = !idle;

    // ---- weight tiles: read in cycle n, written to the bank that does not compute at the end of n + 1
    wire [LOAD_ROWS*COLUMNS*WEIGHT_BITS-1:0] loaded_weights;
    synchronous_memory #(.WIDTH(LOAD_ROWS*COLUMNS*WEIGHT_BITS), .ADDRESS_BITS(WEIGHT_ADDRESS_BITS)) weight_memory (
        .clock(clock),
        .write_enable(weight_write_enable),
        .write_address(weight_write_address),
        .write_data(weight_write_row),
        .read_enable(loading),
        .read_address(next_weight_base + {{(WEIGHT_ADDRESS_BITS-BEAT_BITS){1'b0}}, load_beat}),
        .read_data(loaded_weights)
    );
    reg loaded, loaded_bank;
    reg [BEAT_BITS-1:0] loaded_beat;
    always @(posedge clock) begin
        loaded <= loading && !reset;
        loaded_bank <= !current_bank;
        loaded_beat <= load_beat;
    end

    // ---- stream, cycle n: the skipper issues a word
    reg  [FLAG_ADDRESS_BITS-1:0] group_index;
    reg  [WORD_ADDRESS_BITS-1:0] group_word;
    reg  [WORD_COUNT_BITS-1:0]   words_left;
    wire [GROUP-1:0]             flags;
    wire                         issue, group_done;
    wire [LANE_BITS-1:0]         lane;
    localparam [WORD_COUNT_BITS-1:0] GROUP_WORDS = GROUP[WORD_COUNT_BITS-1:0];
    wire last_group = words_left <= GROUP_WORDS;
    wire [LANE_BITS:0] group_size = last_group ? words_left[LANE_BITS:0] : GROUP[LANE_BITS:0];
    assign stream_last = group_done && last_group;

    wire [FLAG_ADDRESS_BITS-1:0] flag_address = advance ? next_flag_base : group_done ? group_index + 1 : group_index;
    synchronous_memory #(.WIDTH(GROUP), .ADDRESS_BITS(FLAG_ADDRESS_BITS)) flag_memory (
        .clock(clock),
        .write_enable(flag_write_enable),
        .write_address(flag_write_address),
        .write_data(flag_write_row),
        .read_enable(advance || group_done),
        .read_address(flag_address),
        .read_data(flags)
    );
    always @(posedge clock) begin
        group_index <= flag_address;
        if (advance) begin
            group_word <= next_word_base;
            words_left <= next_words;
        end else if (group_done) begin
            group_word <= group_word + GROUP[WORD_ADDRESS_BITS-1:0];
            words_left <= words_left - GROUP_WORDS;
        end
    end

    zero_skipper #(.GROUP(GROUP), .LANE_BITS(LANE_BITS)) skipper (
        .clock(clock),
        .reset(reset),
        .enable(streaming),
        .flags(flags),
        .issue(issue),
        .lane(lane),
        .group_done(group_done)
    );

    wire [SLOT_BITS-1:0]  issued_slot;
    wire [PLANE_BITS-1:0] issued_plane;
    slot_counter #(.GROUP(GROUP), .LANE_BITS(LANE_BITS), .SLOT_BITS(SLOT_BITS), .PLANE_BITS(PLANE_BITS)) slots (
        .clock(clock),
        .load(advance),
        .advance(group_done),
        .first_slot(next_first_slot),
        .planes(planes),
        .group_planes(group_planes),
        .group_slots(group_slots),
        .slot_stride(slot_stride),
        .lane_planes(lane_planes),
        .lane_slots(lane_slots),
        .lane(lane),
        .slot(issued_slot),
        .plane(issued_plane)
    );

    // ---- cycle n + 1: the word is at the AND bank
    wire [ROWS-1:0] word;
    synchronous_memory #(.WIDTH(ROWS), .ADDRESS_BITS(WORD_ADDRESS_BITS)) word_memory (
        .clock(clock),
        .write_enable(word_write_enable),
        .write_address(word_write_address),
        .write_data(word_write_row),
        .read_enable(issue),
        .read_address(group_word + {{(WORD_ADDRESS_BITS-LANE_BITS){1'b0}}, lane}),
        .read_data(word)
    );
    reg word_valid, word_bank;
    reg [SLOT_BITS-1:0]   word_slot;
    reg [PLANE_BITS-1:0]  word_plane;
    reg [ROW_BITS-1:0]    word_rows;
    reg [COLUMN_BITS-1:0] word_columns;
    always @(posedge clock) begin
        word_valid <= issue && !reset;
        word_bank <= current_bank;
        word_slot <= issued_slot;
        word_plane <= issued_plane;
        word_rows <= current_rows;
        word_columns <= current_columns;
    end

    wire [COLUMNS*SUM_BITS-1:0] sums;
    ac_array #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .WEIGHT_BITS(WEIGHT_BITS), .LOAD_ROWS(LOAD_ROWS), .BEATS(BEATS),
        .BEAT_BITS(BEAT_BITS), .SUM_BITS(SUM_BITS)
    ) array (
        .clock(clock),
        .write_enable(loaded),
        .write_beat(loaded_beat),
        .write_bank(loaded_bank),
        .write_weights(loaded_weights),
        .enable(word_valid),
        .spikes(word),
        .bank(word_bank),
        .sums(sums)
    );

    // ---- cycle n + 2: the sums go to the accumulator file
    reg accumulate;
    reg [SLOT_BITS-1:0]  sum_slot;
    reg [PLANE_BITS-1:0] sum_plane;
    always @(posedge clock) begin
        accumulate <= word_valid && !reset;
        sum_slot <= word_slot;
        sum_plane <= word_plane;
    end

    wire visit_first_step, visit_output, visit_has_slot, visit_read, visit_write;
    wire [SLOT_BITS-1:0] visit_slot;
    wire [COLUMNS*ACCUMULATOR_BITS-1:0] accumulator_row;
    accumulator_file #(
        .COLUMNS(COLUMNS), .SLOTS(SLOTS), .SLOT_BITS(SLOT_BITS), .PLANE_BITS(PLANE_BITS), .SUM_BITS(SUM_BITS),
        .ACCUMULATOR_BITS(ACCUMULATOR_BITS)
    ) accumulator_store (
        .clock(clock),
        .reset(reset),
        .clear(fetching || visit_last),
        .accumulate(accumulate),
        .read(visit && visit_has_slot),
        .slot(accumulate ? sum_slot : visit_slot),
        .plane(sum_plane),
        .sums(sums),
        .row(accumulator_row)
    );

    // ---- walk
    wire membrane_read;
    wire [MEMBRANE_ADDRESS_BITS-1:0] membrane_read_address, visit_address;
    walk_controller #(
        .TIME_STEPS(TIME_STEPS), .SLOT_BITS(SLOT_BITS), .POSITION_BITS(POSITION_BITS),
        .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS)
    ) walk (
        .clock(clock),
        .reset(reset),
        .begin_walk(begin_walk),
        .positions(current_positions),
        .window(current_window),
        .slot_stride(walk_slot_stride),
        .membrane_base(current_membrane_base),
        .state_steps(state_steps),
        .active_steps(active_steps),
        .slot_steps(slot_steps),
        .reused_steps(reused_steps),
        .membrane_reads(membrane_reads),
        .membrane_writes(membrane_writes),
        .read_enable(membrane_read),
        .read_address(membrane_read_address),
        .visit(visit),
        .visit_last(visit_last),
        .visit_first_step(visit_first_step),
        .visit_output(visit_output),
        .visit_has_slot(visit_has_slot),
        .visit_slot(visit_slot),
        .visit_read(visit_read),
        .visit_write(visit_write),
        .visit_address(visit_address)
    );

    wire parameter_read = begin_walk && reads_parameters;
    wire [COLUMNS*4*VALUE_BITS-1:0] parameters;
    synchronous_memory #(.WIDTH(COLUMNS*4*VALUE_BITS), .ADDRESS_BITS(PARAMETER_ADDRESS_BITS)) parameter_memory (
        .clock(clock),
        .write_enable(parameter_write_enable),
        .write_address(parameter_write_address),
        .write_data(parameter_write_row),
        .read_enable(parameter_read),
        .read_address(current_parameter_base),
        .read_data(parameters)
    );

    wire [COLUMNS-1:0] spikes;
    wire [COLUMNS*MEMBRANE_BITS-1:0] membranes, membrane_row;
    wire [COLUMNS*VALUE_BITS-1:0] currents;
    lif_unit #(
        .COLUMNS(COLUMNS), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .MEMBRANE_BITS(MEMBRANE_BITS),
        .VALUE_BITS(VALUE_BITS), .SHIFT_BITS(SHIFT_BITS), .FIXED_LEAK(FIXED_LEAK),
        .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS)
    ) neurons (
        .clock(clock),
        .visit(visit),
        .first(visit_first_step),
        .from_memory(visit_read),
        .output_live(visit_output),
        .accumulators(accumulator_row),
        .parameters(parameters),
        .use_parameters(reads_parameters),
        .memory_row(membrane_row),
        .current_shift(current_shift),
        .hard_reset(hard_reset),
        .leak_fixed(leak_fixed),
        .leak_shift(leak_shift),
        .leak_multiplier(leak_multiplier),
        .spikes(spikes),
        .membranes(membranes),
        .currents(currents)
    );

    membrane_memory #(
        .COLUMNS(COLUMNS), .MEMBRANE_BITS(MEMBRANE_BITS), .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS)
    ) membrane_store (
        .clock(clock),
        .step_live(visit),
        .write(visit_write),
        .write_address(visit_address),
        .write_row(membranes),
        .read(membrane_read),
        .read_address(membrane_read_address),
        .read_row(membrane_row)
    );

    always @(posedge clock) begin
        walk_valid <= visit && !reset;
        if (visit) begin
            walk_spikes <= spikes;
            walk_membranes <= membranes;
            walk_currents <= currents;
            walk_accumulators <= accumulator_row;
        end
    end

    // ---- counters
    performance_counters #(
        .ROWS(ROWS), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .LANE_BITS(LANE_BITS), .COUNTER_BITS(COUNTER_BITS)
    ) counters (
        .clock(clock),
        .clear(reset || fetching),
        .select(counter_select),
        .value(counter_value),
        .counting(counting),
        .streaming(streaming),
        .waiting(waiting),
        .draining(draining),
        .walking(walking),
        .advance(advance),
        .next_streams(next_streams),
        .offered_words(group_done ? group_size : {(LANE_BITS+1){1'b0}}),
        .issue(issue),
        .word_valid(word_valid),
        .word(word),
        .word_rows(word_rows),
        .word_columns(word_columns),
        .accumulate(accumulate),
        .loading(loading),
        .load_rows(load_rows),
        .stationary_operand(stationary_operand),
        .parameter_read(parameter_read),
        .visit(visit),
        .visit_has_slot(visit_has_slot),
        .visit_output(visit_output),
        .visit_columns(current_columns),
        .has_neuron(has_neuron),
        .membrane_read(membrane_read),
        .membrane_write(visit && visit_write)
    );
endmodule
