// population_count: ones in a vector.
//
// Ports:
//   bits   in   WIDTH       the vector
//   count  out  COUNT_BITS  ones in it; COUNT_BITS holds WIDTH
//
// Latency: combinational.
module population_count #(
    parameter WIDTH = 16,
    parameter COUNT_BITS = 5
) (
    input  wire [WIDTH-1:0]      bits,
    output reg  [COUNT_BITS-1:0] count
);
    integer index;
    always @* begin
        count = {COUNT_BITS{1'b0}};
        for (index = 0; index < WIDTH; index = index + 1)
            if (bits[index])
                count = count + 1;
    end
endmodule
