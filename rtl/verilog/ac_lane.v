// ac_lane: one row of one column: two weight registers (one computes while the other loads) and the AND bank.
//
// Ports:
//   clock         in   1            rising edge
//   write_enable  in   2            bit b: store write_weight in bank b
//   write_weight  in   WEIGHT_BITS  a signed weight
//   bank          in   1            the bank that computes
//   spike         in   1            the spike bit of this row
//   gated_weight  out  WEIGHT_BITS  the weight where the spike is 1, else 0
//
// Latency: combinational from spike and bank; a written weight is visible in the next cycle.
module ac_lane #(
    parameter WEIGHT_BITS = 8
) (
    input  wire                   clock,
    input  wire [1:0]             write_enable,
    input  wire [WEIGHT_BITS-1:0] write_weight,
    input  wire                   bank,
    input  wire                   spike,
    output wire [WEIGHT_BITS-1:0] gated_weight
);
    reg [WEIGHT_BITS-1:0] bank_0;
    reg [WEIGHT_BITS-1:0] bank_1;

    assign gated_weight = {WEIGHT_BITS{spike}} & (bank ? bank_1 : bank_0);

    always @(posedge clock) begin
        if (write_enable[0])
            bank_0 <= write_weight;
        if (write_enable[1])
            bank_1 <= write_weight;
    end
endmodule
