// adder_tree: exact sum of signed terms, as a tree of two-input adders that grow by one bit a level.
//
// Ports:
//   terms  in   TERMS*TERM_BITS   signed terms side by side, term 0 in the lowest bits
//   sum    out  SUM_BITS          their sum; SUM_BITS = TERM_BITS + ceil(log2(TERMS))
//
// Latency: combinational. The module instantiates itself for the two halves.
module adder_tree #(
    parameter TERMS = 16,
    parameter TERM_BITS = 8,
    parameter SUM_BITS = TERM_BITS + $clog2(TERMS)
) (
    input  wire        [TERMS*TERM_BITS-1:0] terms,
    output wire signed [SUM_BITS-1:0]        sum
);
    localparam LOW_TERMS = TERMS - TERMS / 2;
    localparam HIGH_TERMS = TERMS / 2;
    localparam LOW_BITS = TERM_BITS + $clog2(LOW_TERMS);
    localparam HIGH_BITS = TERM_BITS + $clog2(HIGH_TERMS);

    generate
        if (TERMS == 1) begin : leaf
            assign sum = terms;
        end else begin : node
            wire signed [LOW_BITS-1:0]  low;
            wire signed [HIGH_BITS-1:0] high;
            adder_tree #(.TERMS(LOW_TERMS), .TERM_BITS(TERM_BITS)) low_half (
                .terms(terms[LOW_TERMS*TERM_BITS-1:0]), .sum(low)
            );
            adder_tree #(.TERMS(HIGH_TERMS), .TERM_BITS(TERM_BITS)) high_half (
                .terms(terms[TERMS*TERM_BITS-1:LOW_TERMS*TERM_BITS]), .sum(high)
            );
            assign sum = {{(SUM_BITS-LOW_BITS){low[LOW_BITS-1]}}, low}
                       + {{(SUM_BITS-HIGH_BITS){high[HIGH_BITS-1]}}, high};
        end
    endgenerate
endmodule
