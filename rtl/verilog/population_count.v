// population_count: ones in a vector, as a tree of two-input adders.
//
// Ports:
//   bits   in   WIDTH       the vector
//   count  out  COUNT_BITS  ones in it; COUNT_BITS = ceil(log2(WIDTH + 1))
//
// Latency: combinational. The module instantiates itself for the two halves.
module population_count #(
    parameter WIDTH = 16,
    parameter COUNT_BITS = $clog2(WIDTH + 1)
) (
    input  wire [WIDTH-1:0]      bits,
    output wire [COUNT_BITS-1:0] count
);
    localparam LOW_WIDTH = WIDTH - WIDTH / 2;
    localparam HIGH_WIDTH = WIDTH / 2;
    localparam LOW_BITS = $clog2(LOW_WIDTH + 1);
    localparam HIGH_BITS = $clog2(HIGH_WIDTH + 1);

    generate
        if (WIDTH == 1) begin : leaf
            assign count = bits;
        end else begin : node
            wire [LOW_BITS-1:0]  low;
            wire [HIGH_BITS-1:0] high;
            population_count #(.WIDTH(LOW_WIDTH)) low_half (.bits(bits[LOW_WIDTH-1:0]), .count(low));
            population_count #(.WIDTH(HIGH_WIDTH)) high_half (.bits(bits[WIDTH-1:LOW_WIDTH]), .count(high));
            assign count = {{(COUNT_BITS-LOW_BITS){1'b0}}, low} + {{(COUNT_BITS-HIGH_BITS){1'b0}}, high};
        end
    endgenerate
endmodule
