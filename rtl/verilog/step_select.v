// step_select: the base address that belongs to a time step.
//
// Ports:
//   step   in   TIME_STEPS               one-hot
//   bases  in   TIME_STEPS*ADDRESS_BITS  one address a step, step 0 in the lowest bits
//   base   out  ADDRESS_BITS             that of the step
//
// Latency: combinational.
module step_select #(
    parameter TIME_STEPS = 4,
    parameter ADDRESS_BITS = 12
) (
    input  wire [TIME_STEPS-1:0]              step,
    input  wire [TIME_STEPS*ADDRESS_BITS-1:0] bases,
    output reg  [ADDRESS_BITS-1:0]            base
);
    integer index;
    always @* begin
        base = {ADDRESS_BITS{1'b0}};
        for (index = 0; index < TIME_STEPS; index = index + 1)
            if (step[index])
                base = bases[index*ADDRESS_BITS +: ADDRESS_BITS];
    end
endmodule
