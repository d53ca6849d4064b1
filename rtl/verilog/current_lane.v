// current_lane: sum or maximum of the currents of one channel.
//
// A tap outside the input counts as the neutral element: 0 for the sum, the lowest value for the maximum.
//
// Ports:
//   clock      in   1           rising edge
//   maximum    in   1           maximum, else sum
//   enable     in   1           a tap arrives
//   in_bounds  in   1           it lies inside the input: `current` is its value
//   current    in   VALUE_BITS  signed
//   first_tap  in   1           the tap is the first of its output
//   result     out  VALUE_BITS  signed, over the taps since the first; the compiler has proved that the sum fits
//
// Latency: 1 cycle.
module current_lane #(
    parameter VALUE_BITS = 24
) (
    input  wire                  clock,
    input  wire                  maximum,
    input  wire                  enable,
    input  wire                  in_bounds,
    input  wire [VALUE_BITS-1:0] current,
    input  wire                  first_tap,
    output reg  [VALUE_BITS-1:0] result
);
    wire [VALUE_BITS-1:0] neutral = {maximum, {(VALUE_BITS-1){1'b0}}};
    wire [VALUE_BITS-1:0] value = in_bounds ? current : neutral;
    wire [VALUE_BITS-1:0] held = first_tap ? neutral : result;

    // One adder: held + value, or held − value as held + ~value + 1, which is negative where value is the larger. Its
    // lowest bit makes that 1, its highest keeps the sign.
    wire [VALUE_BITS:0]   added = {value[VALUE_BITS-1], value} ^ {(VALUE_BITS+1){maximum}};
    wire [VALUE_BITS+1:0] total = {held[VALUE_BITS-1], held, maximum} + {added, maximum};
    wire [VALUE_BITS-1:0] larger = total[VALUE_BITS+1] ? value : held;

    always @(posedge clock)
        if (enable)
            result <= maximum ? larger : total[VALUE_BITS:1];

    wire unused = &{1'b0, total[0]};
endmodule
