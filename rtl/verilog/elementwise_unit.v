// elementwise_unit: sums and maxima of stored values over windows and inputs: additions, pools, token sums.
//
// It works on counts, ROWS channels side by side from the bit planes in spike memory, or on currents, COLUMNS channels
// from the rows of current memory. One row is read a cycle; a tap outside the input takes its cycles and reads nothing.
//
//   row of plane b, slice c of the value at position p = base(step) + (p·planes + b)·slices + c
//   busy cycles = Σ over outputs max(kernel_height·kernel_width·Σ planes of the available inputs, planes_out)
//               + planes_out + 2
//
// An output is one slice of one position at one active step. At the end three cycles pass between the last tap and the
// write of its result's first plane, and the rest of its planes have no later taps to hide behind.
//
// Ports:
//   clock               in   1                   rising edge
//   reset               in   1                   synchronous; ends what runs
//   start               in   1                   run the configured operation; seen while not busy
//   configuration       in   CONFIGURATION_BITS  see elementwise_fields; constant from `start` to `done`
//   busy                out  1                   it runs: from the first tap to the last write
//   done                out  1                   last busy cycle: the last row is written
//   current_memory      out  1                   both ports mean the current memory, else the spike memory
//   read_enable         out  1                   read_address is read
//   read_address        out  ADDRESS_BITS        a row
//   word_row            in   ROWS                the word of read_address two cycles before
//   current_row         in   COLUMNS*VALUE_BITS  the row of currents of read_address two cycles before
//   write_enable        out  1                   a row of the result is written
//   write_address       out  ADDRESS_BITS        where
//   write_word          out  ROWS                one plane of ROWS counts
//   write_currents      out  COLUMNS*VALUE_BITS  COLUMNS currents
//   spike_word_read     out  1                   this and the next three: events to count, one a cycle
//   current_row_read    out  1
//   spike_word_write    out  1
//   current_row_write   out  1
//
// COUNT_BITS is at least every number of planes, SIZE_BITS at most ADDRESS_BITS; the compiler has proved that results fit.
// Latency: `start` in cycle n: the first tap is in n + 1. The result of a tap of cycle n is written from n + 3 on.
module elementwise_unit #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter VALUE_BITS = 24,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter TIME_STEPS = 4,
    parameter INPUTS = 2,
    parameter SIZE_BITS = 8,
    parameter ADDRESS_BITS = 12,
    parameter CONFIGURATION_BITS = 2 + TIME_STEPS + PLANE_BITS + (TIME_STEPS+1)*ADDRESS_BITS + 9*SIZE_BITS
                                 + INPUTS*(TIME_STEPS + PLANE_BITS + (TIME_STEPS+4)*ADDRESS_BITS)
) (
    input  wire                          clock,
    input  wire                          reset,
    input  wire                          start,
    input  wire [CONFIGURATION_BITS-1:0] configuration,
    output reg                           busy,
    output wire                          done,
    output wire                          current_memory,
    output wire                          read_enable,
    output wire [ADDRESS_BITS-1:0]       read_address,
    input  wire [ROWS-1:0]               word_row,
    input  wire [COLUMNS*VALUE_BITS-1:0] current_row,
    output wire                          write_enable,
    output wire [ADDRESS_BITS-1:0]       write_address,
    output wire [ROWS-1:0]               write_word,
    output wire [COLUMNS*VALUE_BITS-1:0] write_currents,
    output wire                          spike_word_read,
    output wire                          current_row_read,
    output wire                          spike_word_write,
    output wire                          current_row_write
);
    wire                                      maximum, currents;
    wire [TIME_STEPS-1:0]                     active_steps;
    wire [PLANE_BITS-1:0]                     planes_out;
    wire [TIME_STEPS*ADDRESS_BITS-1:0]        result_bases;
    wire [ADDRESS_BITS-1:0]                   result_jump;
    wire [INPUTS*TIME_STEPS-1:0]              available_steps;
    wire [INPUTS*PLANE_BITS-1:0]              planes;
    wire [INPUTS*TIME_STEPS*ADDRESS_BITS-1:0] step_bases;
    wire [INPUTS*ADDRESS_BITS-1:0]            row_jumps, slice_jumps, column_jumps, line_jumps;
    wire [SIZE_BITS-1:0]                      kernel_height, kernel_width, stride, padding;
    wire [SIZE_BITS-1:0]                      input_height, input_width, output_height, output_width, slices;
    elementwise_fields #(
        .CONFIGURATION_BITS(CONFIGURATION_BITS), .TIME_STEPS(TIME_STEPS), .INPUTS(INPUTS), .PLANE_BITS(PLANE_BITS),
        .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) fields (
        .configuration(configuration),
        .maximum(maximum),
        .currents(currents),
        .active_steps(active_steps),
        .planes_out(planes_out),
        .result_bases(result_bases),
        .result_jump(result_jump),
        .available_steps(available_steps),
        .planes(planes),
        .step_bases(step_bases),
        .row_jumps(row_jumps),
        .slice_jumps(slice_jumps),
        .column_jumps(column_jumps),
        .line_jumps(line_jumps),
        .kernel_height(kernel_height),
        .kernel_width(kernel_width),
        .stride(stride),
        .padding(padding),
        .input_height(input_height),
        .input_width(input_width),
        .output_height(output_height),
        .output_width(output_width),
        .slices(slices)
    );

    // ---- taps
    wire begin_run = start && !busy;
    always @(posedge clock)
        if (reset)
            busy <= 1'b0;
        else if (begin_run)
            busy <= 1'b1;
        else if (done)
            busy <= 1'b0;

    wire                  tap, in_bounds, last_slice, last_column, begin_step, nothing;
    wire                  tap_ends, row_ends, window_ends, output_ends, run_ends;
    wire [INPUTS-1:0]     input_select;
    wire [PLANE_BITS-1:0] plane;
    wire [TIME_STEPS-1:0] next_step;
    window_walker #(
        .TIME_STEPS(TIME_STEPS), .INPUTS(INPUTS), .PLANE_BITS(PLANE_BITS), .SIZE_BITS(SIZE_BITS)
    ) walker (
        .clock(clock),
        .reset(reset),
        .start(begin_run),
        .active_steps(active_steps),
        .planes_out(planes_out),
        .available_steps(available_steps),
        .planes(planes),
        .kernel_height(kernel_height),
        .kernel_width(kernel_width),
        .stride(stride),
        .padding(padding),
        .input_height(input_height),
        .input_width(input_width),
        .output_height(output_height),
        .output_width(output_width),
        .slices(slices),
        .tap(tap),
        .in_bounds(in_bounds),
        .input_select(input_select),
        .plane(plane),
        .tap_ends(tap_ends),
        .row_ends(row_ends),
        .window_ends(window_ends),
        .output_ends(output_ends),
        .run_ends(run_ends),
        .last_slice(last_slice),
        .last_column(last_column),
        .begin_step(begin_step),
        .next_step(next_step),
        .nothing(nothing)
    );

    tap_addresses #(
        .TIME_STEPS(TIME_STEPS), .INPUTS(INPUTS), .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) tap_positions (
        .clock(clock),
        .begin_step(begin_step),
        .next_step(next_step),
        .tap(tap),
        .input_select(input_select),
        .row_ends(row_ends),
        .window_ends(window_ends),
        .last_slice(last_slice),
        .last_column(last_column),
        .step_bases(step_bases),
        .row_jumps(row_jumps),
        .slice_jumps(slice_jumps),
        .column_jumps(column_jumps),
        .line_jumps(line_jumps),
        .slices(slices),
        .address(read_address)
    );
    assign read_enable = in_bounds;

    // ---- a cycle later the memory looks the row up, and what the walker said of it waits
    reg                  asked, asked_in_bounds, asked_last_plane, asked_lowest;
    reg [PLANE_BITS-1:0] asked_plane;
    reg                  asked_begin_step, asked_output_ends, asked_last_slice, asked_run_ends;
    reg [TIME_STEPS-1:0] asked_next_step;
    always @(posedge clock) begin
        asked <= tap && !reset;
        asked_in_bounds <= in_bounds;
        asked_last_plane <= tap_ends;
        asked_lowest <= maximum && !nothing;
        asked_plane <= plane;
        asked_begin_step <= begin_step;
        asked_next_step <= next_step;
        asked_output_ends <= output_ends && !reset;
        asked_last_slice <= last_slice;
        asked_run_ends <= run_ends;
    end

    // ---- lanes, two cycles later
    reg                  arrived, arrived_in_bounds, arrived_last_plane;
    reg                  lowest;  // what a tap outside the input counts as; a step without any input is all 0
    reg [PLANE_BITS-1:0] arrived_plane;
    reg                  first_tap;
    wire                 finish;
    always @(posedge clock) begin
        arrived <= asked && !reset;
        arrived_in_bounds <= asked_in_bounds;
        arrived_last_plane <= asked_last_plane;
        lowest <= asked_lowest;
        arrived_plane <= asked_plane;
        if (begin_run)
            first_tap <= 1'b1;
        else if (arrived && arrived_last_plane)
            first_tap <= finish;
    end

    reg [COUNT_BITS-1:0] plane_place;
    integer index;
    always @*
        for (index = 0; index < COUNT_BITS; index = index + 1)
            plane_place[index] = arrived_plane == index[PLANE_BITS-1:0];

    genvar lane;
    generate
        for (lane = 0; lane < ROWS; lane = lane + 1) begin : counts
            count_lane #(.COUNT_BITS(COUNT_BITS)) lane_of_row (
                .clock(clock),
                .maximum(maximum),
                .enable(arrived && !currents),
                .spike(word_row[lane] && arrived_in_bounds),
                .plane_place(plane_place),
                .last_plane(arrived_last_plane),
                .first_tap(first_tap),
                .finish(finish),
                .shift(spike_word_write),
                .plane(write_word[lane])
            );
        end
        for (lane = 0; lane < COLUMNS; lane = lane + 1) begin : rows_of_currents
            current_lane #(.VALUE_BITS(VALUE_BITS)) lane_of_column (
                .clock(clock),
                .maximum(lowest),
                .enable(arrived && currents),
                .in_bounds(arrived_in_bounds),
                .current(current_row[lane*VALUE_BITS +: VALUE_BITS]),
                .first_tap(first_tap),
                .result(write_currents[lane*VALUE_BITS +: VALUE_BITS])
            );
        end
    endgenerate

    // ---- results
    result_writer #(
        .TIME_STEPS(TIME_STEPS), .PLANE_BITS(PLANE_BITS), .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) writer (
        .clock(clock),
        .reset(reset),
        .begin_step(asked_begin_step),
        .next_step(asked_next_step),
        .output_ends(asked_output_ends),
        .last_slice(asked_last_slice),
        .run_ends(asked_run_ends),
        .planes_out(planes_out),
        .result_bases(result_bases),
        .result_jump(result_jump),
        .slices(slices),
        .finish(finish),
        .enable(write_enable),
        .address(write_address),
        .done(done)
    );

    assign current_memory = currents;
    assign spike_word_read = read_enable && !currents;
    assign current_row_read = read_enable && currents;
    assign spike_word_write = write_enable && !currents;
    assign current_row_write = write_enable && currents;
endmodule
