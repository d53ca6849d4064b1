// run_controller: carries out the program of a network, one row after the other, for one image.
//
// A row names a unit, and its payload configures it. It is read while the row before is carried out, fetched into a
// register in one cycle, begun in the next (later, if its weights have not arrived), and followed by the next row when
// the unit has ended.
//
// Ports:
//   clock              in   1             rising edge
//   reset              in   1             synchronous
//   start              in   1             an image; not while busy
//   image_done         in   1             it has arrived
//   program_read       out  1             a row of the program is read
//   program_address    out  PROGRAM_BITS  its number
//   program_fetch      out  1             the row read last goes to the register
//   operation          in   2             of the row in the register: 0 run, 1 fill, 2 elementwise, 3 end
//   transfers_needed   in   COUNT_BITS    weight transfers that must have arrived before it begins
//   transfers_arrived  in   COUNT_BITS    so far, for this image
//   run_ends           in   1             strip_engine's last cycle
//   fill_ends          in   1             stationary_loader's last cycle
//   elementwise_ends   in   1             the elementwise unit's last cycle
//   begin_image        out  1             the image may come, and transfers may begin
//   begin_run          out  1             strip_engine starts
//   begin_fill         out  1             stationary_loader starts
//   begin_elementwise  out  1             the elementwise unit starts
//   rows_done          out  PROGRAM_BITS  rows of the program that have ended, for this image
//   busy               out  1             an image is on its way
//   control            out  1             this cycle fetches or begins
//   stalls             out  1             this cycle waits for the image or for weights
//   ends               out  1             the last cycle: all logits are stored
//
// Latency: two cycles for each row, and what its unit takes.
module run_controller #(
    parameter PROGRAM_BITS = 8,
    parameter COUNT_BITS = 8
) (
    input  wire                    clock,
    input  wire                    reset,
    input  wire                    start,
    input  wire                    image_done,
    output wire                    program_read,
    output wire [PROGRAM_BITS-1:0] program_address,
    output wire                    program_fetch,
    input  wire [1:0]              operation,
    input  wire [COUNT_BITS-1:0]   transfers_needed,
    input  wire [COUNT_BITS-1:0]   transfers_arrived,
    input  wire                    run_ends,
    input  wire                    fill_ends,
    input  wire                    elementwise_ends,
    output wire                    begin_image,
    output wire                    begin_run,
    output wire                    begin_fill,
    output wire                    begin_elementwise,
    output reg  [PROGRAM_BITS-1:0] rows_done,
    output wire                    busy,
    output wire                    control,
    output wire                    stalls,
    output wire                    ends
);
    localparam IDLE = 3'd0, IMAGE = 3'd1, FETCH = 3'd2, BEGIN = 3'd3, WORK = 3'd4;
    reg [2:0] state;

    wire begins = (state == BEGIN) && (transfers_arrived >= transfers_needed);
    wire unit_ends = run_ends || fill_ends || elementwise_ends;
    assign begin_image = start && (state == IDLE);
    assign program_read = begin_image || (begins && !ends);
    assign program_address = begin_image ? {PROGRAM_BITS{1'b0}} : rows_done + 1;
    assign program_fetch = state == FETCH;
    assign begin_run = begins && (operation == 2'd0);
    assign begin_fill = begins && (operation == 2'd1);
    assign begin_elementwise = begins && (operation == 2'd2);
    assign ends = begins && (operation == 2'd3);
    assign busy = state != IDLE;
    assign control = program_fetch || begins;
    assign stalls = (state == IMAGE) || ((state == BEGIN) && !begins);

    always @(posedge clock)
        if (reset)
            state <= IDLE;
        else
            case (state)
                IDLE: state <= start ? IMAGE : IDLE;
                IMAGE: state <= image_done ? FETCH : IMAGE;
                FETCH: state <= BEGIN;
                BEGIN: state <= !begins ? BEGIN : ends ? IDLE : WORK;
                default: state <= unit_ends ? FETCH : WORK;
            endcase

    always @(posedge clock)
        if (state == IDLE)
            rows_done <= {PROGRAM_BITS{1'b0}};
        else if ((state == WORK) && unit_ends)
            rows_done <= rows_done + 1;
endmodule
