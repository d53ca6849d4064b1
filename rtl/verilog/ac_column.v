// ac_column: one output channel of the array: Σ_r weight[r] & {spike[r]} over ROWS lanes.
//
// Ports:
//   clock           in   1                          rising edge
//   write_beat      in   BEATS                      bit k: store rows k·LOAD_ROWS … of the tile being loaded
//   write_bank      in   1                          the bank that loads
//   write_weights   in   LOAD_ROWS*WEIGHT_BITS      LOAD_ROWS signed weights, the lowest row in the lowest bits
//   enable          in   1                          `spikes` is an issued word: take its sum
//   spikes          in   ROWS                       one bit a lane
//   bank            in   1                          the bank that computes
//   sum             out  SUM_BITS                   signed sum of the word taken last
//
// BEATS = ceil(ROWS / LOAD_ROWS); SUM_BITS = WEIGHT_BITS + ceil(log2(ROWS)).
// Latency: 1 cycle from spikes to sum. A row written in cycle n takes part in words of cycle n + 1 on.
module ac_column #(
    parameter ROWS = 16,
    parameter WEIGHT_BITS = 8,
    parameter LOAD_ROWS = 1,
    parameter BEATS = 16,
    parameter SUM_BITS = 12
) (
    input  wire                             clock,
    input  wire [BEATS-1:0]                 write_beat,
    input  wire                             write_bank,
    input  wire [LOAD_ROWS*WEIGHT_BITS-1:0] write_weights,
    input  wire                             enable,
    input  wire [ROWS-1:0]                  spikes,
    input  wire                             bank,
    output reg  [SUM_BITS-1:0]              sum
);
    wire [ROWS*WEIGHT_BITS-1:0] weights;
    wire [BEATS-1:0]            write_bank_0 = write_bank ? {BEATS{1'b0}} : write_beat;
    wire [BEATS-1:0]            write_bank_1 = write_bank ? write_beat : {BEATS{1'b0}};

    genvar row;
    generate
        for (row = 0; row < ROWS; row = row + 1) begin : lanes
            weight_cell #(.WEIGHT_BITS(WEIGHT_BITS)) cell_of_row (
                .clock(clock),
                .write_enable({write_bank_1[row/LOAD_ROWS], write_bank_0[row/LOAD_ROWS]}),
                .write_weight(write_weights[(row%LOAD_ROWS)*WEIGHT_BITS +: WEIGHT_BITS]),
                .bank(bank),
                .weight(weights[row*WEIGHT_BITS +: WEIGHT_BITS])
            );
        end
    endgenerate

    // The AND bank. One process for all lanes: a simulator then evaluates the tree once a word, not once a lane.
    reg [ROWS*WEIGHT_BITS-1:0] gated_weights;
    integer lane;
    always @*
        for (lane = 0; lane < ROWS; lane = lane + 1)
            gated_weights[lane*WEIGHT_BITS +: WEIGHT_BITS] =
                {WEIGHT_BITS{spikes[lane]}} & weights[lane*WEIGHT_BITS +: WEIGHT_BITS];

    wire [SUM_BITS-1:0] tree_sum;
    adder_tree #(.TERMS(ROWS), .TERM_BITS(WEIGHT_BITS)) tree (.terms(gated_weights), .sum(tree_sum));

    always @(posedge clock)
        if (enable)
            sum <= tree_sum;
endmodule
