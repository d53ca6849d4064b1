// unit_bench: harness of the leaf modules, so that one build serves all unit benches. Ports are named <unit>_<port>.
module unit_bench #(
    parameter ROWS = 16,
    parameter GROUP = 4,
    parameter TIME_STEPS = 4,
    parameter WEIGHT_BITS = 8,
    parameter LOAD_ROWS = 1,
    parameter MEMBRANE_BITS = 24,
    parameter VALUE_BITS = 24,
    parameter SLOT_BITS = 5,
    parameter SHIFT_BITS = 6,
    parameter PLANE_BITS = 5,
    parameter LEAK_MULTIPLIER_BITS = 8,
    parameter LANE_BITS = (GROUP > 1) ? $clog2(GROUP) : 1,
    parameter BEATS = (ROWS + LOAD_ROWS - 1) / LOAD_ROWS,
    parameter SUM_BITS = WEIGHT_BITS + $clog2(ROWS),
    parameter ROW_BITS = $clog2(ROWS + 1)
) (
    input  wire                             clock,
    input  wire                             reset,

    input  wire                             skipper_enable,
    input  wire [GROUP-1:0]                 skipper_flags,
    output wire                             skipper_issue,
    output wire [LANE_BITS-1:0]             skipper_lane,
    output wire                             skipper_group_done,

    input  wire                             slots_load,
    input  wire                             slots_advance,
    input  wire [SLOT_BITS-1:0]             slots_first_slot,
    input  wire [PLANE_BITS-1:0]            slots_planes,
    input  wire [PLANE_BITS-1:0]            slots_group_planes,
    input  wire [SLOT_BITS-1:0]             slots_group_slots,
    input  wire [SLOT_BITS-1:0]             slots_slot_stride,
    input  wire [GROUP*PLANE_BITS-1:0]      slots_lane_planes,
    input  wire [GROUP*SLOT_BITS-1:0]       slots_lane_slots,
    input  wire [LANE_BITS-1:0]             slots_lane,
    output wire [SLOT_BITS-1:0]             slots_slot,
    output wire [PLANE_BITS-1:0]            slots_plane,

    input  wire [BEATS-1:0]                 column_write_beat,
    input  wire                             column_write_bank,
    input  wire [LOAD_ROWS*WEIGHT_BITS-1:0] column_write_weights,
    input  wire                             column_enable,
    input  wire [ROWS-1:0]                  column_spikes,
    input  wire                             column_bank,
    output wire [SUM_BITS-1:0]              column_sum,

    input  wire [ROWS-1:0]                  aligner_row,
    input  wire [ROW_BITS-1:0]              aligner_turn,
    input  wire [ROW_BITS-1:0]              aligner_first,
    input  wire [ROW_BITS-1:0]              aligner_count,
    input  wire [ROW_BITS-1:0]              aligner_limit,
    output wire [ROWS-1:0]                  aligner_lanes,

    input  wire                             transposer_clear,
    input  wire                             transposer_write,
    input  wire [ROW_BITS-1:0]              transposer_index,
    input  wire [ROWS-1:0]                  transposer_row,
    input  wire [ROW_BITS-1:0]              transposer_column,
    output wire [ROWS-1:0]                  transposer_bits,

    input  wire [MEMBRANE_BITS-1:0]         neuron_membrane,
    input  wire [VALUE_BITS-1:0]            neuron_current,
    input  wire [VALUE_BITS-1:0]            neuron_threshold,
    input  wire [VALUE_BITS-1:0]            neuron_reset_to,
    input  wire                             neuron_hard_reset,
    input  wire                             neuron_leak_fixed,
    input  wire [SHIFT_BITS-1:0]            neuron_leak_shift,
    input  wire [LEAK_MULTIPLIER_BITS-1:0]  neuron_leak_multiplier,
    input  wire                             neuron_never_fires,
    output wire                             neuron_fires,
    output wire [MEMBRANE_BITS-1:0]         neuron_next_membrane,

    input  wire                             mask_enable,
    input  wire [TIME_STEPS-1:0]            mask_window,
    input  wire [TIME_STEPS-1:0]            mask_state_steps,
    input  wire [TIME_STEPS-1:0]            mask_active_steps,
    input  wire [TIME_STEPS-1:0]            mask_slot_steps,
    input  wire [TIME_STEPS-1:0]            mask_reused_steps,
    input  wire [TIME_STEPS-1:0]            mask_membrane_reads,
    input  wire [TIME_STEPS-1:0]            mask_membrane_writes,
    output wire [TIME_STEPS-1:0]            mask_step,
    output wire                             mask_step_live,
    output wire                             mask_output_live,
    output wire                             mask_has_slot,
    output wire [SLOT_BITS-1:0]             mask_slot_offset,
    output wire                             mask_membrane_read,
    output wire                             mask_membrane_write,
    output wire                             mask_first,
    output wire                             mask_last,

    input  wire                             memory_step_live,
    input  wire                             memory_write,
    input  wire [3:0]                       memory_write_address,
    input  wire [MEMBRANE_BITS-1:0]         memory_write_row,
    input  wire                             memory_read,
    input  wire [3:0]                       memory_read_address,
    output wire [MEMBRANE_BITS-1:0]         memory_read_row,
    output wire [MEMBRANE_BITS-1:0]         memory_plain_read_row
);
    zero_skipper #(.GROUP(GROUP), .LANE_BITS(LANE_BITS)) skipper (
        .clock(clock),
        .reset(reset),
        .enable(skipper_enable),
        .flags(skipper_flags),
        .issue(skipper_issue),
        .lane(skipper_lane),
        .group_done(skipper_group_done)
    );

    slot_counter #(.GROUP(GROUP), .LANE_BITS(LANE_BITS), .SLOT_BITS(SLOT_BITS), .PLANE_BITS(PLANE_BITS)) slots (
        .clock(clock),
        .load(slots_load),
        .advance(slots_advance),
        .first_slot(slots_first_slot),
        .planes(slots_planes),
        .group_planes(slots_group_planes),
        .group_slots(slots_group_slots),
        .slot_stride(slots_slot_stride),
        .lane_planes(slots_lane_planes),
        .lane_slots(slots_lane_slots),
        .lane(slots_lane),
        .slot(slots_slot),
        .plane(slots_plane)
    );

    ac_column #(
        .ROWS(ROWS), .WEIGHT_BITS(WEIGHT_BITS), .LOAD_ROWS(LOAD_ROWS), .BEATS(BEATS), .SUM_BITS(SUM_BITS)
    ) column (
        .clock(clock),
        .write_beat(column_write_beat),
        .write_bank(column_write_bank),
        .write_weights(column_write_weights),
        .enable(column_enable),
        .spikes(column_spikes),
        .bank(column_bank),
        .sum(column_sum)
    );

    lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) aligner (
        .row(aligner_row),
        .turn(aligner_turn),
        .first(aligner_first),
        .count(aligner_count),
        .limit(aligner_limit),
        .lanes(aligner_lanes)
    );

    bit_transposer #(.HEIGHT(ROWS), .WIDTH(ROWS), .INDEX_BITS(ROW_BITS)) transposer (
        .clock(clock),
        .clear(transposer_clear),
        .write(transposer_write),
        .index(transposer_index),
        .row(transposer_row),
        .column(transposer_column),
        .bits(transposer_bits)
    );

    wire [VALUE_BITS:0] wide_current = {neuron_current[VALUE_BITS-1], neuron_current};
    lif_neuron #(
        .MEMBRANE_BITS(MEMBRANE_BITS), .VALUE_BITS(VALUE_BITS), .SHIFT_BITS(SHIFT_BITS), .FIXED_LEAK(1),
        .LEAK_MULTIPLIER_BITS(LEAK_MULTIPLIER_BITS)
    ) neuron (
        .membrane(neuron_membrane),
        .current(neuron_current),
        .above_threshold(wide_current - {neuron_threshold[VALUE_BITS-1], neuron_threshold}),
        .above_reset(wide_current - {neuron_reset_to[VALUE_BITS-1], neuron_reset_to}),
        .reset_to(neuron_reset_to),
        .hard_reset(neuron_hard_reset),
        .leak_fixed(neuron_leak_fixed),
        .leak_shift(neuron_leak_shift),
        .leak_multiplier(neuron_leak_multiplier),
        .never_fires(neuron_never_fires),
        .fires(neuron_fires),
        .next_membrane(neuron_next_membrane)
    );

    mask_unit #(.TIME_STEPS(TIME_STEPS), .SLOT_BITS(SLOT_BITS)) mask (
        .clock(clock),
        .reset(reset),
        .enable(mask_enable),
        .window(mask_window),
        .state_steps(mask_state_steps),
        .active_steps(mask_active_steps),
        .slot_steps(mask_slot_steps),
        .reused_steps(mask_reused_steps),
        .membrane_reads(mask_membrane_reads),
        .membrane_writes(mask_membrane_writes),
        .step(mask_step),
        .step_live(mask_step_live),
        .output_live(mask_output_live),
        .has_slot(mask_has_slot),
        .slot_offset(mask_slot_offset),
        .membrane_read(mask_membrane_read),
        .membrane_write(mask_membrane_write),
        .first(mask_first),
        .last(mask_last)
    );

    membrane_memory #(.COLUMNS(1), .MEMBRANE_BITS(MEMBRANE_BITS), .MEMBRANE_ADDRESS_BITS(4)) memory (
        .clock(clock),
        .step_live(memory_step_live),
        .write(memory_write),
        .write_address(memory_write_address),
        .write_row(memory_write_row),
        .read(memory_read),
        .read_address(memory_read_address),
        .read_row(memory_read_row)
    );

    synchronous_memory #(.WIDTH(MEMBRANE_BITS), .ROWS(16)) plain_memory (
        .clock(clock),
        .write_enable(memory_write),
        .write_address(memory_write_address),
        .write_data(memory_write_row),
        .read_enable(memory_read),
        .read_address(memory_read_address),
        .read_data(memory_plain_read_row)
    );
endmodule
