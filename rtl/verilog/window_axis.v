// window_axis: one axis of a sliding window: which tap of which output, and whether it lies inside the input.
//
// Tap k of output o is at coordinate o·stride + k − padding. Both counters go back to 0 by themselves.
//
// Ports:
//   clock        in   1          rising edge
//   reset        in   1          synchronous
//   next_tap     in   1          the next tap of the window in the next cycle; after the last one the first
//   next_output  in   1          the window of the next output; after the last one the first
//   kernel       in   SIZE_BITS  taps of a window
//   stride       in   SIZE_BITS  between a window and the next one
//   padding      in   SIZE_BITS  how far the first window starts before the input
//   size         in   SIZE_BITS  of the input; with the padding on both sides it is below 2^SIZE_BITS
//   outputs      in   SIZE_BITS  windows
//   in_bounds    out  1          the tap lies inside the input
//   last_tap     out  1          it is the window's last
//   last_output  out  1          the window is the last
//
// Latency: combinational from three registers.
module window_axis #(
    parameter SIZE_BITS = 8
) (
    input  wire                 clock,
    input  wire                 reset,
    input  wire                 next_tap,
    input  wire                 next_output,
    input  wire [SIZE_BITS-1:0] kernel,
    input  wire [SIZE_BITS-1:0] stride,
    input  wire [SIZE_BITS-1:0] padding,
    input  wire [SIZE_BITS-1:0] size,
    input  wire [SIZE_BITS-1:0] outputs,
    output wire                 in_bounds,
    output wire                 last_tap,
    output wire                 last_output
);
    reg  [SIZE_BITS-1:0] tap;
    reg  [SIZE_BITS-1:0] output_index;
    reg  [SIZE_BITS-1:0] window;  // output_index · stride

    wire [SIZE_BITS-1:0] following_tap = tap + 1;
    wire [SIZE_BITS-1:0] following_output = output_index + 1;
    assign last_tap = following_tap == kernel;
    assign last_output = following_output == outputs;

    // Before the input the coordinate wraps to the far end of its range, which is outside too.
    wire [SIZE_BITS-1:0] coordinate = window + tap - padding;
    assign in_bounds = coordinate < size;

    always @(posedge clock)
        if (reset)
            tap <= {SIZE_BITS{1'b0}};
        else if (next_tap)
            tap <= last_tap ? {SIZE_BITS{1'b0}} : following_tap;

    always @(posedge clock)
        if (reset) begin
            output_index <= {SIZE_BITS{1'b0}};
            window <= {SIZE_BITS{1'b0}};
        end else if (next_output) begin
            output_index <= last_output ? {SIZE_BITS{1'b0}} : following_output;
            window <= last_output ? {SIZE_BITS{1'b0}} : window + stride;
        end
endmodule
