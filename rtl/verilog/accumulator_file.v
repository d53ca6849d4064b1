// accumulator_file: SLOTS × COLUMNS accumulators beside the array; one row is read, added to and written a cycle.
//
// A slot that was not written since `clear` reads as 0, so no stale sum is ever used and clearing costs no cycle.
//
// Ports:
//   clock       in   1                            rising edge
//   reset       in   1                            synchronous, clears
//   clear       in   1                            every slot reads as 0 from the next cycle on
//   accumulate  in   1                            slot `slot` += sums << plane
//   read        in   1                            the walk reads slot `slot`
//   slot        in   SLOT_BITS                    the row accumulated into, or read by the walk
//   plane       in   PLANE_BITS                   bit plane of the word that gave `sums`
//   sums        in   COLUMNS*SUM_BITS             signed sums of the array
//   row         out  COLUMNS*ACCUMULATOR_BITS     the slot's accumulators where `read`, else 0: nothing behind it moves
//
// Latency: combinational read; an addition of cycle n is readable in n + 1.
module accumulator_file #(
    parameter COLUMNS = 16,
    parameter SLOTS = 32,
    parameter SLOT_BITS = 5,
    parameter PLANE_BITS = 5,
    parameter SUM_BITS = 12,
    parameter ACCUMULATOR_BITS = 24
) (
    input  wire                                clock,
    input  wire                                reset,
    input  wire                                clear,
    input  wire                                accumulate,
    input  wire                                read,
    input  wire [SLOT_BITS-1:0]                slot,
    input  wire [PLANE_BITS-1:0]               plane,
    input  wire [COLUMNS*SUM_BITS-1:0]         sums,
    output wire [COLUMNS*ACCUMULATOR_BITS-1:0] row
);
    reg  [SLOTS-1:0] written;
    wire             slot_written = written[slot];

    genvar column;
    generate
        for (column = 0; column < COLUMNS; column = column + 1) begin : columns
            reg  [ACCUMULATOR_BITS-1:0] accumulators [0:SLOTS-1];
            wire [ACCUMULATOR_BITS-1:0] held = slot_written ? accumulators[slot] : {ACCUMULATOR_BITS{1'b0}};
            assign row[column*ACCUMULATOR_BITS +: ACCUMULATOR_BITS] = read ? held : {ACCUMULATOR_BITS{1'b0}};

            wire [SUM_BITS-1:0]         sum = sums[column*SUM_BITS +: SUM_BITS];
            reg  [ACCUMULATOR_BITS-1:0] extended;
            always @* begin
                extended = {ACCUMULATOR_BITS{sum[SUM_BITS-1]}};
                extended[SUM_BITS-1:0] = sum;
            end

            always @(posedge clock)
                if (accumulate)
                    accumulators[slot] <= held + (extended << plane);
        end
    endgenerate

    always @(posedge clock)
        if (reset || clear)
            written <= {SLOTS{1'b0}};
        else if (accumulate)
            written[slot] <= 1'b1;
endmodule
