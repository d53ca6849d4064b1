// weight_cell: the two weight registers of one row and column: one computes while the other loads.
//
// Ports:
//   clock         in   1            rising edge
//   write_enable  in   2            bit b: store write_weight in bank b
//   write_weight  in   WEIGHT_BITS  a signed weight
//   bank          in   1            the bank that computes
//   weight        out  WEIGHT_BITS  its weight
//
// Latency: combinational from bank; a written weight is visible in the next cycle.
module weight_cell #(
    parameter WEIGHT_BITS = 8
) (
    input  wire                   clock,
    input  wire [1:0]             write_enable,
    input  wire [WEIGHT_BITS-1:0] write_weight,
    input  wire                   bank,
    output wire [WEIGHT_BITS-1:0] weight
);
    reg [WEIGHT_BITS-1:0] bank_0;
    reg [WEIGHT_BITS-1:0] bank_1;

    assign weight = bank ? bank_1 : bank_0;

    always @(posedge clock) begin
        if (write_enable[0])
            bank_0 <= write_weight;
        if (write_enable[1])
            bank_1 <= write_weight;
    end
endmodule
