// layer_fields: names for the bits of a layer's configuration, the last field in the lowest bits.
//
// Ports:
//   layer               in   LAYER_BITS            the configuration, constant while the layer runs
//   has_neuron          out  1                     the walk updates neurons; else it stores currents
//   integrates          out  1                     the neurons never fire: their state is the result
//   stored_currents     out  1                     the walk reads the currents that another node stored
//   reads_parameters    out  1                     the walk reads a parameter row
//   stationary_operand  out  1                     the weight tiles are attention's stationary operand
//   hard_reset          out  1                     as in lif_neuron
//   leak_fixed          out  1                     as in lif_neuron
//   leak_shift          out  SHIFT_BITS            as in lif_neuron
//   leak_multiplier     out  LEAK_MULTIPLIER_BITS  as in lif_neuron
//   current_shift       out  SHIFT_BITS            as in lif_unit
//   state_steps         out  TIME_STEPS            this and the next five: as in mask_unit
//   active_steps        out  TIME_STEPS            as in mask_unit
//   slot_steps          out  TIME_STEPS            as in mask_unit
//   reused_steps        out  TIME_STEPS            as in mask_unit
//   membrane_reads      out  TIME_STEPS            as in mask_unit
//   membrane_writes     out  TIME_STEPS            as in mask_unit
//   walk_slot_stride    out  SLOT_BITS             slots of a position
//   planes              out  PLANE_BITS            this and the rest: as in slot_counter
//   group_planes        out  PLANE_BITS            as in slot_counter
//   group_slots         out  SLOT_BITS             as in slot_counter
//   slot_stride         out  SLOT_BITS             as in slot_counter
//   lane_planes         out  GROUP*PLANE_BITS      as in slot_counter
//   lane_slots          out  GROUP*SLOT_BITS       as in slot_counter
//
// Latency: none, wires only.
module layer_fields #(
    parameter LAYER_BITS = 8,
    parameter GROUP = 4,
    parameter SHIFT_BITS = 6,
    parameter LEAK_MULTIPLIER_BITS = 1,
    parameter TIME_STEPS = 4,
    parameter SLOT_BITS = 5,
    parameter PLANE_BITS = 5
) (
    input  wire [LAYER_BITS-1:0]           layer,
    output wire                            has_neuron,
    output wire                            integrates,
    output wire                            stored_currents,
    output wire                            reads_parameters,
    output wire                            stationary_operand,
    output wire                            hard_reset,
    output wire                            leak_fixed,
    output wire [SHIFT_BITS-1:0]           leak_shift,
    output wire [LEAK_MULTIPLIER_BITS-1:0] leak_multiplier,
    output wire [SHIFT_BITS-1:0]           current_shift,
    output wire [TIME_STEPS-1:0]           state_steps,
    output wire [TIME_STEPS-1:0]           active_steps,
    output wire [TIME_STEPS-1:0]           slot_steps,
    output wire [TIME_STEPS-1:0]           reused_steps,
    output wire [TIME_STEPS-1:0]           membrane_reads,
    output wire [TIME_STEPS-1:0]           membrane_writes,
    output wire [SLOT_BITS-1:0]            walk_slot_stride,
    output wire [PLANE_BITS-1:0]           planes,
    output wire [PLANE_BITS-1:0]           group_planes,
    output wire [SLOT_BITS-1:0]            group_slots,
    output wire [SLOT_BITS-1:0]            slot_stride,
    output wire [GROUP*PLANE_BITS-1:0]     lane_planes,
    output wire [GROUP*SLOT_BITS-1:0]      lane_slots
);
    assign {
        has_neuron, integrates, stored_currents, reads_parameters, stationary_operand, hard_reset, leak_fixed,
        leak_shift, leak_multiplier, current_shift, state_steps, active_steps, slot_steps, reused_steps, membrane_reads, membrane_writes,
        walk_slot_stride, planes, group_planes, group_slots, slot_stride, lane_planes, lane_slots
    } = layer;
endmodule
