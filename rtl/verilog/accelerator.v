// accelerator: the whole machine for one network, between its memories' write ports and its results.
//
//   program memory ─► run_controller ─► strip_engine, stationary_loader, elementwise_unit: one at a time
//   image, spike and current memory ─► word_gatherer ─► strip_engine ─► spike and current memory
//   spike and current memory ─► stationary_loader ─► strip_engine's stationary memory
//   spike or current memory ─► elementwise_unit ─► the same memory
//
// A row of the program, from the highest bits to the lowest:
//
//   operation         2            0 run, 1 fill, 2 elementwise, 3 end
//   node              NODE_BITS    node of the schedule whose work it is, for the counters
//   transfers_needed  COUNT_BITS   weight transfers that must have arrived before it begins
//   payload           PAYLOAD_BITS lowest bits: of a run {gather, passes, layer}, of a fill and of elementwise work their
//                                  own, see gather_fields, sequence_fields, layer_fields, stationary_fields,
//                                  elementwise_fields
//
// Ports:
//   clock                    in   1                               rising edge
//   reset                    in   1                               synchronous
//   start                    in   1                               an image; not while busy
//   busy                     out  1                               it is on its way
//   ends                     out  1                               all logits are in current memory
//   begin_image              out  1                               the image may come, and transfers may begin
//   image_done               in   1                               it has arrived
//   image_write_enable       in   1                               a pixel
//   image_write_address      in   IMAGE_ADDRESS_BITS
//   image_write_row          in   PIXEL_CHANNELS*PIXEL_PLANES     channel c in bits c*PIXEL_PLANES and up
//   transfers_arrived        in   COUNT_BITS                      weight transfers so far, for this image
//   rows_done                out  PROGRAM_ADDRESS_BITS            rows of the program that have ended, for this image
//   weight_write_enable      in   1
//   weight_write_address     in   WEIGHT_ADDRESS_BITS
//   weight_write_row         in   LOAD_ROWS*COLUMNS*WEIGHT_BITS
//   parameter_write_enable   in   1
//   parameter_write_address  in   PARAMETER_ADDRESS_BITS
//   parameter_write_row      in   COLUMNS*4*VALUE_BITS
//   logit_read               in   1                               while not busy: a row of current memory
//   logit_address            in   CURRENT_ADDRESS_BITS
//   current_row              out  COLUMNS*MEMBRANE_BITS           the row read last
//   count_node               in   NODE_BITS                       events of this node are counted; all ones: of all
//   counter_select           in   5                               see performance_counters
//   counter_value            out  COUNTER_BITS                    since the image began
//   walk_valid               out  1                               a visit's values are below, see strip_engine
//   walk_spikes              out  COLUMNS
//   walk_membranes           out  COLUMNS*MEMBRANE_BITS
//   walk_currents            out  COLUMNS*VALUE_BITS
//   walk_accumulators        out  COLUMNS*ACCUMULATOR_BITS
//
// Latency: see run_controller.
module accelerator #(
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
    parameter SIZE_BITS = 6,
    parameter PIXEL_CHANNELS = 3,
    parameter PIXEL_PLANES = 8,
    parameter ELEMENT_PLANES = 8,
    parameter TURNED_LANES = 16,
    parameter LANE_COUNT_BITS = 8,
    parameter INPUTS = 2,
    parameter WEIGHT_ROWS = 256,
    parameter PARAMETER_ROWS = 16,
    parameter STATIONARY_ROWS = 64,
    parameter STRIP_WORDS = 1024,
    parameter SPIKE_ROWS = 1024,
    parameter CURRENT_ROWS = 256,
    parameter IMAGE_ROWS = 64,
    parameter MEMBRANE_ROWS = 256,
    parameter PROGRAM_ROWS = 64,
    parameter PROGRAM_FILE = "",
    parameter NODE_BITS = 8,
    parameter COUNTER_BITS = 48,
    parameter WEIGHT_ADDRESS_BITS = (WEIGHT_ROWS > 1) ? $clog2(WEIGHT_ROWS) : 1,
    parameter PARAMETER_ADDRESS_BITS = (PARAMETER_ROWS > 1) ? $clog2(PARAMETER_ROWS) : 1,
    parameter STATIONARY_ADDRESS_BITS = (STATIONARY_ROWS > 1) ? $clog2(STATIONARY_ROWS) : 1,
    parameter BEAT_ADDRESS_BITS =
        (WEIGHT_ADDRESS_BITS > STATIONARY_ADDRESS_BITS) ? WEIGHT_ADDRESS_BITS : STATIONARY_ADDRESS_BITS,
    parameter WORD_ADDRESS_BITS = (STRIP_WORDS > 1) ? $clog2(STRIP_WORDS) : 1,
    parameter FLAG_ADDRESS_BITS = (STRIP_WORDS > GROUP) ? $clog2(STRIP_WORDS/GROUP) : 1,
    parameter SPIKE_ADDRESS_BITS = (SPIKE_ROWS > 1) ? $clog2(SPIKE_ROWS) : 1,
    parameter CURRENT_ADDRESS_BITS = (CURRENT_ROWS > 1) ? $clog2(CURRENT_ROWS) : 1,
    parameter IMAGE_ADDRESS_BITS = (IMAGE_ROWS > 1) ? $clog2(IMAGE_ROWS) : 1,
    parameter MEMBRANE_ADDRESS_BITS = (MEMBRANE_ROWS > 1) ? $clog2(MEMBRANE_ROWS) : 1,
    parameter PROGRAM_ADDRESS_BITS = (PROGRAM_ROWS > 1) ? $clog2(PROGRAM_ROWS) : 1,
    parameter ADDRESS_BITS = (SPIKE_ADDRESS_BITS > CURRENT_ADDRESS_BITS
        ? (SPIKE_ADDRESS_BITS > IMAGE_ADDRESS_BITS ? SPIKE_ADDRESS_BITS : IMAGE_ADDRESS_BITS)
        : (CURRENT_ADDRESS_BITS > IMAGE_ADDRESS_BITS ? CURRENT_ADDRESS_BITS : IMAGE_ADDRESS_BITS)),
    parameter SLOT_BITS = (SLOTS > 1) ? $clog2(SLOTS) : 1,
    parameter ROW_BITS = $clog2(ROWS + 1),
    parameter COLUMN_BITS = $clog2(COLUMNS + 1),
    parameter WORD_COUNT_BITS = SLOT_BITS + 1 + PLANE_BITS,
    parameter VALUE_BITS = (ACCUMULATOR_BITS > MEMBRANE_BITS) ? ACCUMULATOR_BITS : MEMBRANE_BITS,
    parameter PIXEL_BITS = PIXEL_CHANNELS*PIXEL_PLANES,
    parameter LAYER_BITS = 7 + SHIFT_BITS + LEAK_MULTIPLIER_BITS + SHIFT_BITS + 6*TIME_STEPS
        + 3*SLOT_BITS + 2*PLANE_BITS + GROUP*(PLANE_BITS + SLOT_BITS),
    parameter SEQUENCE_BITS = 5 + 3*POSITION_BITS + 2*WORD_COUNT_BITS + 3*COUNT_BITS + COLUMN_BITS + 3*ROW_BITS
        + BEAT_ADDRESS_BITS + PARAMETER_ADDRESS_BITS + WORD_ADDRESS_BITS + FLAG_ADDRESS_BITS + MEMBRANE_ADDRESS_BITS
        + 6*ADDRESS_BITS + TIME_STEPS + 2*TIME_STEPS*ADDRESS_BITS,
    parameter GATHER_BITS = 5 + 2*TIME_STEPS + 3*POSITION_BITS + 5*COUNT_BITS + PLANE_BITS + 5*ROW_BITS + 6*SIZE_BITS
        + 7*ADDRESS_BITS + WORD_ADDRESS_BITS + FLAG_ADDRESS_BITS + TIME_STEPS*ADDRESS_BITS + PIXEL_BITS,
    parameter STATIONARY_BITS = 3 + 2*TIME_STEPS + 2*COUNT_BITS + 5*ROW_BITS + PLANE_BITS + 5*ADDRESS_BITS
        + TIME_STEPS*ADDRESS_BITS,
    parameter ELEMENTWISE_BITS = 2 + TIME_STEPS + PLANE_BITS + (TIME_STEPS+1)*ADDRESS_BITS + 9*SIZE_BITS
        + INPUTS*(TIME_STEPS + PLANE_BITS + (TIME_STEPS+4)*ADDRESS_BITS),
    parameter RUN_BITS = GATHER_BITS + SEQUENCE_BITS + LAYER_BITS,
    parameter LARGER_BITS = (RUN_BITS > ELEMENTWISE_BITS) ? RUN_BITS : ELEMENTWISE_BITS,
    parameter PAYLOAD_BITS = (LARGER_BITS > STATIONARY_BITS) ? LARGER_BITS : STATIONARY_BITS,
    parameter PROGRAM_BITS = 2 + NODE_BITS + COUNT_BITS + PAYLOAD_BITS
) (
    input  wire                                     clock,
    input  wire                                     reset,
    input  wire                                     start,
    output wire                                     busy,
    output wire                                     ends,
    output wire                                     begin_image,
    input  wire                                     image_done,
    input  wire                                     image_write_enable,
    input  wire [IMAGE_ADDRESS_BITS-1:0]            image_write_address,
    input  wire [PIXEL_CHANNELS*PIXEL_PLANES-1:0]   image_write_row,
    input  wire [COUNT_BITS-1:0]                    transfers_arrived,
    output wire [PROGRAM_ADDRESS_BITS-1:0]          rows_done,
    input  wire                                     weight_write_enable,
    input  wire [WEIGHT_ADDRESS_BITS-1:0]           weight_write_address,
    input  wire [LOAD_ROWS*COLUMNS*WEIGHT_BITS-1:0] weight_write_row,
    input  wire                                     parameter_write_enable,
    input  wire [PARAMETER_ADDRESS_BITS-1:0]        parameter_write_address,
    input  wire [COLUMNS*4*VALUE_BITS-1:0]          parameter_write_row,
    input  wire                                     logit_read,
    input  wire [CURRENT_ADDRESS_BITS-1:0]          logit_address,
    output wire [COLUMNS*MEMBRANE_BITS-1:0]         current_row,
    input  wire [NODE_BITS-1:0]                     count_node,
    input  wire [4:0]                               counter_select,
    output wire [COUNTER_BITS-1:0]                  counter_value,
    output wire                                     walk_valid,
    output wire [COLUMNS-1:0]                       walk_spikes,
    output wire [COLUMNS*MEMBRANE_BITS-1:0]         walk_membranes,
    output wire [COLUMNS*VALUE_BITS-1:0]            walk_currents,
    output wire [COLUMNS*ACCUMULATOR_BITS-1:0]      walk_accumulators
);
    localparam LANE_BITS = (GROUP > 1) ? $clog2(GROUP) : 1;
    localparam EVENT_BITS = 21 + LANE_BITS + ROWS + 2*ROW_BITS + 2*COLUMN_BITS;
    localparam CURRENT_BITS = COLUMNS*MEMBRANE_BITS;

    // ---- program
    wire program_read, program_fetch, begin_run, begin_fill, begin_elementwise, control, stalls;
    wire run_ends, fill_ends, elementwise_ends;
    wire [PROGRAM_ADDRESS_BITS-1:0] program_address;
    wire [1:0] read_operation;
    wire [NODE_BITS-1:0] read_node;
    wire [COUNT_BITS-1:0] read_transfers_needed;
    wire [PAYLOAD_BITS-1:0] payload;
    synchronous_memory #(.WIDTH(PROGRAM_BITS), .ROWS(PROGRAM_ROWS), .FILE(PROGRAM_FILE)) program_memory (
        .clock(clock),
        .write_enable(1'b0),
        .write_address({PROGRAM_ADDRESS_BITS{1'b0}}),
        .write_data({PROGRAM_BITS{1'b0}}),
        .read_enable(program_read),
        .read_address(program_address),
        .read_data({read_operation, read_node, read_transfers_needed, payload})
    );

    // A register for each unit, so that it can lie beside it.
    reg  [1:0] operation;
    reg  [NODE_BITS-1:0] node;
    reg  [COUNT_BITS-1:0] transfers_needed;
    reg  [LAYER_BITS-1:0] layer;
    reg  [SEQUENCE_BITS-1:0] passes;
    reg  [GATHER_BITS-1:0] gather;
    reg  [STATIONARY_BITS-1:0] fill;
    reg  [ELEMENTWISE_BITS-1:0] windows;
    always @(posedge clock)
        if (program_fetch) begin
            operation <= read_operation;
            node <= read_node;
            transfers_needed <= read_transfers_needed;
            if (read_operation == 2'd0)
                {gather, passes, layer} <= payload[RUN_BITS-1:0];
            if (read_operation == 2'd1)
                fill <= payload[STATIONARY_BITS-1:0];
            if (read_operation == 2'd2)
                windows <= payload[ELEMENTWISE_BITS-1:0];
        end
    run_controller #(
        .PROGRAM_BITS(PROGRAM_ADDRESS_BITS), .COUNT_BITS(COUNT_BITS)
    ) controller (
        .clock(clock), .reset(reset), .start(start), .image_done(image_done), .program_read(program_read),
        .program_address(program_address), .program_fetch(program_fetch), .operation(operation),
        .transfers_needed(transfers_needed), .transfers_arrived(transfers_arrived), .run_ends(run_ends), .fill_ends(fill_ends),
        .elementwise_ends(elementwise_ends), .begin_image(begin_image), .begin_run(begin_run),
        .begin_fill(begin_fill), .begin_elementwise(begin_elementwise), .rows_done(rows_done), .busy(busy),
        .control(control), .stalls(stalls), .ends(ends)
    );

    // ---- memories; one unit works at a time, so their ports are shared by taking turns. What they give goes through a
    // register: a row is at its unit in the second cycle after its address.
    wire gather_spikes, gather_image, gather_currents, fill_spikes, fill_currents;
    wire elementwise_spikes, elementwise_currents, source_read;
    wire [ADDRESS_BITS-1:0] gather_address, fill_address, elementwise_read_address, source_address;
    wire [ADDRESS_BITS-1:0] spike_read_address = gather_spikes ? gather_address
        : fill_spikes ? fill_address : elementwise_read_address;
    wire [ADDRESS_BITS-1:0] current_read_address = gather_currents ? gather_address
        : fill_currents ? fill_address : elementwise_currents ? elementwise_read_address : source_address;

    wire current_write_enable, elementwise_spike_write, elementwise_current_write;
    wire [ADDRESS_BITS-1:0] result_address, elementwise_write_address;
    wire [ROW_BITS-1:0] result_lane;
    wire [COLUMNS-1:0] result_spikes;
    wire [CURRENT_BITS-1:0] result_currents, elementwise_write_currents;
    wire [ROWS-1:0] elementwise_write_word, result_word, result_lanes, read_spikes;
    wire [PIXEL_BITS-1:0] read_pixels;
    reg  [ROWS-1:0] spike_word;
    reg  [CURRENT_BITS-1:0] source_row;
    reg  [PIXEL_BITS-1:0] image_row;
    always @(posedge clock) begin
        spike_word <= read_spikes;
        source_row <= current_row;
        image_row <= read_pixels;
    end
    lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) result_aligner (
        .row({{(ROWS-COLUMNS){1'b0}}, result_spikes}), .turn(result_lane), .first({ROW_BITS{1'b0}}),
        .count(ROWS[ROW_BITS-1:0]), .limit(ROWS[ROW_BITS-1:0]), .lanes(result_word)
    );
    lane_memory #(.WIDTH(ROWS), .ROWS(SPIKE_ROWS), .ADDRESS_BITS(SPIKE_ADDRESS_BITS)) spike_memory (
        .clock(clock),
        .write_lanes(elementwise_spike_write ? {ROWS{1'b1}} : result_lanes),
        .write_address(elementwise_spike_write
            ? elementwise_write_address[SPIKE_ADDRESS_BITS-1:0] : result_address[SPIKE_ADDRESS_BITS-1:0]),
        .write_data(elementwise_spike_write ? elementwise_write_word : result_word),
        .read_enable(gather_spikes || fill_spikes || elementwise_spikes),
        .read_address(spike_read_address[SPIKE_ADDRESS_BITS-1:0]),
        .read_data(read_spikes)
    );
    synchronous_memory #(.WIDTH(CURRENT_BITS), .ROWS(CURRENT_ROWS), .ADDRESS_BITS(CURRENT_ADDRESS_BITS)) current_memory (
        .clock(clock),
        .write_enable(current_write_enable || elementwise_current_write),
        .write_address(elementwise_current_write
            ? elementwise_write_address[CURRENT_ADDRESS_BITS-1:0] : result_address[CURRENT_ADDRESS_BITS-1:0]),
        .write_data(elementwise_current_write ? elementwise_write_currents : result_currents),
        .read_enable(gather_currents || fill_currents || elementwise_currents || source_read || logit_read),
        .read_address(logit_read ? logit_address : current_read_address[CURRENT_ADDRESS_BITS-1:0]),
        .read_data(current_row)
    );
    synchronous_memory #(.WIDTH(PIXEL_BITS), .ROWS(IMAGE_ROWS), .ADDRESS_BITS(IMAGE_ADDRESS_BITS)) image_memory (
        .clock(clock),
        .write_enable(image_write_enable),
        .write_address(image_write_address),
        .write_data(image_write_row),
        .read_enable(gather_image),
        .read_address(gather_address[IMAGE_ADDRESS_BITS-1:0]),
        .read_data(read_pixels)
    );

    // ---- the strip buffer's owner, and the array with all that belongs to it
    wire words_ready, words_taken, words_released, gathering, word_write_enable, flag_write_enable;
    wire [WORD_ADDRESS_BITS-1:0] word_write_address;
    wire [ROWS-1:0] word_write_row;
    wire [FLAG_ADDRESS_BITS-1:0] flag_write_address;
    wire [GROUP-1:0] flag_write_row;
    word_gatherer #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .GROUP(GROUP), .TIME_STEPS(TIME_STEPS), .GATHER_BITS(GATHER_BITS),
        .POSITION_BITS(POSITION_BITS), .COUNT_BITS(COUNT_BITS), .PLANE_BITS(PLANE_BITS), .SIZE_BITS(SIZE_BITS),
        .ADDRESS_BITS(ADDRESS_BITS), .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS),
        .PIXEL_CHANNELS(PIXEL_CHANNELS), .PIXEL_PLANES(PIXEL_PLANES), .CURRENT_BITS(MEMBRANE_BITS),
        .ELEMENT_PLANES(ELEMENT_PLANES), .TURNED_LANES(TURNED_LANES)
    ) gatherer (
        .clock(clock), .reset(reset), .start(begin_run), .row(gather), .released(words_released),
        .taken(words_taken), .ready(words_ready), .gathering(gathering), .read_spikes(gather_spikes),
        .read_image(gather_image), .read_currents(gather_currents), .read_address(gather_address),
        .spike_word(spike_word), .image_row(image_row), .current_row(source_row),
        .word_write_enable(word_write_enable), .word_write_address(word_write_address),
        .word_write_row(word_write_row), .flag_write_enable(flag_write_enable),
        .flag_write_address(flag_write_address), .flag_write_row(flag_write_row)
    );

    wire [LOAD_ROWS-1:0] stationary_write_enable;
    wire [STATIONARY_ADDRESS_BITS-1:0] stationary_write_address;
    wire [COLUMNS*WEIGHT_BITS-1:0] stationary_write_row;
    wire fill_busy, elementwise_busy, run_busy;
    wire [EVENT_BITS-1:0] events;
    strip_engine #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .SLOTS(SLOTS), .GROUP(GROUP), .TIME_STEPS(TIME_STEPS),
        .WEIGHT_BITS(WEIGHT_BITS), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .MEMBRANE_BITS(MEMBRANE_BITS),
        .LOAD_ROWS(LOAD_ROWS), .FIXED_LEAK(FIXED_LEAK), .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS),
        .SHIFT_BITS(SHIFT_BITS), .PLANE_BITS(PLANE_BITS), .POSITION_BITS(POSITION_BITS), .COUNT_BITS(COUNT_BITS),
        .WEIGHT_ROWS(WEIGHT_ROWS), .PARAMETER_ROWS(PARAMETER_ROWS),
        .STATIONARY_ADDRESS_BITS(STATIONARY_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS),
        .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .MEMBRANE_ADDRESS_BITS(MEMBRANE_ADDRESS_BITS),
        .ADDRESS_BITS(ADDRESS_BITS)
    ) engine (
        .clock(clock), .reset(reset), .start(begin_run), .layer(layer), .passes(passes), .busy(run_busy),
        .ends(run_ends), .words_ready(words_ready), .words_taken(words_taken), .words_released(words_released),
        .weight_write_enable(weight_write_enable), .weight_write_address(weight_write_address),
        .weight_write_row(weight_write_row), .stationary_write_enable(stationary_write_enable),
        .stationary_write_address(stationary_write_address), .stationary_write_row(stationary_write_row),
        .flag_write_enable(flag_write_enable), .flag_write_address(flag_write_address),
        .flag_write_row(flag_write_row), .word_write_enable(word_write_enable),
        .word_write_address(word_write_address), .word_write_row(word_write_row),
        .parameter_write_enable(parameter_write_enable), .parameter_write_address(parameter_write_address),
        .parameter_write_row(parameter_write_row), .source_read(source_read), .source_address(source_address),
        .source_row(source_row), .current_write_enable(current_write_enable), .result_address(result_address),
        .result_lane(result_lane), .result_lanes(result_lanes), .result_spikes(result_spikes), .result_currents(result_currents),
        .walk_valid(walk_valid), .walk_spikes(walk_spikes), .walk_membranes(walk_membranes),
        .walk_currents(walk_currents), .walk_accumulators(walk_accumulators), .events(events)
    );

    stationary_loader #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .TIME_STEPS(TIME_STEPS), .STATIONARY_BITS(STATIONARY_BITS),
        .COUNT_BITS(COUNT_BITS), .PLANE_BITS(PLANE_BITS), .ADDRESS_BITS(ADDRESS_BITS), .WEIGHT_BITS(WEIGHT_BITS),
        .CURRENT_BITS(MEMBRANE_BITS), .LOAD_ROWS(LOAD_ROWS), .BEAT_ADDRESS_BITS(STATIONARY_ADDRESS_BITS)
    ) loader (
        .clock(clock), .reset(reset), .start(begin_fill), .row(fill), .busy(fill_busy),
        .done(fill_ends), .read_spikes(fill_spikes), .read_currents(fill_currents), .read_address(fill_address),
        .spike_word(spike_word), .current_row(source_row), .write_enable(stationary_write_enable),
        .write_address(stationary_write_address), .write_row(stationary_write_row)
    );

    wire elementwise_in_currents, elementwise_read, elementwise_write;
    wire elementwise_word_read, elementwise_row_read, elementwise_word_write, elementwise_row_write;
    elementwise_unit #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .VALUE_BITS(MEMBRANE_BITS), .COUNT_BITS(LANE_COUNT_BITS),
        .PLANE_BITS(PLANE_BITS), .TIME_STEPS(TIME_STEPS), .INPUTS(INPUTS), .SIZE_BITS(SIZE_BITS),
        .ADDRESS_BITS(ADDRESS_BITS), .CONFIGURATION_BITS(ELEMENTWISE_BITS)
    ) elementwise (
        .clock(clock), .reset(reset), .start(begin_elementwise), .configuration(windows),
        .busy(elementwise_busy), .done(elementwise_ends), .current_memory(elementwise_in_currents),
        .read_enable(elementwise_read), .read_address(elementwise_read_address), .word_row(spike_word),
        .current_row(source_row), .write_enable(elementwise_write), .write_address(elementwise_write_address),
        .write_word(elementwise_write_word), .write_currents(elementwise_write_currents),
        .spike_word_read(elementwise_word_read), .current_row_read(elementwise_row_read),
        .spike_word_write(elementwise_word_write), .current_row_write(elementwise_row_write)
    );
    assign elementwise_spikes = elementwise_read && !elementwise_in_currents;
    assign elementwise_currents = elementwise_read && elementwise_in_currents;
    assign elementwise_spike_write = elementwise_write && !elementwise_in_currents;
    assign elementwise_current_write = elementwise_write && elementwise_in_currents;

    // ---- counters
    performance_counters #(
        .ROWS(ROWS), .ROW_BITS(ROW_BITS), .COLUMN_BITS(COLUMN_BITS), .LANE_BITS(LANE_BITS),
        .COUNTER_BITS(COUNTER_BITS), .EVENT_BITS(EVENT_BITS)
    ) counters (
        .clock(clock), .clear(reset || begin_image), .count((&count_node) || (node == count_node)),
        .select(counter_select), .value(counter_value), .running(busy), .control(control), .stalls(stalls),
        .fills(fill_busy), .elementwise(elementwise_busy), .events(events),
        .stationary_row_writes(|stationary_write_enable), .spike_word_reads(gather_spikes || fill_spikes ||
        elementwise_word_read), .image_row_reads(gather_image), .strip_word_writes(word_write_enable),
        .spike_word_writes(elementwise_word_write), .current_row_reads(gather_currents || fill_currents ||
        elementwise_row_read), .current_row_writes(elementwise_row_write)
    );

    // The widest memory needs all bits of an address.
    wire unused = &{1'b0, gathering, run_busy, spike_read_address, current_read_address, gather_address, result_address,
        elementwise_write_address};
endmodule
