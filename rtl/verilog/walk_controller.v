// walk_controller: the order of a strip's walk: for each position, the steps that the mask unit enumerates.
//
// Four cycles for each: in the address cycle a stored current is asked for, in the read cycle the membrane row, in the
// visit cycle the accumulators are read and the current is made, in the update cycle the neurons take it.
//
// Ports:
//   clock             in   1                      rising edge
//   reset             in   1                      synchronous
//   begin_walk        in   1                      the walk's first address cycle is the next cycle
//   positions         in   POSITION_BITS          positions of the strip
//   window            in   TIME_STEPS             steps of this walk
//   slot_stride       in   SLOT_BITS              slots of a position
//   membrane_base     in   MEMBRANE_ADDRESS_BITS  membrane row of the strip's first position
//   state_steps       in   TIME_STEPS             this and the next five: as in mask_unit
//   active_steps      in   TIME_STEPS             as in mask_unit
//   slot_steps        in   TIME_STEPS             as in mask_unit
//   reused_steps      in   TIME_STEPS             as in mask_unit
//   membrane_reads    in   TIME_STEPS             as in mask_unit
//   membrane_writes   in   TIME_STEPS             as in mask_unit
//   source_steps      in   TIME_STEPS             steps that have a stored current
//   source_read       out  1                      address cycle: read the stored currents
//   step              out  TIME_STEPS             address cycle: its step, one-hot
//   next_position     out  1                      address cycle: the position's last
//   read_membranes    out  1                      read cycle: read the membrane row
//   read_address      out  MEMBRANE_ADDRESS_BITS  which
//   visit             out  1                      visit cycle: a live step of a position is walked
//   visit_last        out  1                      it is the walk's last
//   visit_output      out  1                      its output is live
//   visit_has_slot    out  1                      visit_slot holds its sums
//   visit_has_source  out  1                      its stored currents were read
//   visit_slot        out  SLOT_BITS              accumulator slot
//   visit_read        out  1                      its membranes are read from memory
//   visit_write       out  1                      they go back there after the update
//   update            out  1                      update cycle: a live step of a position
//   update_first      out  1                      it is the first state step
//   update_output     out  1                      its output is live
//   update_read       out  1                      its membranes were read from memory
//   update_write      out  1                      they go back there
//   update_address    out  MEMBRANE_ADDRESS_BITS  the membrane row
//
// Latency: begin_walk in cycle n, first visit in n + 3, then one visit a cycle; an update follows its visit.
module walk_controller #(
    parameter TIME_STEPS = 4,
    parameter SLOT_BITS = 5,
    parameter POSITION_BITS = 6,
    parameter MEMBRANE_ADDRESS_BITS = 8
) (
    input  wire                             clock,
    input  wire                             reset,
    input  wire                             begin_walk,
    input  wire [POSITION_BITS-1:0]         positions,
    input  wire [TIME_STEPS-1:0]            window,
    input  wire [SLOT_BITS-1:0]             slot_stride,
    input  wire [MEMBRANE_ADDRESS_BITS-1:0] membrane_base,
    input  wire [TIME_STEPS-1:0]            state_steps,
    input  wire [TIME_STEPS-1:0]            active_steps,
    input  wire [TIME_STEPS-1:0]            slot_steps,
    input  wire [TIME_STEPS-1:0]            reused_steps,
    input  wire [TIME_STEPS-1:0]            membrane_reads,
    input  wire [TIME_STEPS-1:0]            membrane_writes,
    input  wire [TIME_STEPS-1:0]            source_steps,
    output wire                             source_read,
    output wire [TIME_STEPS-1:0]            step,
    output wire                             next_position,
    output reg                              read_membranes,
    output reg  [MEMBRANE_ADDRESS_BITS-1:0] read_address,
    output reg                              visit,
    output reg                              visit_last,
    output reg                              visit_output,
    output reg                              visit_has_slot,
    output reg                              visit_has_source,
    output reg  [SLOT_BITS-1:0]             visit_slot,
    output reg                              visit_read,
    output reg                              visit_write,
    output reg                              update,
    output reg                              update_first,
    output reg                              update_output,
    output reg                              update_read,
    output reg                              update_write,
    output reg  [MEMBRANE_ADDRESS_BITS-1:0] update_address
);
    reg                              walking;
    reg  [POSITION_BITS-1:0]         positions_left;
    reg  [SLOT_BITS-1:0]             position_slot;
    reg  [MEMBRANE_ADDRESS_BITS-1:0] position_address;
    wire                             last_position = positions_left == {{(POSITION_BITS-1){1'b0}}, 1'b1};

    wire step_live, output_live, has_slot, membrane_read, membrane_write, first, last;
    wire [SLOT_BITS-1:0] slot_offset;
    mask_unit #(.TIME_STEPS(TIME_STEPS), .SLOT_BITS(SLOT_BITS)) mask (
        .clock(clock),
        .reset(reset),
        .enable(walking),
        .window(window),
        .state_steps(state_steps),
        .active_steps(active_steps),
        .slot_steps(slot_steps),
        .reused_steps(reused_steps),
        .membrane_reads(membrane_reads),
        .membrane_writes(membrane_writes),
        .step(step),
        .step_live(step_live),
        .output_live(output_live),
        .has_slot(has_slot),
        .slot_offset(slot_offset),
        .membrane_read(membrane_read),
        .membrane_write(membrane_write),
        .first(first),
        .last(last)
    );

    assign source_read = step_live && |(step & source_steps);
    assign next_position = walking && last;

    always @(posedge clock)
        if (reset)
            walking <= 1'b0;
        else if (begin_walk)
            walking <= 1'b1;
        else if (last && last_position)
            walking <= 1'b0;

    always @(posedge clock)
        if (begin_walk) begin
            positions_left <= positions;
            position_slot <= {SLOT_BITS{1'b0}};
            position_address <= membrane_base;
        end else if (walking && last) begin
            positions_left <= positions_left - 1;
            position_slot <= position_slot + slot_stride;
            position_address <= position_address + 1;
        end

    reg                 reads, reads_last, reads_first, reads_output, reads_slot, reads_source, reads_write;
    reg [SLOT_BITS-1:0] read_slot;
    always @(posedge clock) begin
        reads <= step_live && !reset;
        reads_last <= step_live && last && last_position && !reset;
        reads_first <= first;
        reads_output <= output_live;
        reads_slot <= has_slot;
        reads_source <= source_read;
        read_slot <= position_slot + slot_offset;
        read_membranes <= membrane_read && !reset;
        read_address <= position_address;
        reads_write <= membrane_write;
    end

    reg                             visit_first;
    reg [MEMBRANE_ADDRESS_BITS-1:0] visit_address;
    always @(posedge clock) begin
        visit <= reads && !reset;
        visit_last <= reads_last;
        visit_first <= reads_first;
        visit_output <= reads_output;
        visit_has_slot <= reads_slot;
        visit_has_source <= reads_source;
        visit_slot <= read_slot;
        visit_read <= read_membranes;
        visit_write <= reads_write;
        visit_address <= read_address;
        update <= visit && !reset;
        update_first <= visit_first;
        update_output <= visit_output;
        update_read <= visit_read;
        update_write <= visit_write;
        update_address <= visit_address;
    end
endmodule
