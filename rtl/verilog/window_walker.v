// window_walker: the loops of an elementwise operation, one plane of one tap a cycle.
//
//   for step: for output row: for output column: for slice: for input available at the step:
//       for window row: for window column: for plane
//
// An output takes at least planes_out cycles, in which the planes of the output before are written: where it has fewer
// taps, its last one waits. Where no input is available it has one tap, which reads nothing. All counters go back to 0 by themselves, so a run needs no set-up.
//
// Ports:
//   clock            in   1                  rising edge
//   reset            in   1                  synchronous
//   start            in   1                  the first tap is in the next cycle; only while nothing is walked
//   active_steps     in   TIME_STEPS         as in elementwise_fields, and so are the rest of the inputs
//   planes_out       in   PLANE_BITS
//   available_steps  in   INPUTS*TIME_STEPS
//   planes           in   INPUTS*PLANE_BITS
//   kernel_height    in   SIZE_BITS
//   kernel_width     in   SIZE_BITS
//   stride           in   SIZE_BITS
//   padding          in   SIZE_BITS
//   input_height     in   SIZE_BITS
//   input_width      in   SIZE_BITS
//   output_height    in   SIZE_BITS
//   output_width     in   SIZE_BITS
//   slices           in   SIZE_BITS
//   tap              out  1                  a plane of a tap is looked at in this cycle
//   in_bounds        out  1                  it is read: the tap lies inside the input
//   input_select     out  INPUTS             its input, one-hot
//   plane            out  PLANE_BITS         its plane
//   tap_ends         out  1                  this and the next four: it is the last of its tap,
//   row_ends         out  1                  of the window's row,
//   window_ends      out  1                  of the input's window,
//   output_ends      out  1                  of the output,
//   run_ends         out  1                  of everything; each of them implies those before it
//   last_slice       out  1                  the output is the last slice of its position
//   last_column      out  1                  it is in the last column of its line
//   begin_step       out  1                  the next cycle's tap is the first of a step
//   next_step        out  TIME_STEPS         that step, one-hot
//   nothing          out  1                  no input is available at this step
//
// Latency: combinational from the counters.
module window_walker #(
    parameter TIME_STEPS = 4,
    parameter INPUTS = 2,
    parameter PLANE_BITS = 5,
    parameter SIZE_BITS = 8
) (
    input  wire                         clock,
    input  wire                         reset,
    input  wire                         start,
    input  wire [TIME_STEPS-1:0]        active_steps,
    input  wire [PLANE_BITS-1:0]        planes_out,
    input  wire [INPUTS*TIME_STEPS-1:0] available_steps,
    input  wire [INPUTS*PLANE_BITS-1:0] planes,
    input  wire [SIZE_BITS-1:0]         kernel_height,
    input  wire [SIZE_BITS-1:0]         kernel_width,
    input  wire [SIZE_BITS-1:0]         stride,
    input  wire [SIZE_BITS-1:0]         padding,
    input  wire [SIZE_BITS-1:0]         input_height,
    input  wire [SIZE_BITS-1:0]         input_width,
    input  wire [SIZE_BITS-1:0]         output_height,
    input  wire [SIZE_BITS-1:0]         output_width,
    input  wire [SIZE_BITS-1:0]         slices,
    output wire                         tap,
    output wire                         in_bounds,
    output wire [INPUTS-1:0]            input_select,
    output reg  [PLANE_BITS-1:0]        plane,
    output wire                         tap_ends,
    output wire                         row_ends,
    output wire                         window_ends,
    output wire                         output_ends,
    output wire                         run_ends,
    output wire                         last_slice,
    output wire                         last_column,
    output wire                         begin_step,
    output wire [TIME_STEPS-1:0]        next_step,
    output wire                         nothing
);
    reg                   walking;
    reg  [TIME_STEPS-1:0] steps_done;
    reg  [SIZE_BITS-1:0]  slice;
    reg  [INPUTS-1:0]     inputs_done;
    reg  [PLANE_BITS-1:0] pace;  // cycles of this output before this one, at most planes_out − 1

    // ---- where we are
    wire [TIME_STEPS-1:0] steps_left = active_steps & ~steps_done;
    wire [TIME_STEPS-1:0] step = steps_left & -steps_left;  // one-hot
    wire [TIME_STEPS-1:0] later_steps = steps_left & ~step;

    wire [INPUTS-1:0] available;
    genvar place;
    generate
        for (place = 0; place < INPUTS; place = place + 1) begin : inputs
            assign available[place] = |(step & available_steps[place*TIME_STEPS +: TIME_STEPS]);
        end
    endgenerate
    assign nothing = available == {INPUTS{1'b0}};
    wire [INPUTS-1:0] inputs_left = available & ~inputs_done;
    assign input_select = inputs_left & -inputs_left;

    reg [PLANE_BITS-1:0] input_planes;
    integer index;
    always @* begin
        input_planes = {PLANE_BITS{1'b0}};
        for (index = 0; index < INPUTS; index = index + 1)
            if (input_select[index])
                input_planes = planes[index*PLANE_BITS +: PLANE_BITS];
    end

    // ---- what is the last of what
    wire [PLANE_BITS-1:0] following_plane = plane + 1;
    wire [PLANE_BITS-1:0] following_pace = pace + 1;
    wire [SIZE_BITS-1:0]  following_slice = slice + 1;
    wire last_plane = nothing || (following_plane == input_planes);
    wire last_tap_of_row, last_row_of_window, last_line;
    wire last_input = (inputs_left & ~input_select) == {INPUTS{1'b0}};
    wire last_step = later_steps == {TIME_STEPS{1'b0}};
    wire paced = following_pace == planes_out;
    wire last_of_output = nothing || (last_plane && last_tap_of_row && last_row_of_window && last_input);
    assign last_slice = following_slice == slices;

    assign tap = walking && (paced || !last_of_output);
    assign tap_ends = tap && last_plane;
    assign row_ends = tap_ends && (nothing || last_tap_of_row);
    assign window_ends = row_ends && (nothing || last_row_of_window);
    assign output_ends = tap && last_of_output;
    wire position_ends = output_ends && last_slice;
    wire line_ends = position_ends && last_column;
    wire step_ends = line_ends && last_line;
    assign run_ends = step_ends && last_step;

    assign begin_step = start || (step_ends && !last_step);
    assign next_step = walking ? later_steps & -later_steps : step;

    wire column_in_bounds, row_in_bounds;
    assign in_bounds = tap && column_in_bounds && row_in_bounds && !nothing;
    window_axis #(.SIZE_BITS(SIZE_BITS)) columns (
        .clock(clock),
        .reset(reset),
        .next_tap(tap_ends && !nothing),
        .next_output(position_ends),
        .kernel(kernel_width),
        .stride(stride),
        .padding(padding),
        .size(input_width),
        .outputs(output_width),
        .in_bounds(column_in_bounds),
        .last_tap(last_tap_of_row),
        .last_output(last_column)
    );
    window_axis #(.SIZE_BITS(SIZE_BITS)) rows (
        .clock(clock),
        .reset(reset),
        .next_tap(row_ends && !nothing),
        .next_output(line_ends),
        .kernel(kernel_height),
        .stride(stride),
        .padding(padding),
        .size(input_height),
        .outputs(output_height),
        .in_bounds(row_in_bounds),
        .last_tap(last_row_of_window),
        .last_output(last_line)
    );

    // ---- onwards
    always @(posedge clock)
        if (reset)
            walking <= 1'b0;
        else if (start)
            walking <= 1'b1;
        else if (run_ends)
            walking <= 1'b0;

    always @(posedge clock)
        if (reset)
            plane <= {PLANE_BITS{1'b0}};
        else if (tap)
            plane <= last_plane ? {PLANE_BITS{1'b0}} : following_plane;

    always @(posedge clock)
        if (reset)
            inputs_done <= {INPUTS{1'b0}};
        else if (window_ends)
            inputs_done <= output_ends ? {INPUTS{1'b0}} : inputs_done | input_select;

    always @(posedge clock)
        if (reset)
            pace <= {PLANE_BITS{1'b0}};
        else if (output_ends)
            pace <= {PLANE_BITS{1'b0}};
        else if (walking && !paced)
            pace <= following_pace;

    always @(posedge clock)
        if (reset)
            slice <= {SIZE_BITS{1'b0}};
        else if (output_ends)
            slice <= last_slice ? {SIZE_BITS{1'b0}} : following_slice;

    always @(posedge clock)
        if (reset)
            steps_done <= {TIME_STEPS{1'b0}};
        else if (step_ends)
            steps_done <= last_step ? {TIME_STEPS{1'b0}} : steps_done | step;
endmodule
