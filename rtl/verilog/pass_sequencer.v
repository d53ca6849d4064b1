// pass_sequencer: the passes of a run, one after the other, from the counts of its loops.
//
//   for [step, if time runs outermost]:  for strip:  for output tile:  for [step, if weights change with it]:  for tile
//
// What is at the outputs is the next pass. It is there from the cycle after `start`, and moves on with `advance`.
//
// Ports:
//   clock                 in   1                         rising edge
//   start                 in   1                         a run begins
//   advance               in   1                         the next pass becomes the running one
//   load                  in   1                         a beat of the next pass's weights is read
//   outer                 in   1                         this and the next: see sequence_fields
//   together              in   1
//   gathered              in   1
//   strips                in   POSITION_BITS
//   positions_full        in   POSITION_BITS
//   positions_last        in   POSITION_BITS
//   words_full            in   WORD_COUNT_BITS
//   words_last            in   WORD_COUNT_BITS
//   output_tiles          in   COUNT_BITS
//   columns_last          in   COLUMN_BITS
//   tiles                 in   COUNT_BITS
//   slices                in   COUNT_BITS
//   rows_full             in   ROW_BITS
//   rows_last             in   ROW_BITS
//   weight_base           in   WEIGHT_ADDRESS_BITS
//   parameter_base        in   PARAMETER_ADDRESS_BITS
//   chunk_words           in   WORD_ADDRESS_BITS
//   chunk_groups          in   FLAG_ADDRESS_BITS
//   membrane_tile_step    in   MEMBRANE_ADDRESS_BITS
//   result_currents       in   1
//   result_base           in   ADDRESS_BITS
//   result_lane           in   ROW_BITS
//   result_strip_step     in   ADDRESS_BITS
//   source_base           in   ADDRESS_BITS
//   source_strip_step     in   ADDRESS_BITS
//   state_steps           in   TIME_STEPS                steps that are walked, see layer_fields
//   slot_steps            in   TIME_STEPS                steps that are summed, see layer_fields
//   stationary_operand    in   1                         weights are the stationary memory's: each step has its own
//   last                  out  1                         the run ends with this pass
//   streams               out  1                         words stream over a weight tile; else there is only the walk
//   walks                 out  1                         the strip is walked after this pass
//   first_use             out  1                         the first pass that streams its chunk: it waits for it
//   last_use              out  1                         the last one
//   rows                  out  ROW_BITS                  weight rows of the tile
//   columns               out  COLUMN_BITS               channels of the tile
//   weight_address        out  WEIGHT_ADDRESS_BITS       the beat to load next; of weights it goes around the memory
//   flag_base             out  FLAG_ADDRESS_BITS         first group of flags
//   word_base             out  WORD_ADDRESS_BITS         first word
//   words                 out  WORD_COUNT_BITS           words that stream
//   first_slot            out  SLOT_BITS                 accumulator slot of the first word
//   positions             out  POSITION_BITS             positions of the strip
//   window                out  TIME_STEPS                steps that this walk may visit, bit t = step t
//   parameter_address     out  PARAMETER_ADDRESS_BITS    row of the parameter memory
//   membrane_address      out  MEMBRANE_ADDRESS_BITS     membrane row of the strip's first position
//   result_address        out  ADDRESS_BITS              of the strip's first result
//   lane                  out  ROW_BITS                  of its first spike
//   source_address        out  ADDRESS_BITS              of the strip's first stored current
//
// Latency: outputs follow registers; a step of theirs takes one cycle.
module pass_sequencer #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter TIME_STEPS = 4,
    parameter SLOT_BITS = 5,
    parameter POSITION_BITS = 6,
    parameter WORD_COUNT_BITS = 11,
    parameter COUNT_BITS = 8,
    parameter COLUMN_BITS = 5,
    parameter ROW_BITS = 5,
    parameter WEIGHT_ROWS = 256,
    parameter WEIGHT_ADDRESS_BITS = 8,
    parameter PARAMETER_ROWS = 16,
    parameter PARAMETER_ADDRESS_BITS = 4,
    parameter WORD_ADDRESS_BITS = 10,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter MEMBRANE_ADDRESS_BITS = 8,
    parameter ADDRESS_BITS = 12
) (
    input  wire                              clock,
    input  wire                              start,
    input  wire                              advance,
    input  wire                              load,
    input  wire                              outer,
    input  wire                              together,
    input  wire                              gathered,
    input  wire [POSITION_BITS-1:0]          strips,
    input  wire [POSITION_BITS-1:0]          positions_full,
    input  wire [POSITION_BITS-1:0]          positions_last,
    input  wire [WORD_COUNT_BITS-1:0]        words_full,
    input  wire [WORD_COUNT_BITS-1:0]        words_last,
    input  wire [COUNT_BITS-1:0]             output_tiles,
    input  wire [COLUMN_BITS-1:0]            columns_last,
    input  wire [COUNT_BITS-1:0]             tiles,
    input  wire [COUNT_BITS-1:0]             slices,
    input  wire [ROW_BITS-1:0]               rows_full,
    input  wire [ROW_BITS-1:0]               rows_last,
    input  wire [WEIGHT_ADDRESS_BITS-1:0]    weight_base,
    input  wire [PARAMETER_ADDRESS_BITS-1:0] parameter_base,
    input  wire [WORD_ADDRESS_BITS-1:0]      chunk_words,
    input  wire [FLAG_ADDRESS_BITS-1:0]      chunk_groups,
    input  wire [MEMBRANE_ADDRESS_BITS-1:0]  membrane_tile_step,
    input  wire                              result_currents,
    input  wire [ADDRESS_BITS-1:0]           result_base,
    input  wire [ROW_BITS-1:0]               result_lane,
    input  wire [ADDRESS_BITS-1:0]           result_strip_step,
    input  wire [ADDRESS_BITS-1:0]           source_base,
    input  wire [ADDRESS_BITS-1:0]           source_strip_step,
    input  wire [TIME_STEPS-1:0]             state_steps,
    input  wire [TIME_STEPS-1:0]             slot_steps,
    input  wire                              stationary_operand,
    output wire                              last,
    output wire                              streams,
    output wire                              walks,
    output wire                              first_use,
    output wire                              last_use,
    output wire [ROW_BITS-1:0]               rows,
    output wire [COLUMN_BITS-1:0]            columns,
    output wire [WEIGHT_ADDRESS_BITS-1:0]    weight_address,
    output wire [FLAG_ADDRESS_BITS-1:0]      flag_base,
    output wire [WORD_ADDRESS_BITS-1:0]      word_base,
    output wire [WORD_COUNT_BITS-1:0]        words,
    output wire [SLOT_BITS-1:0]              first_slot,
    output wire [POSITION_BITS-1:0]          positions,
    output wire [TIME_STEPS-1:0]             window,
    output wire [PARAMETER_ADDRESS_BITS-1:0] parameter_address,
    output wire [MEMBRANE_ADDRESS_BITS-1:0]  membrane_address,
    output wire [ADDRESS_BITS-1:0]           result_address,
    output wire [ROW_BITS-1:0]               lane,
    output wire [ADDRESS_BITS-1:0]           source_address
);
    localparam LAST_WEIGHT_ROW = WEIGHT_ROWS - 1;
    localparam LAST_PARAMETER_ROW = PARAMETER_ROWS - 1;
    localparam [ROW_BITS:0] ALL_ROWS = ROWS[ROW_BITS:0];
    localparam [ROW_BITS:0] ALL_COLUMNS = COLUMNS[ROW_BITS:0];

    // ---- the loops, outermost first
    reg [TIME_STEPS-1:0]    rounds_left;  // walked steps, if each has a round of its own
    reg [POSITION_BITS-1:0] strips_left;
    reg [COUNT_BITS-1:0]    output_tiles_left;
    reg [TIME_STEPS-1:0]    steps_left;   // slot steps, if each has passes of its own
    reg [COUNT_BITS-1:0]    tiles_left;

    wire [TIME_STEPS-1:0] round = rounds_left & -rounds_left;
    wire [TIME_STEPS-1:0] step = steps_left & -steps_left;
    assign window = outer ? round : {TIME_STEPS{1'b1}};
    assign streams = |(slot_steps & window);
    wire last_tile = !streams || tiles_left == 1;
    wire last_step = !streams || outer || together || steps_left == step;
    wire last_output_tile = output_tiles_left == 1;
    wire last_strip = strips_left == 1;
    wire last_round = !outer || rounds_left == round;
    wire steps_end = last_tile && last_step;
    wire strip_end = steps_end && last_output_tile;
    wire round_end = strip_end && last_strip;

    assign walks = steps_end;
    assign last = round_end && last_round;
    assign last_use = streams && last_output_tile;
    reg first_output_tile;
    assign first_use = streams && first_output_tile && !gathered;

    always @(posedge clock)
        if (start) begin
            rounds_left <= state_steps;
            strips_left <= strips;
            output_tiles_left <= output_tiles;
            steps_left <= slot_steps;
            tiles_left <= tiles;
            first_output_tile <= 1'b1;
        end else if (advance) begin
            tiles_left <= last_tile ? tiles : tiles_left - 1;
            if (last_tile)
                steps_left <= last_step ? slot_steps : steps_left & ~step;
            if (steps_end) begin
                output_tiles_left <= last_output_tile ? output_tiles : output_tiles_left - 1;
                first_output_tile <= last_output_tile;
            end
            if (strip_end)
                strips_left <= last_strip ? strips : strips_left - 1;
            if (round_end)
                rounds_left <= rounds_left & ~round;
        end

    // ---- weight rows; their address counts beats, and goes back where a strip uses the same weights again
    reg [COUNT_BITS-1:0] slice;
    wire last_slice = slice + 1 == slices;
    assign rows = !streams ? {ROW_BITS{1'b0}} : last_slice ? rows_last : rows_full;
    assign columns = last_output_tile ? columns_last : COLUMNS[COLUMN_BITS-1:0];
    always @(posedge clock)
        if (start)
            slice <= {COUNT_BITS{1'b0}};
        else if (advance)
            slice <= last_tile || last_slice ? {COUNT_BITS{1'b0}} : slice + 1;

    reg  [WEIGHT_ADDRESS_BITS-1:0] weight, round_weight;
    wire                           wraps = !stationary_operand && weight == LAST_WEIGHT_ROW[WEIGHT_ADDRESS_BITS-1:0];
    wire [WEIGHT_ADDRESS_BITS-1:0] following_weight = wraps ? {WEIGHT_ADDRESS_BITS{1'b0}} : weight + 1;
    wire [WEIGHT_ADDRESS_BITS-1:0] loaded_weight = load ? following_weight : weight;
    assign weight_address = weight;
    always @(posedge clock)
        if (start) begin
            weight <= weight_base;
            round_weight <= weight_base;
        end else if (advance && round_end && stationary_operand) begin
            weight <= loaded_weight;
            round_weight <= loaded_weight;
        end else
            weight <= advance && strip_end ? round_weight : loaded_weight;

    // ---- the chunk in the strip buffer
    reg [WORD_ADDRESS_BITS-1:0] chunk_word;
    reg [FLAG_ADDRESS_BITS-1:0] chunk_group;
    reg [SLOT_BITS-1:0]         step_slot;
    assign word_base = chunk_word;
    assign flag_base = chunk_group;
    assign words = last_strip ? words_last : words_full;
    assign positions = last_strip ? positions_last : positions_full;
    assign first_slot = step_slot;
    always @(posedge clock)
        if (start || (advance && steps_end)) begin
            chunk_word <= {WORD_ADDRESS_BITS{1'b0}};
            chunk_group <= {FLAG_ADDRESS_BITS{1'b0}};
            step_slot <= {SLOT_BITS{1'b0}};
        end else if (advance) begin
            chunk_word <= chunk_word + chunk_words;
            chunk_group <= chunk_group + chunk_groups;
            step_slot <= last_tile ? step_slot + 1 : step_slot;
        end

    // ---- what the walk reads and writes
    reg [PARAMETER_ADDRESS_BITS-1:0] parameter_row;
    reg [MEMBRANE_ADDRESS_BITS-1:0]  strip_membrane, membrane;
    reg [ADDRESS_BITS-1:0]           strip_result, result, strip_source, source;
    reg [ROW_BITS-1:0]               spike_lane;
    wire [ROW_BITS:0] next_lane = {1'b0, spike_lane} + ALL_COLUMNS;
    wire              next_word = next_lane >= ALL_ROWS;
    wire [ROW_BITS:0] wrapped_lane = next_word ? next_lane - ALL_ROWS : next_lane;
    wire [MEMBRANE_ADDRESS_BITS-1:0] strip_positions;
    generate
        if (MEMBRANE_ADDRESS_BITS > POSITION_BITS) begin : wide_membranes
            assign strip_positions = {{(MEMBRANE_ADDRESS_BITS-POSITION_BITS){1'b0}}, positions_full};
        end else begin : narrow_membranes
            assign strip_positions = positions_full[MEMBRANE_ADDRESS_BITS-1:0];
        end
    endgenerate
    wire [ADDRESS_BITS-1:0] next_strip_result = last_strip ? result_base : strip_result + result_strip_step;
    wire [ADDRESS_BITS-1:0] next_strip_source = last_strip ? source_base : strip_source + source_strip_step;
    wire [MEMBRANE_ADDRESS_BITS-1:0] next_strip_membrane =
        last_strip ? {MEMBRANE_ADDRESS_BITS{1'b0}} : strip_membrane + strip_positions;
    assign parameter_address = parameter_row;
    assign membrane_address = membrane;
    assign result_address = result;
    assign source_address = source;
    assign lane = spike_lane;
    always @(posedge clock)
        if (start) begin
            parameter_row <= parameter_base;
            {strip_membrane, membrane} <= {2{{MEMBRANE_ADDRESS_BITS{1'b0}}}};
            {strip_result, result} <= {2{result_base}};
            {strip_source, source} <= {2{source_base}};
            spike_lane <= result_lane;
        end else if (advance && strip_end) begin
            parameter_row <= parameter_base;
            {strip_membrane, membrane} <= {2{next_strip_membrane}};
            {strip_result, result} <= {2{next_strip_result}};
            {strip_source, source} <= {2{next_strip_source}};
            spike_lane <= result_lane;
        end else if (advance && steps_end) begin
            parameter_row <= parameter_row == LAST_PARAMETER_ROW[PARAMETER_ADDRESS_BITS-1:0] ? {PARAMETER_ADDRESS_BITS{1'b0}} : parameter_row + 1;
            membrane <= membrane + membrane_tile_step;
            result <= result + {{(ADDRESS_BITS-1){1'b0}}, result_currents || next_word};
            source <= source + 1;
            spike_lane <= wrapped_lane[ROW_BITS-1:0];
        end

    wire unused = &{1'b0, wrapped_lane[ROW_BITS]};

`ifdef FORMAL
    // Chunks that were taken from the word_gatherer and are not yet given back: never fewer than none, none between strips.
    localparam HELD_BITS = COUNT_BITS + TIME_STEPS + 1;
    reg                 started = 1'b0;
    reg                 begun = 1'b0;
    reg [HELD_BITS-1:0] held;
    reg [HELD_BITS-1:0] steps_done, step_count;
    integer             number;
    always @* begin
        steps_done = 0;
        step_count = 0;
        for (number = 0; number < TIME_STEPS; number = number + 1) begin
            steps_done = steps_done + (slot_steps[number] && !steps_left[number]);
            step_count = step_count + slot_steps[number];
        end
    end
    wire [HELD_BITS-1:0] strip_chunks = outer || together ? tiles : tiles * step_count;
    wire [HELD_BITS-1:0] chunks_done = outer || together ? tiles - tiles_left : steps_done * tiles + tiles - tiles_left;
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (!begun);
        else
            assume (start || $stable({outer, together, gathered, strips, output_tiles, tiles, slot_steps, state_steps}));
        assume (strips != 0 && output_tiles != 0 && tiles != 0);
        assume (begun || !advance);
        if (start) begin
            begun <= 1'b1;
            held <= 0;
        end else if (advance) begin
            begun <= !last;
            held <= held + first_use - last_use;
        end
        if (begun && !start) begin
            assert (tiles_left != 0 && tiles_left <= tiles);
            assert (output_tiles_left != 0 && output_tiles_left <= output_tiles);
            assert (first_output_tile == (output_tiles_left == output_tiles));
            assert ((steps_left & ~slot_steps) == 0 && (steps_left != 0 || slot_steps == 0));
            if (outer || together || !streams)
                assert (steps_left == slot_steps);
            if (!streams)
                assert (tiles_left == tiles);
            if (!gathered) begin
                assert (held == (!streams || (first_output_tile && last_output_tile) ? 0
                    : first_output_tile ? chunks_done : last_output_tile ? strip_chunks - chunks_done : strip_chunks));
                if (last_use)
                    assert (held + first_use != 0);
                if (advance && strip_end)
                    assert (held + first_use == last_use);
            end
            if (first_use)
                assert (streams);
        end
    end
`endif
endmodule
