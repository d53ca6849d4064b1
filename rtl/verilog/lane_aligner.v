// lane_aligner: turns a row of bits by some lanes and keeps a range of them.
//
// Ports:
//   row     in   ROWS      lanes as they were read
//   turn    in   ROW_BITS  lane i of the row goes to lane (i + turn) mod ROWS; less than ROWS
//   first   in   ROW_BITS  first lane that is kept
//   count   in   ROW_BITS  lanes that are kept; the others become 0
//   limit   in   ROW_BITS  lanes from here on become 0
//   lanes   out  ROWS      the result
//
// Latency: combinational.
module lane_aligner #(
    parameter ROWS = 16,
    parameter ROW_BITS = 5
) (
    input  wire [ROWS-1:0]     row,
    input  wire [ROW_BITS-1:0] turn,
    input  wire [ROW_BITS-1:0] first,
    input  wire [ROW_BITS-1:0] count,
    input  wire [ROW_BITS-1:0] limit,
    output wire [ROWS-1:0]     lanes
);
    wire [2*ROWS-1:0]   twice = {row, row} << turn;
    wire [ROW_BITS:0]   end_lane = {1'b0, first} + {1'b0, count};
    genvar lane;
    generate
        for (lane = 0; lane < ROWS; lane = lane + 1) begin : kept
            localparam [ROW_BITS:0] LANE = lane;
            assign lanes[lane] = twice[ROWS + lane] && LANE >= {1'b0, first} && LANE < end_lane && LANE < {1'b0, limit};
        end
    endgenerate

    wire unused = &{1'b0, twice[ROWS-1:0]};
endmodule
