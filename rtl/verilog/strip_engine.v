// strip_engine: the passes and walks of one run: of a product's weight block, or of a head of an attention product.
//
//   pass_sequencer ─► pass_controller ─► weight or stationary memory ─► ac_array banks
//   flag memory ─► zero_skipper ─► word memory ─► ac_array ─► accumulator_file ─► lif_unit ─► results
//                  slot_counter ──────────────────────────────►   walk_controller ─┘ ▲ ▼ membrane_memory
//
// A word issued in cycle n leaves its memory in n + 1, is at the AND bank in n + 2, is accumulated in n + 3 and can be
// walked in n + 4. What a memory gives goes through a register first: block RAM is slow and far away.
// The owner holds `layer` and `passes` and pulses `start` while not `busy`. Word and flag memory are the strip buffer,
// which the word_gatherer fills while the run goes on.
//
// Ports:
//   clock                     in   1                                     rising edge
//   reset                     in   1                                     synchronous
//   start                     in   1                                     a run begins
//   layer                     in   LAYER_BITS                            its configuration, see layer_fields
//   passes                    in   SEQUENCE_BITS                         its passes, see sequence_fields
//   busy                      out  1                                     it goes on
//   ends                      out  1                                     its last cycle; the last results are stored in the second after it
//   words_ready               in   1                                     a chunk waits in the strip buffer
//   words_taken               out  1                                     a pass takes it
//   words_released            out  1                                     a chunk has been streamed for the last time
//   weight_write_enable       in   1                                     weights
//   weight_write_address      in   WEIGHT_ADDRESS_BITS                   one row for each load beat
//   weight_write_row          in   LOAD_ROWS*COLUMNS*WEIGHT_BITS         as ac_array takes it
//   stationary_write_enable   in   LOAD_ROWS                             rows of a beat of attention's operand
//   stationary_write_address  in   STATIONARY_ADDRESS_BITS               the beat
//   stationary_write_row      in   COLUMNS*WEIGHT_BITS                   the row, for any place in the beat
//   flag_write_enable         in   1                                     non-zero flags
//   flag_write_address        in   FLAG_ADDRESS_BITS                     one row for each group of words
//   flag_write_row            in   GROUP                                 bit g: word g of the group is not zero
//   word_write_enable         in   1                                     spike words
//   word_write_address        in   WORD_ADDRESS_BITS                     one row a word
//   word_write_row            in   ROWS                                  bit r: lane r
//   parameter_write_enable    in   1                                     neuron parameters
//   parameter_write_address   in   PARAMETER_ADDRESS_BITS                one row for each output tile
//   parameter_write_row       in   COLUMNS*4*VALUE_BITS                  as lif_unit takes it
//   source_read               out  1                                     stored currents are read
//   source_address            out  ADDRESS_BITS                          their row
//   source_row                in   COLUMNS*MEMBRANE_BITS                 the row read two cycles before
//   current_write_enable      out  1                                     a row of currents is stored
//   result_address            out  ADDRESS_BITS                          of either
//   result_lane               out  ROW_BITS                              lane of the row's first spike
//   result_lanes              out  ROWS                                  lanes of the spike word that are stored
//   result_spikes             out  COLUMNS                               the spikes
//   result_currents           out  COLUMNS*MEMBRANE_BITS                 the currents
//   walk_valid                out  1                                     a visit's values are below
//   walk_spikes               out  COLUMNS                               output spikes
//   walk_membranes            out  COLUMNS*MEMBRANE_BITS                 U after reset
//   walk_currents             out  COLUMNS*VALUE_BITS                    (sum << current_shift) + bias
//   walk_accumulators         out  COLUMNS*ACCUMULATOR_BITS              the sums
//   events                    out  EVENT_BITS                            what happens in this cycle, see event_fields
//
// Latency: results of a visit are stored in the second cycle after it. The parameters from SLOT_BITS on follow from those before.
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
    parameter COUNT_BITS = 8,
    parameter WEIGHT_ROWS = 256,
    parameter PARAMETER_ROWS = 16,
    parameter STATIONARY_ADDRESS_BITS = 6,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter WORD_ADDRESS_BITS = 10,
    parameter MEMBRANE_ADDRESS_BITS = 8,
    parameter ADDRESS_BITS = 12,
    parameter SLOT_BITS = (SLOTS > 1) ? $clog2(SLOTS) : 1,
    parameter ROW_BITS = $clog2(ROWS + 1),
    parameter COLUMN_BITS = $clog2(COLUMNS + 1),
    parameter WEIGHT_ADDRESS_BITS = (WEIGHT_ROWS > 1) ? $clog2(WEIGHT_ROWS) : 1,
    parameter BEAT_ADDRESS_BITS =
        (WEIGHT_ADDRESS_BITS > STATIONARY_ADDRESS_BITS) ? WEIGHT_ADDRESS_BITS : STATIONARY_ADDRESS_BITS,
    parameter PARAMETER_ADDRESS_BITS = (PARAMETER_ROWS > 1) ? $clog2(PARAMETER_ROWS) : 1,
    parameter WORD_COUNT_BITS = SLOT_BITS + 1 + PLANE_BITS,
    parameter VALUE_BITS = (ACCUMULATOR_BITS > MEMBRANE_BITS) ? ACCUMULATOR_BITS : MEMBRANE_BITS,
    parameter LAYER_BITS = 7 + SHIFT_BITS + LEAK_MULTIPLIER_BITS + SHIFT_BITS + 6*TIME_STEPS
        + 3*SLOT_BITS + 2*PLANE_BITS + GROUP*(PLANE_BITS + SLOT_BITS),
    parameter SEQUENCE_BITS = 5 + 3*POSITION_BITS + 2*WORD_COUNT_BITS + 3*COUNT_BITS + COLUMN_BITS + 3*ROW_BITS
        + BEAT_ADDRESS_BITS + PARAMETER_ADDRESS_BITS + WORD_ADDRESS_BITS + FLAG_ADDRESS_BITS + MEMBRANE_ADDRESS_BITS
        + 6*ADDRESS_BITS + TIME_STEPS + 2*TIME_STEPS*ADDRESS_BITS,
    parameter LANE_BITS = (GROUP > 1) ? $clog2(GROUP) : 1,
    parameter EVENT_BITS = 21 + LANE_BITS + ROWS + 2*ROW_BITS + 2*COLUMN_BITS
) (
    input  wire                                     clock,
    input  wire                                     reset,
    input  wire                                     start,
    input  wire [LAYER_BITS-1:0]                    layer,
    input  wire [SEQUENCE_BITS-1:0]                 passes,
    output wire                                     busy,
    output wire                                     ends,
    input  wire                                     words_ready,
    output wire                                     words_taken,
    output wire                                     words_released,
    input  wire                                     weight_write_enable,
    input  wire [WEIGHT_ADDRESS_BITS-1:0]           weight_write_address,
    input  wire [LOAD_ROWS*COLUMNS*WEIGHT_BITS-1:0] weight_write_row,
    input  wire [LOAD_ROWS-1:0]                     stationary_write_enable,
    input  wire [STATIONARY_ADDRESS_BITS-1:0]       stationary_write_address,
    input  wire [COLUMNS*WEIGHT_BITS-1:0]           stationary_write_row,
    input  wire                                     flag_write_enable,
    input  wire [FLAG_ADDRESS_BITS-1:0]             flag_write_address,
    input  wire [GROUP-1:0]                         flag_write_row,
    input  wire                                     word_write_enable,
    input  wire [WORD_ADDRESS_BITS-1:0]             word_write_address,
    input  wire [ROWS-1:0]                          word_write_row,
    input  wire                                     parameter_write_enable,
    input  wire [PARAMETER_ADDRESS_BITS-1:0]        parameter_write_address,
    input  wire [COLUMNS*4*VALUE_BITS-1:0]          parameter_write_row,
    output wire                                     source_read,
    output wire [ADDRESS_BITS-1:0]                  source_address,
    input  wire [COLUMNS*MEMBRANE_BITS-1:0]         source_row,
    output reg                                      current_write_enable,
    output reg  [ADDRESS_BITS-1:0]                  result_address,
    output reg  [ROW_BITS-1:0]                      result_lane,
    output reg  [ROWS-1:0]                          result_lanes,
    output wire [COLUMNS-1:0]                       result_spikes,
    output reg  [COLUMNS*MEMBRANE_BITS-1:0]         result_currents,
    output reg                                      walk_valid,
    output reg  [COLUMNS-1:0]                       walk_spikes,
    output reg  [COLUMNS*MEMBRANE_BITS-1:0]         walk_membranes,
    output reg  [COLUMNS*VALUE_BITS-1:0]            walk_currents,
    output reg  [COLUMNS*ACCUMULATOR_BITS-1:0]      walk_accumulators,
    output wire [EVENT_BITS-1:0]                    events
);
    localparam BEATS = (ROWS + LOAD_ROWS - 1) / LOAD_ROWS;
    localparam BEAT_BITS = (BEATS > 1) ? $clog2(BEATS) : 1;
    localparam SUM_BITS = WEIGHT_BITS + $clog2(ROWS);
    genvar beat_row;

    // ---- the layer's configuration
    wire has_neuron, integrates, stored_currents, reads_parameters, stationary_operand, hard_reset, leak_fixed;
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
        .integrates(integrates),
        .stored_currents(stored_currents),
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

    // ---- the run's passes: the sequencer gives the next one, a register holds what the running one still needs
    wire outer, together, gathered, stores_currents, stores_states;
    wire [POSITION_BITS-1:0] strips, positions_full, positions_last;
    wire [WORD_COUNT_BITS-1:0] words_full, words_last;
    wire [COUNT_BITS-1:0] output_tiles, tiles, slices;
    wire [COLUMN_BITS-1:0] columns_last;
    wire [ROW_BITS-1:0] rows_full, rows_last, first_lane;
    wire [BEAT_ADDRESS_BITS-1:0] weight_base;
    wire [PARAMETER_ADDRESS_BITS-1:0] parameter_base;
    wire [WORD_ADDRESS_BITS-1:0] chunk_words;
    wire [FLAG_ADDRESS_BITS-1:0] chunk_groups;
    wire [MEMBRANE_ADDRESS_BITS-1:0] membrane_tile_step;
    wire [ADDRESS_BITS-1:0] result_base, result_position_step, result_strip_step;
    wire [ADDRESS_BITS-1:0] source_base, source_position_step, source_strip_step;
    wire [TIME_STEPS*ADDRESS_BITS-1:0] result_step_bases, source_step_bases;
    wire [TIME_STEPS-1:0] source_steps;
    sequence_fields #(
        .SEQUENCE_BITS(SEQUENCE_BITS), .TIME_STEPS(TIME_STEPS), .POSITION_BITS(POSITION_BITS),
        .WORD_COUNT_BITS(WORD_COUNT_BITS), .COUNT_BITS(COUNT_BITS), .COLUMN_BITS(COLUMN_BITS), .ROW_BITS(ROW_BITS),
        .WEIGHT_ADDRESS_BITS(BEAT_ADDRESS_BITS), .PARAMETER_ADDRESS_BITS(PARAMETER_ADDRESS_BITS),
        .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS),
        .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) run (
        .row(passes), .outer(outer), .together(together), .gathered(gathered), .strips(strips),
        .positions_full(positions_full),
        .positions_last(positions_last), .words_full(words_full), .words_last(words_last), .output_tiles(output_tiles),
        .columns_last(columns_last), .tiles(tiles), .slices(slices), .rows_full(rows_full), .rows_last(rows_last),
        .weight_base(weight_base), .parameter_base(parameter_base), .chunk_words(chunk_words),
        .chunk_groups(chunk_groups), .membrane_tile_step(membrane_tile_step), .result_currents(stores_currents),
        .result_states(stores_states), .result_base(result_base), .result_lane(first_lane),
        .result_position_step(result_position_step), .result_strip_step(result_strip_step),
        .result_step_bases(result_step_bases), .source_steps(source_steps), .source_base(source_base),
        .source_position_step(source_position_step), .source_strip_step(source_strip_step),
        .source_step_bases(source_step_bases)
    );

    wire idle, fetching, advance, waiting, streaming, draining, walking, begin_walk, loading;
    wire next_last, next_streams, next_walks, next_first_use, next_last_use;
    wire [ROW_BITS-1:0] next_rows, next_lane;
    wire [COLUMN_BITS-1:0] next_columns;
    wire [BEAT_ADDRESS_BITS-1:0] next_weight_address;
    wire [FLAG_ADDRESS_BITS-1:0] next_flag_base;
    wire [WORD_ADDRESS_BITS-1:0] next_word_base;
    wire [WORD_COUNT_BITS-1:0] next_words;
    wire [SLOT_BITS-1:0] next_first_slot;
    wire [POSITION_BITS-1:0] next_positions;
    wire [TIME_STEPS-1:0] next_window;
    wire [PARAMETER_ADDRESS_BITS-1:0] next_parameter_address;
    wire [MEMBRANE_ADDRESS_BITS-1:0] next_membrane_address;
    wire [ADDRESS_BITS-1:0] next_result_address, next_source_address;
    pass_sequencer #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .SLOT_BITS(SLOT_BITS), .WEIGHT_ROWS(WEIGHT_ROWS),
        .PARAMETER_ROWS(PARAMETER_ROWS), .TIME_STEPS(TIME_STEPS), .POSITION_BITS(POSITION_BITS),
        .WORD_COUNT_BITS(WORD_COUNT_BITS), .COUNT_BITS(COUNT_BITS), .COLUMN_BITS(COLUMN_BITS), .ROW_BITS(ROW_BITS),
        .WEIGHT_ADDRESS_BITS(BEAT_ADDRESS_BITS), .PARAMETER_ADDRESS_BITS(PARAMETER_ADDRESS_BITS),
        .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS),
        .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) sequencer (
        .clock(clock), .start(start && idle), .advance(advance), .load(loading), .outer(outer), .together(together),
        .gathered(gathered),
        .strips(strips), .positions_full(positions_full), .positions_last(positions_last), .words_full(words_full),
        .words_last(words_last), .output_tiles(output_tiles), .columns_last(columns_last), .tiles(tiles),
        .slices(slices), .rows_full(rows_full), .rows_last(rows_last), .weight_base(weight_base),
        .parameter_base(parameter_base), .chunk_words(chunk_words), .chunk_groups(chunk_groups),
        .membrane_tile_step(membrane_tile_step), .result_currents(stores_currents), .result_base(result_base),
        .result_lane(first_lane), .result_strip_step(result_strip_step), .source_base(source_base),
        .source_strip_step(source_strip_step), .state_steps(state_steps), .slot_steps(slot_steps),
        .stationary_operand(stationary_operand), .last(next_last), .streams(next_streams), .walks(next_walks),
        .first_use(next_first_use), .last_use(next_last_use), .rows(next_rows), .columns(next_columns),
        .weight_address(next_weight_address), .flag_base(next_flag_base), .word_base(next_word_base),
        .words(next_words), .first_slot(next_first_slot), .positions(next_positions), .window(next_window),
        .parameter_address(next_parameter_address), .membrane_address(next_membrane_address),
        .result_address(next_result_address), .lane(next_lane), .source_address(next_source_address)
    );

    reg current_last, current_walks, current_last_use, current_bank;
    reg [ROW_BITS-1:0] current_rows;
    reg [COLUMN_BITS-1:0] current_columns;
    reg [POSITION_BITS-1:0] current_positions;
    reg [TIME_STEPS-1:0] current_window;
    reg [PARAMETER_ADDRESS_BITS-1:0] current_parameter_address;
    reg [MEMBRANE_ADDRESS_BITS-1:0] current_membrane_address;
    reg [ADDRESS_BITS-1:0] current_result_address, current_source_address;
    reg [ROW_BITS-1:0] current_lane;
    always @(posedge clock)
        if (advance) begin
            current_last <= next_last;
            current_walks <= next_walks;
            current_last_use <= next_last_use;
            current_rows <= next_rows;
            current_columns <= next_columns;
            current_positions <= next_positions;
            current_window <= next_window;
            current_parameter_address <= next_parameter_address;
            current_membrane_address <= next_membrane_address;
            current_result_address <= next_result_address;
            current_source_address <= next_source_address;
            current_lane <= next_lane;
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
        .next_ready(words_ready || !next_first_use),
        .stream_last(stream_last),
        .walk_last(visit_last),
        .idle(idle),
        .fetching(fetching),
        .advance(advance),
        .waiting(waiting),
        .streaming(streaming),
        .draining(draining),
        .walking(walking),
        .begin_walk(begin_walk),
        .loading(loading),
        .load_beat(load_beat),
        .load_rows(load_rows),
        .ends(ends)
    );
    assign busy = !idle;
    assign words_taken = advance && next_first_use;
    assign words_released = stream_last && current_last_use;

    // ---- weight tiles: read in cycle n, written to the bank that does not compute at the end of n + 2
    localparam BEAT_WIDTH = LOAD_ROWS*COLUMNS*WEIGHT_BITS;
    wire [BEAT_WIDTH-1:0] weight_beat, stationary_beat;
    synchronous_memory #(.WIDTH(BEAT_WIDTH), .ROWS(WEIGHT_ROWS), .ADDRESS_BITS(WEIGHT_ADDRESS_BITS)) weight_memory (
        .clock(clock),
        .write_enable(weight_write_enable),
        .write_address(weight_write_address),
        .write_data(weight_write_row),
        .read_enable(loading && !stationary_operand),
        .read_address(next_weight_address[WEIGHT_ADDRESS_BITS-1:0]),
        .read_data(weight_beat)
    );
    generate
        for (beat_row = 0; beat_row < LOAD_ROWS; beat_row = beat_row + 1) begin : beat_rows
            synchronous_memory #(
                .WIDTH(COLUMNS*WEIGHT_BITS), .ROWS(1 << STATIONARY_ADDRESS_BITS), .ADDRESS_BITS(STATIONARY_ADDRESS_BITS)
            ) stationary_memory (
                .clock(clock),
                .write_enable(stationary_write_enable[beat_row]),
                .write_address(stationary_write_address),
                .write_data(stationary_write_row),
                .read_enable(loading && stationary_operand),
                .read_address(next_weight_address[STATIONARY_ADDRESS_BITS-1:0]),
                .read_data(stationary_beat[beat_row*COLUMNS*WEIGHT_BITS +: COLUMNS*WEIGHT_BITS])
            );
        end
    endgenerate
    reg arriving, arriving_bank, loaded, loaded_bank;
    reg [BEAT_BITS-1:0]  arriving_beat, loaded_beat;
    reg [BEAT_WIDTH-1:0] loaded_weights;
    always @(posedge clock) begin
        arriving <= loading && !reset;
        arriving_bank <= !current_bank;
        arriving_beat <= load_beat;
        loaded <= arriving && !reset;
        loaded_bank <= arriving_bank;
        loaded_beat <= arriving_beat;
        if (arriving)
            loaded_weights <= stationary_operand ? stationary_beat : weight_beat;
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
    synchronous_memory #(.WIDTH(GROUP), .ROWS(1 << FLAG_ADDRESS_BITS), .ADDRESS_BITS(FLAG_ADDRESS_BITS)) flag_memory (
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

    // ---- cycle n + 1: the word leaves its memory, and its slot is worked out
    reg                   slots_load, slots_advance, read_valid, read_bank;
    reg [SLOT_BITS-1:0]   slots_first;
    reg [LANE_BITS-1:0]   read_lane;
    reg [ROW_BITS-1:0]    read_rows;
    reg [COLUMN_BITS-1:0] read_columns;
    always @(posedge clock) begin
        slots_load <= advance;
        slots_advance <= group_done;
        slots_first <= next_first_slot;
        read_lane <= lane;
        read_valid <= issue && !reset;
        read_bank <= current_bank;
        read_rows <= current_rows;
        read_columns <= current_columns;
    end
    wire [SLOT_BITS-1:0]  read_slot;
    wire [PLANE_BITS-1:0] read_plane;
    slot_counter #(.GROUP(GROUP), .LANE_BITS(LANE_BITS), .SLOT_BITS(SLOT_BITS), .PLANE_BITS(PLANE_BITS)) slots (
        .clock(clock),
        .load(slots_load),
        .advance(slots_advance),
        .first_slot(slots_first),
        .planes(planes),
        .group_planes(group_planes),
        .group_slots(group_slots),
        .slot_stride(slot_stride),
        .lane_planes(lane_planes),
        .lane_slots(lane_slots),
        .lane(read_lane),
        .slot(read_slot),
        .plane(read_plane)
    );

    wire [ROWS-1:0] read_word;
    synchronous_memory #(
        .WIDTH(ROWS), .ROWS(1 << WORD_ADDRESS_BITS), .ADDRESS_BITS(WORD_ADDRESS_BITS)
    ) word_memory (
        .clock(clock),
        .write_enable(word_write_enable),
        .write_address(word_write_address),
        .write_data(word_write_row),
        .read_enable(issue),
        .read_address(group_word + {{(WORD_ADDRESS_BITS-LANE_BITS){1'b0}}, lane}),
        .read_data(read_word)
    );

    // ---- cycle n + 2: it is at the AND bank
    reg [ROWS-1:0] word;
    reg word_valid, word_bank;
    reg [SLOT_BITS-1:0]   word_slot;
    reg [PLANE_BITS-1:0]  word_plane;
    reg [ROW_BITS-1:0]    word_rows;
    reg [COLUMN_BITS-1:0] word_columns;
    always @(posedge clock) begin
        if (read_valid)
            word <= read_word;
        word_valid <= read_valid && !reset;
        word_bank <= read_bank;
        word_slot <= read_slot;
        word_plane <= read_plane;
        word_rows <= read_rows;
        word_columns <= read_columns;
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

    // ---- cycle n + 3: the sums go to the accumulator file
    reg accumulate;
    reg [SLOT_BITS-1:0]  sum_slot;
    reg [PLANE_BITS-1:0] sum_plane;
    always @(posedge clock) begin
        accumulate <= word_valid && !reset;
        sum_slot <= word_slot;
        sum_plane <= word_plane;
    end

    wire visit_output, visit_has_slot, visit_has_source, visit_read, visit_write;
    wire update, update_first, update_output, update_read, update_write;
    wire [TIME_STEPS-1:0] step;
    wire next_position;
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
    wire read_membranes;
    wire [MEMBRANE_ADDRESS_BITS-1:0] read_address, update_address;
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
        .membrane_base(current_membrane_address),
        .state_steps(state_steps),
        .active_steps(active_steps),
        .slot_steps(slot_steps),
        .reused_steps(reused_steps),
        .membrane_reads(membrane_reads),
        .membrane_writes(membrane_writes),
        .source_steps(source_steps),
        .source_read(source_read),
        .step(step),
        .next_position(next_position),
        .read_membranes(read_membranes),
        .read_address(read_address),
        .visit(visit),
        .visit_last(visit_last),
        .visit_output(visit_output),
        .visit_has_slot(visit_has_slot),
        .visit_has_source(visit_has_source),
        .visit_slot(visit_slot),
        .visit_read(visit_read),
        .visit_write(visit_write),
        .update(update),
        .update_first(update_first),
        .update_output(update_output),
        .update_read(update_read),
        .update_write(update_write),
        .update_address(update_address)
    );

    // ---- where the walk's stored currents come from, and where its results go
    address_walker #(.TIME_STEPS(TIME_STEPS), .ADDRESS_BITS(ADDRESS_BITS)) source (
        .clock(clock), .begin_walk(begin_walk), .next_position(next_position), .step(step),
        .first(current_source_address), .position_step(source_position_step), .step_bases(source_step_bases),
        .address(source_address)
    );
    wire [ADDRESS_BITS-1:0] walk_result_address;
    address_walker #(.TIME_STEPS(TIME_STEPS), .ADDRESS_BITS(ADDRESS_BITS)) results (
        .clock(clock), .begin_walk(begin_walk), .next_position(next_position), .step(step),
        .first(current_result_address), .position_step(result_position_step), .step_bases(result_step_bases),
        .address(walk_result_address)
    );

    wire parameter_read = begin_walk && reads_parameters;
    wire [COLUMNS*4*VALUE_BITS-1:0] read_parameters;
    reg  [COLUMNS*4*VALUE_BITS-1:0] parameters;
    synchronous_memory #(
        .WIDTH(COLUMNS*4*VALUE_BITS), .ROWS(PARAMETER_ROWS), .ADDRESS_BITS(PARAMETER_ADDRESS_BITS)
    ) parameter_memory (
        .clock(clock),
        .write_enable(parameter_write_enable),
        .write_address(parameter_write_address),
        .write_data(parameter_write_row),
        .read_enable(parameter_read),
        .read_address(current_parameter_address),
        .read_data(read_parameters)
    );
    always @(posedge clock)
        parameters <= read_parameters;

    wire [COLUMNS-1:0] spikes;
    wire [COLUMNS*MEMBRANE_BITS-1:0] membranes, read_row;
    reg  [COLUMNS*MEMBRANE_BITS-1:0] membrane_row;
    wire [COLUMNS*VALUE_BITS-1:0] currents;
    lif_unit #(
        .COLUMNS(COLUMNS), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .MEMBRANE_BITS(MEMBRANE_BITS),
        .VALUE_BITS(VALUE_BITS), .SHIFT_BITS(SHIFT_BITS), .FIXED_LEAK(FIXED_LEAK),
        .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS)
    ) neurons (
        .clock(clock),
        .visit(visit),
        .update(update),
        .first(update_first),
        .from_memory(update_read),
        .output_live(update_output),
        .accumulators(accumulator_row),
        .parameters(parameters),
        .use_parameters(reads_parameters),
        .stored(stored_currents),
        .stored_row(visit_has_source ? source_row : {COLUMNS*MEMBRANE_BITS{1'b0}}),
        .integrates(integrates),
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
        .step_live(update),
        .write(update_write),
        .write_address(update_address),
        .write_row(membranes),
        .read(read_membranes),
        .read_address(read_address),
        .read_row(read_row)
    );
    always @(posedge clock)
        if (visit && visit_read)
            membrane_row <= read_row;

    reg [ADDRESS_BITS-1:0] read_result_address, visit_result_address, update_result_address;
    reg [ROW_BITS-1:0] update_lane;
    reg [COLUMN_BITS-1:0] update_columns;
    reg [COLUMNS*ACCUMULATOR_BITS-1:0] update_accumulators;
    wire [ROWS-1:0] update_lanes;
    lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) stored_lanes (
        .row({ROWS{update && update_output && !stores_currents && !reset}}), .turn({ROW_BITS{1'b0}}), .first(update_lane),
        .count({{(ROW_BITS-COLUMN_BITS){1'b0}}, update_columns}), .limit(ROWS[ROW_BITS-1:0]), .lanes(update_lanes)
    );
    always @(posedge clock) begin
        read_result_address <= walk_result_address;
        visit_result_address <= read_result_address;
        update_result_address <= visit_result_address;
        update_lane <= current_lane;
        update_columns <= current_columns;
        update_accumulators <= accumulator_row;
        walk_valid <= update && !reset;
        current_write_enable <= update && update_output && stores_currents && !reset;
        result_address <= update_result_address;
        result_lane <= update_lane;
        result_lanes <= update_lanes;
        if (update) begin
            walk_spikes <= spikes;
            walk_membranes <= membranes;
            walk_currents <= currents;
            walk_accumulators <= update_accumulators;
        end
    end

    assign result_spikes = walk_spikes;
    genvar column;
    generate
        for (column = 0; column < COLUMNS; column = column + 1) begin : results_of_columns
            always @(posedge clock)
                if (update)
                    result_currents[column*MEMBRANE_BITS +: MEMBRANE_BITS] <= stores_states
                        ? membranes[column*MEMBRANE_BITS +: MEMBRANE_BITS]
                        : currents[column*VALUE_BITS +: MEMBRANE_BITS];
        end
    endgenerate

    // ---- events
    assign events = {
        streaming, waiting && loading, waiting && !loading, draining || walking, fetching, advance && next_streams,
        group_done ? group_size : {(LANE_BITS+1){1'b0}}, issue, word_valid, word, word_rows, word_columns, accumulate,
        loading, load_rows, stationary_operand, parameter_read, visit, visit && visit_has_slot,
        visit && visit_output && !stores_currents, visit && visit_output && stores_currents, current_columns,
        has_neuron, visit && visit_read, visit && visit_write, source_read
    };

`ifdef FORMAL
    // What a masked step cannot do. `asked` is the step of the read cycle, `walked` that of the visit, `updated` that of
    // the update, `written` that of the results that are stored.
    wire spike_write_enable = |result_lanes;
    reg                  started = 1'b0;
    reg [TIME_STEPS-1:0] asked, asked_window, asked_state, asked_active, asked_writes;
    reg [TIME_STEPS-1:0] walked, walked_window, walked_state, walked_active, walked_writes;
    reg [TIME_STEPS-1:0] updated, updated_window, updated_state, updated_active, updated_writes, written;
    reg                  stream_is_due;    // a pass has begun and its stream has not ended
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else
            assume ((idle && $past(idle)) || $stable({layer, passes}));
        assume (rows_full != 0 && rows_last != 0);
        asked <= step;
        asked_window <= current_window;
        asked_state <= state_steps;
        asked_active <= active_steps;
        asked_writes <= membrane_writes;
        walked <= asked;
        walked_window <= asked_window;
        walked_state <= asked_state;
        walked_active <= asked_active;
        walked_writes <= asked_writes;
        updated <= walked;
        updated_window <= walked_window;
        updated_state <= walked_state;
        updated_active <= walked_active;
        updated_writes <= walked_writes;
        written <= updated;
        stream_is_due <= !reset && (advance || (stream_is_due && !stream_last));
        if (started && !reset && !$past(reset)) begin
            // No visit but of a live step of the window.
            if (visit)
                assert (walked != 0 && (walked & (walked - 1'b1)) == 0 && (walked & walked_state & walked_window) == walked);
            if (visit && visit_output)
                assert ((walked & walked_active) == walked);
            if (visit && visit_write)
                assert ((walked & walked_state & walked_window & walked_writes) == walked);
            if (update)
                assert (updated != 0 && (updated & (updated - 1'b1)) == 0);
            if (update && update_output)
                assert ((updated & updated_active) == updated);
            // No membrane write but at a live step that a later one reads.
            if (update && update_write)
                assert ((updated & updated_state & updated_window & updated_writes) == updated);
            // No spike at a step whose output is masked, and nothing of it is stored.
            if (update && (updated & updated_active) == 0)
                assert (spikes == {COLUMNS{1'b0}});
            if (spike_write_enable || current_write_enable)
                assert (walk_valid && (written & $past(updated_active)) == written && written != 0);
            if (walk_valid && (written & $past(updated_active)) == 0)
                assert (result_spikes == {COLUMNS{1'b0}} && !spike_write_enable && !current_write_enable);
            // A pass never takes a chunk that is not complete, and releases none before it has streamed.
            if (words_taken)
                assert (words_ready);
            if (streaming)
                assert (stream_is_due);
            if (words_released)
                assert (stream_is_due);
        end
    end
`endif
endmodule
