// performance_counters: exact event counts, by the names and definitions of the schedule's cycle rules.
//
// `select` numbers the counters in the order in which those rules list them. Each cycle of an image is counted once as
// one of stream, load stall, word stall, walk, fill, elementwise, control and stall.
//
// Ports:
//   clock                  in   1             rising edge
//   clear                  in   1             all counts back to 0
//   count                  in   1             the events of this cycle are counted
//   select                 in   5             the counter asked for
//   value                  out  COUNTER_BITS  its count
//   running                in   1             a cycle of the image
//   control                in   1             the controller fetches and starts
//   stalls                 in   1             the controller waits for the image or for weights
//   fills                  in   1             the stationary memory is filled
//   elementwise            in   1             the elementwise unit works
//   events                 in   EVENT_BITS    of the strip_engine
//   stationary_row_writes  in   1             a row of the stationary memory is written
//   spike_word_reads       in   1             a word of the spike memory is read
//   image_row_reads        in   1             a pixel is read
//   strip_word_writes      in   1             a word of the strip buffer is written, and looked at: is it zero
//   spike_word_writes      in   1             the elementwise unit writes a word of the spike memory
//   current_row_reads      in   1             a row of the current memory is read, but by the walk
//   current_row_writes     in   1             the elementwise unit writes a row of the current memory
//
// Latency: an event of cycle n is counted in n + 4, whichever it is: events come from all over the machine, the ones of a
// word are counted in one cycle, and multiplied with its channels in the next.
module performance_counters #(
    parameter ROWS = 16,
    parameter ROW_BITS = 5,
    parameter COLUMN_BITS = 5,
    parameter LANE_BITS = 2,
    parameter COUNTER_BITS = 48,
    parameter EVENT_BITS = 8
) (
    input  wire                    clock,
    input  wire                    clear,
    input  wire                    count,
    input  wire [4:0]              select,
    output wire [COUNTER_BITS-1:0] value,
    input  wire                    running,
    input  wire                    control,
    input  wire                    stalls,
    input  wire                    fills,
    input  wire                    elementwise,
    input  wire [EVENT_BITS-1:0]   events,
    input  wire                    stationary_row_writes,
    input  wire                    spike_word_reads,
    input  wire                    image_row_reads,
    input  wire                    strip_word_writes,
    input  wire                    spike_word_writes,
    input  wire                    current_row_reads,
    input  wire                    current_row_writes
);
    // ---- cycle n + 1: what is seen
    localparam FLAGS = 12;
    reg [FLAGS-1:0]      seen_flags;
    reg [EVENT_BITS-1:0] seen_events;
    reg [2:0]            clears, counted;  // bit k: of the events of k + 1 cycles before
    wire seen_running, seen_control, seen_stalls, seen_fills, seen_elementwise, seen_stationary_row_writes,
        seen_spike_word_reads, seen_image_row_reads, seen_strip_word_writes, seen_spike_word_writes,
        seen_current_row_reads, seen_current_row_writes;
    assign {
        seen_running, seen_control, seen_stalls, seen_fills, seen_elementwise, seen_stationary_row_writes,
        seen_spike_word_reads, seen_image_row_reads, seen_strip_word_writes, seen_spike_word_writes,
        seen_current_row_reads, seen_current_row_writes
    } = seen_flags;
    always @(posedge clock) begin
        seen_flags <= {
            running, control, stalls, fills, elementwise, stationary_row_writes, spike_word_reads, image_row_reads,
            strip_word_writes, spike_word_writes, current_row_reads, current_row_writes
        };
        seen_events <= events;
        clears <= {clears[1:0], clear};
        counted <= {counted[1:0], count};
    end

    wire streams, load_stalls, word_stalls, walks, fetches, pass_starts, issues, word_valid, accumulates, loads,
        stationary_operand, parameter_reads, visits, walk_accumulator_reads, spike_row_writes,
        walk_current_writes, updates_neurons, membrane_reads, membrane_writes, source_reads;
    wire [LANE_BITS:0] offered_words;
    wire [ROWS-1:0] word;
    wire [ROW_BITS-1:0] word_rows;
    wire [COLUMN_BITS-1:0] word_columns;
    wire [ROW_BITS-1:0] load_rows;
    wire [COLUMN_BITS-1:0] visit_columns;
    event_fields #(
        .EVENT_BITS(EVENT_BITS), .LANE_BITS(LANE_BITS), .ROWS(ROWS), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS)
    ) fields (
        .events(seen_events), .streams(streams), .load_stalls(load_stalls), .word_stalls(word_stalls), .walks(walks),
        .fetches(fetches), .pass_starts(pass_starts), .offered_words(offered_words), .issues(issues),
        .word_valid(word_valid), .word(word), .word_rows(word_rows), .word_columns(word_columns),
        .accumulates(accumulates), .loads(loads), .load_rows(load_rows),
        .stationary_operand(stationary_operand), .parameter_reads(parameter_reads), .visits(visits),
        .accumulator_reads(walk_accumulator_reads), .spike_row_writes(spike_row_writes),
        .current_row_writes(walk_current_writes), .visit_columns(visit_columns),
        .updates_neurons(updates_neurons), .membrane_reads(membrane_reads), .membrane_writes(membrane_writes),
        .source_reads(source_reads)
    );

    // ---- cycle n + 2: what each counter adds, in the order of the rules; three wait for the ones of a word
    localparam COUNTERS = 32;
    localparam PRODUCT_BITS = ROW_BITS + COLUMN_BITS;
    localparam INCREMENT_BITS = ((PRODUCT_BITS > LANE_BITS) ? PRODUCT_BITS : LANE_BITS) + 1;
    wire [COUNTERS*INCREMENT_BITS-1:0] seen_increments = {
        {{(INCREMENT_BITS-1){1'b0}}, seen_stalls},  // stall_cycles
        {{(INCREMENT_BITS-(ROW_BITS)){1'b0}}, (seen_strip_word_writes ? ROWS[ROW_BITS-1:0] : {ROW_BITS{1'b0}})},  // zero_checks
        {{(INCREMENT_BITS-(COLUMN_BITS)){1'b0}}, (visits && updates_neurons ? visit_columns : {COLUMN_BITS{1'b0}})},  // lif_updates
        {{(INCREMENT_BITS-1){1'b0}}, membrane_writes},  // membrane_row_writes
        {{(INCREMENT_BITS-1){1'b0}}, membrane_reads},  // membrane_row_reads
        {{(INCREMENT_BITS-1){1'b0}}, seen_current_row_writes || walk_current_writes},  // current_row_writes
        {{(INCREMENT_BITS-1){1'b0}}, seen_current_row_reads || source_reads},  // current_row_reads
        {{(INCREMENT_BITS-1){1'b0}}, seen_spike_word_writes},  // spike_word_writes
        {{(INCREMENT_BITS-1){1'b0}}, spike_row_writes},  // spike_row_writes
        {{(INCREMENT_BITS-1){1'b0}}, seen_strip_word_writes},  // strip_word_writes
        {{(INCREMENT_BITS-1){1'b0}}, seen_image_row_reads},  // image_row_reads
        {{(INCREMENT_BITS-1){1'b0}}, seen_spike_word_reads},  // spike_word_reads
        {{(INCREMENT_BITS-1){1'b0}}, parameter_reads},  // parameter_row_reads
        {{(INCREMENT_BITS-1){1'b0}}, seen_stationary_row_writes},  // stationary_row_writes
        {{(INCREMENT_BITS-(ROW_BITS)){1'b0}}, (loads && stationary_operand ? load_rows : {ROW_BITS{1'b0}})},  // stationary_row_reads
        {{(INCREMENT_BITS-(ROW_BITS)){1'b0}}, (loads && !stationary_operand ? load_rows : {ROW_BITS{1'b0}})},  // weight_row_reads
        {{(INCREMENT_BITS-1){1'b0}}, accumulates},  // accumulator_writes
        {{(INCREMENT_BITS-1){1'b0}}, accumulates || walk_accumulator_reads},  // accumulator_reads
        {INCREMENT_BITS{1'b0}},  // gated_accumulates
        {INCREMENT_BITS{1'b0}},  // accumulates
        {INCREMENT_BITS{1'b0}},  // active_bits
        {{(INCREMENT_BITS-1){1'b0}}, issues},  // words_issued
        {{(INCREMENT_BITS-(LANE_BITS+1)){1'b0}}, offered_words},  // words_offered
        {{(INCREMENT_BITS-1){1'b0}}, pass_starts},  // passes
        {{(INCREMENT_BITS-1){1'b0}}, seen_control || fetches},  // control_cycles
        {{(INCREMENT_BITS-1){1'b0}}, seen_elementwise},  // elementwise_cycles
        {{(INCREMENT_BITS-1){1'b0}}, seen_fills},  // fill_cycles
        {{(INCREMENT_BITS-1){1'b0}}, walks},  // walk_cycles
        {{(INCREMENT_BITS-1){1'b0}}, word_stalls},  // word_stall_cycles
        {{(INCREMENT_BITS-1){1'b0}}, load_stalls},  // load_stall_cycles
        {{(INCREMENT_BITS-1){1'b0}}, streams},  // stream_cycles
        {{(INCREMENT_BITS-1){1'b0}}, seen_running}   // cycles
    };
    wire [ROW_BITS-1:0] seen_ones;
    population_count #(.WIDTH(ROWS), .COUNT_BITS(ROW_BITS)) word_ones (.bits(word), .count(seen_ones));
    reg [COUNTERS*INCREMENT_BITS-1:0] plain_increments;
    reg [ROW_BITS-1:0]    ones, zeros;
    reg [COLUMN_BITS-1:0] columns;
    always @(posedge clock) begin
        plain_increments <= seen_increments;
        ones <= word_valid ? seen_ones : {ROW_BITS{1'b0}};
        zeros <= word_valid ? word_rows - seen_ones : {ROW_BITS{1'b0}};
        columns <= word_columns;
    end

    // ---- cycle n + 3: additions that a word causes, and those that its zero bits keep still: ones and zeros · columns
    localparam ACTIVE_BITS = 11;
    wire [PRODUCT_BITS:0] ones_product, zeros_product;
    shift_add_product #(.SIGNED_BITS(ROW_BITS+1), .FACTOR_BITS(COLUMN_BITS)) count_additions (
        .signed_factor({1'b0, ones}), .factor(columns), .product(ones_product)
    );
    shift_add_product #(.SIGNED_BITS(ROW_BITS+1), .FACTOR_BITS(COLUMN_BITS)) count_gated (
        .signed_factor({1'b0, zeros}), .factor(columns), .product(zeros_product)
    );
    reg [COUNTERS*INCREMENT_BITS-1:0] increments;
    always @(posedge clock) begin
        increments <= plain_increments;
        increments[ACTIVE_BITS*INCREMENT_BITS +: ROW_BITS] <= ones;
        increments[(ACTIVE_BITS+1)*INCREMENT_BITS +: PRODUCT_BITS] <= ones_product[PRODUCT_BITS-1:0];
        increments[(ACTIVE_BITS+2)*INCREMENT_BITS +: PRODUCT_BITS] <= zeros_product[PRODUCT_BITS-1:0];
    end

    // ---- cycle n + 4: the counts
    wire [COUNTERS*COUNTER_BITS-1:0] counts;
    genvar counter;
    generate
        for (counter = 0; counter < COUNTERS; counter = counter + 1) begin : counters
            event_counter #(.COUNTER_BITS(COUNTER_BITS), .INCREMENT_BITS(INCREMENT_BITS)) events_of (
                .clock(clock), .clear(clears[2]), .enable(counted[2]),
                .increment(increments[counter*INCREMENT_BITS +: INCREMENT_BITS]),
                .count(counts[counter*COUNTER_BITS +: COUNTER_BITS])
            );
        end
    endgenerate
    one_hot_select #(.CHOICES(COUNTERS), .WIDTH(COUNTER_BITS)) selected (
        .choice({{(COUNTERS-1){1'b0}}, 1'b1} << select), .values(counts), .value(value)
    );

    wire unused = &{1'b0, ones_product[PRODUCT_BITS], zeros_product[PRODUCT_BITS]};
endmodule
