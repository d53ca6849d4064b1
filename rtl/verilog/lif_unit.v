// lif_unit: the walk's arithmetic for one row: COLUMNS currents, and the neurons that take them.
//
//   current = (accumulator << current_shift) + bias, or the one that was stored
//
// An integrating neuron never fires.
//
// U comes from the channel's `initial` at the first state step, from the membrane memory where the step was read
// from there (time outermost), else from the register that holds the row of the step before (time innermost).
//
// Ports:
//   clock             in   1                             rising edge
//   visit             in   1                             a row of currents is made, for the update in the next cycle
//   update            in   1                             the neurons take it
//   first             in   1                             update cycle: it is the neurons' first state step
//   from_memory       in   1                             update cycle: memory_row holds their membranes
//   output_live       in   1                             update cycle: the output is live; spikes are gated with it
//   accumulators      in   COLUMNS*ACCUMULATOR_BITS      visit cycle: the sums, 0 where the step owns none
//   parameters        in   COLUMNS*4*VALUE_BITS          per channel, from the top: initial, reset_to, threshold, bias
//   use_parameters    in   1                             else they are all 0
//   stored            in   1                             the current is the one that was stored
//   stored_row        in   COLUMNS*MEMBRANE_BITS         visit cycle: it
//   integrates        in   1                             nothing fires
//   memory_row        in   COLUMNS*MEMBRANE_BITS         update cycle: membranes read from their memory
//   current_shift     in   SHIFT_BITS                    as in the schedule
//   hard_reset        in   1                             as in lif_neuron
//   leak_fixed        in   1                             as in lif_neuron
//   leak_shift        in   SHIFT_BITS                    as in lif_neuron
//   leak_multiplier   in   LEAK_MULTIPLIER_BITS          as in lif_neuron
//   spikes            out  COLUMNS                       fires & output_live
//   membranes         out  COLUMNS*MEMBRANE_BITS         U after reset
//   currents          out  COLUMNS*VALUE_BITS            the currents
//
// Latency: 1 cycle from a visit to its update, whose outputs are combinational.
module lif_unit #(
    parameter COLUMNS = 16,
    parameter ACCUMULATOR_BITS = 24,
    parameter MEMBRANE_BITS = 24,
    parameter VALUE_BITS = 24,
    parameter SHIFT_BITS = 6,
    parameter FIXED_LEAK = 0,
    parameter LEAK_MULTIPLIER_BITS = 1
) (
    input  wire                                clock,
    input  wire                                visit,
    input  wire                                update,
    input  wire                                first,
    input  wire                                from_memory,
    input  wire                                output_live,
    input  wire [COLUMNS*ACCUMULATOR_BITS-1:0] accumulators,
    input  wire [COLUMNS*4*VALUE_BITS-1:0]     parameters,
    input  wire                                use_parameters,
    input  wire                                stored,
    input  wire [COLUMNS*MEMBRANE_BITS-1:0]    stored_row,
    input  wire                                integrates,
    input  wire [COLUMNS*MEMBRANE_BITS-1:0]    memory_row,
    input  wire [SHIFT_BITS-1:0]               current_shift,
    input  wire                                hard_reset,
    input  wire                                leak_fixed,
    input  wire [SHIFT_BITS-1:0]               leak_shift,
    input  wire [LEAK_MULTIPLIER_BITS-1:0]     leak_multiplier,
    output wire [COLUMNS-1:0]                  spikes,
    output wire [COLUMNS*MEMBRANE_BITS-1:0]    membranes,
    output wire [COLUMNS*VALUE_BITS-1:0]       currents
);
    genvar column;
    generate
        for (column = 0; column < COLUMNS; column = column + 1) begin : columns
            wire [VALUE_BITS-1:0] initial_value, reset_to, threshold, stored_bias;
            assign {initial_value, reset_to, threshold, stored_bias} = parameters[column*4*VALUE_BITS +: 4*VALUE_BITS];

            wire signed [ACCUMULATOR_BITS-1:0] accumulator = accumulators[column*ACCUMULATOR_BITS +: ACCUMULATOR_BITS];
            wire signed [VALUE_BITS:0] wide = {{(VALUE_BITS+1-ACCUMULATOR_BITS){accumulator[ACCUMULATOR_BITS-1]}}, accumulator};
            wire signed [VALUE_BITS:0] shifted = wide << current_shift;
            wire [VALUE_BITS-1:0] bias = use_parameters ? stored_bias : {VALUE_BITS{1'b0}};
            wire [MEMBRANE_BITS-1:0] stored_value = stored_row[column*MEMBRANE_BITS +: MEMBRANE_BITS];
            reg  [VALUE_BITS-1:0]    stored_current;
            always @* begin
                stored_current = {VALUE_BITS{stored_value[MEMBRANE_BITS-1]}};
                stored_current[MEMBRANE_BITS-1:0] = stored_value;
            end
            wire [VALUE_BITS-1:0]    made_current = stored ? stored_current : shifted[VALUE_BITS-1:0] + bias;
            wire [VALUE_BITS:0]      wide_current = {made_current[VALUE_BITS-1], made_current};
            reg  [VALUE_BITS-1:0]    current;
            reg  [VALUE_BITS:0]      above_threshold, above_reset;
            always @(posedge clock)
                if (visit) begin
                    current <= made_current;
                    above_threshold <= wide_current - {threshold[VALUE_BITS-1], threshold};
                    above_reset <= wide_current - {reset_to[VALUE_BITS-1], reset_to};
                end
            assign currents[column*VALUE_BITS +: VALUE_BITS] = current;

            reg  [MEMBRANE_BITS-1:0] held_membrane;
            wire [MEMBRANE_BITS-1:0] kept = from_memory ? memory_row[column*MEMBRANE_BITS +: MEMBRANE_BITS] : held_membrane;
            wire [MEMBRANE_BITS-1:0] begun = use_parameters ? initial_value[MEMBRANE_BITS-1:0] : {MEMBRANE_BITS{1'b0}};
            wire [MEMBRANE_BITS-1:0] membrane = first ? begun : kept;
            wire [MEMBRANE_BITS-1:0] next_membrane;
            wire                     fires;
            lif_neuron #(
                .MEMBRANE_BITS(MEMBRANE_BITS), .VALUE_BITS(VALUE_BITS), .SHIFT_BITS(SHIFT_BITS),
                .FIXED_LEAK(FIXED_LEAK), .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS)
            ) neuron (
                .membrane(membrane),
                .current(current),
                .above_threshold(above_threshold),
                .above_reset(above_reset),
                .reset_to(reset_to),
                .hard_reset(hard_reset),
                .leak_fixed(leak_fixed),
                .leak_shift(leak_shift),
                .leak_multiplier(leak_multiplier),
                .never_fires(integrates),
                .fires(fires),
                .next_membrane(next_membrane)
            );
            assign spikes[column] = fires & output_live;
            assign membranes[column*MEMBRANE_BITS +: MEMBRANE_BITS] = next_membrane;

            always @(posedge clock)
                if (update)
                    held_membrane <= next_membrane;

            // Bits that only a wider parameter, or the guard bit of the shift, would have.
            wire unused = &{1'b0, shifted[VALUE_BITS], initial_value};
        end
    endgenerate
endmodule
