// shift_add_product: product = signed_factor · factor, by adding one shifted copy for each bit of `factor`.
//
// Ports:
//   signed_factor  in   SIGNED_BITS              two's complement
//   factor         in   FACTOR_BITS              unsigned
//   product        out  SIGNED_BITS+FACTOR_BITS  two's complement, exact
//
// Latency: combinational.
module shift_add_product #(
    parameter SIGNED_BITS = 24,
    parameter FACTOR_BITS = 8
) (
    input  wire [SIGNED_BITS-1:0]             signed_factor,
    input  wire [FACTOR_BITS-1:0]             factor,
    output reg  [SIGNED_BITS+FACTOR_BITS-1:0] product
);
    wire [SIGNED_BITS+FACTOR_BITS-1:0] extended = {{FACTOR_BITS{signed_factor[SIGNED_BITS-1]}}, signed_factor};

    integer index;
    always @* begin
        product = {(SIGNED_BITS+FACTOR_BITS){1'b0}};
        for (index = 0; index < FACTOR_BITS; index = index + 1)
            if (factor[index])
                product = product + (extended << index);
    end
endmodule
