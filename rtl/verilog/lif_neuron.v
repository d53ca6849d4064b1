// lif_neuron: one time step of one leaky integrate-and-fire neuron, exactly.
//
//   H = leak(U) + I;   Y = [H >= θ] = [leak(U) + (I − θ) >= 0];   U' = Y ? R : H (hard)
//   U' = H − R·Y = leak(U) + (Y ? I − R : I) (soft)
//   leak(U) = U − (U >>> leak_shift)              where leak_fixed = 0
//   leak(U) = (U · leak_multiplier) >>> leak_shift  where leak_fixed = 1 (built only if FIXED_LEAK = 1)
//
// Ports:
//   membrane         in   MEMBRANE_BITS         U, signed
//   current          in   VALUE_BITS            I, signed
//   above_threshold  in   VALUE_BITS+1          I − θ, signed
//   above_reset      in   VALUE_BITS+1          I − R, signed
//   reset_to         in   VALUE_BITS            R, signed
//   hard_reset       in   1                     hard, else soft
//   leak_fixed       in   1                     fixed-point leak, else shift leak
//   leak_shift       in   SHIFT_BITS            the shift, or the fraction bits of leak_multiplier
//   leak_multiplier  in   LEAK_MULTIPLIER_BITS  unsigned, at most 2^leak_shift
//   never_fires      in   1                     an integrator
//   fires            out  1                     Y
//   next_membrane    out  MEMBRANE_BITS         U', signed; the compiler has proved that it fits
//
// Latency: combinational.
module lif_neuron #(
    parameter MEMBRANE_BITS = 24,
    parameter VALUE_BITS = 24,
    parameter SHIFT_BITS = 6,
    parameter FIXED_LEAK = 0,
    parameter LEAK_MULTIPLIER_BITS = 1
) (
    input  wire signed [MEMBRANE_BITS-1:0]        membrane,
    input  wire signed [VALUE_BITS-1:0]           current,
    input  wire signed [VALUE_BITS:0]             above_threshold,
    input  wire signed [VALUE_BITS:0]             above_reset,
    input  wire signed [VALUE_BITS-1:0]           reset_to,
    input  wire                                   hard_reset,
    input  wire                                   leak_fixed,
    input  wire        [SHIFT_BITS-1:0]           leak_shift,
    input  wire        [LEAK_MULTIPLIER_BITS-1:0] leak_multiplier,
    input  wire                                   never_fires,
    output wire                                   fires,
    output wire        [MEMBRANE_BITS-1:0]        next_membrane
);
    // Two bits more than a current: the sum of a membrane and of the difference of two values never wraps.
    localparam POTENTIAL_BITS = VALUE_BITS + 2;
    localparam PRODUCT_BITS = MEMBRANE_BITS + LEAK_MULTIPLIER_BITS;

    wire signed [MEMBRANE_BITS-1:0] lost = membrane >>> leak_shift;
    wire signed [MEMBRANE_BITS-1:0] leaked;

    generate
        if (FIXED_LEAK != 0) begin : fixed_leak
            wire signed [PRODUCT_BITS-1:0] product;
            shift_add_product #(.SIGNED_BITS(MEMBRANE_BITS), .FACTOR_BITS(LEAK_MULTIPLIER_BITS)) scale (
                .signed_factor(membrane), .factor(leak_multiplier), .product(product)
            );
            wire signed [PRODUCT_BITS-1:0] scaled = product >>> leak_shift;
            assign leaked = leak_fixed ? scaled[MEMBRANE_BITS-1:0] : membrane - lost;
            wire unused = &{1'b0, scaled[PRODUCT_BITS-1:MEMBRANE_BITS]};
        end else begin : shift_leak
            assign leaked = membrane - lost;
            wire unused = &{1'b0, leak_fixed, leak_multiplier};
        end
    endgenerate

    wire signed [POTENTIAL_BITS-1:0] wide_leaked =
        {{(POTENTIAL_BITS-MEMBRANE_BITS){leaked[MEMBRANE_BITS-1]}}, leaked};
    wire signed [POTENTIAL_BITS-1:0] wide_current = {{2{current[VALUE_BITS-1]}}, current};
    wire signed [POTENTIAL_BITS-1:0] wide_above_threshold = {above_threshold[VALUE_BITS], above_threshold};
    wire signed [POTENTIAL_BITS-1:0] wide_above_reset = {above_reset[VALUE_BITS], above_reset};
    wire signed [POTENTIAL_BITS-1:0] wide_reset_to = {{2{reset_to[VALUE_BITS-1]}}, reset_to};

    // Three sums beside one another, and the one that holds.
    wire signed [POTENTIAL_BITS-1:0] potential = wide_leaked + wide_current;
    wire signed [POTENTIAL_BITS-1:0] beyond_threshold = wide_leaked + wide_above_threshold;
    wire signed [POTENTIAL_BITS-1:0] beyond_reset = wide_leaked + wide_above_reset;
    assign fires = !beyond_threshold[POTENTIAL_BITS-1] && !never_fires;

    wire signed [POTENTIAL_BITS-1:0] after_reset = hard_reset ? wide_reset_to : beyond_reset;
    wire signed [POTENTIAL_BITS-1:0] updated = fires ? after_reset : potential;
    assign next_membrane = updated[MEMBRANE_BITS-1:0];

    wire unused = &{1'b0, updated[POTENTIAL_BITS-1:MEMBRANE_BITS], beyond_threshold[POTENTIAL_BITS-2:0]};
endmodule
