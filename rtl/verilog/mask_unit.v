// mask_unit: which time steps of a position the walk visits, one a cycle in ascending order, and what each may touch.
//
// Every step list is a vector with bit t = step t. The visited steps are those of state_steps inside `window`
// (all steps where time runs innermost, one step where it runs outermost).
//
// Ports:
//   clock            in   1           rising edge
//   reset            in   1           synchronous
//   enable           in   1           visit a step in this cycle
//   window           in   TIME_STEPS  steps of this walk
//   state_steps      in   TIME_STEPS  steps at which the state (or a stored current) is live
//   active_steps     in   TIME_STEPS  steps whose output is live: the time-step mask after pruning
//   slot_steps       in   TIME_STEPS  steps that own accumulators
//   reused_steps     in   TIME_STEPS  steps that use the accumulators of the first slot step
//   membrane_reads   in   TIME_STEPS  steps at which U comes from membrane memory
//   membrane_writes  in   TIME_STEPS  steps at which U goes to membrane memory
//   step             out  TIME_STEPS  the step, one-hot
//   step_live        out  1           a live step is visited in this cycle
//   output_live      out  1           its output is live
//   has_slot         out  1           it has accumulators
//   slot_offset      out  SLOT_BITS   their place among the position's slots
//   membrane_read    out  1           U is read from memory
//   membrane_write   out  1           U is written to memory
//   first            out  1           the first of state_steps: U is the channel's initial value
//   last             out  1           no step of this position is left after this cycle
//
// Latency: combinational from enable; one register, the steps still to visit.
module mask_unit #(
    parameter TIME_STEPS = 4,
    parameter SLOT_BITS = 5
) (
    input  wire                  clock,
    input  wire                  reset,
    input  wire                  enable,
    input  wire [TIME_STEPS-1:0] window,
    input  wire [TIME_STEPS-1:0] state_steps,
    input  wire [TIME_STEPS-1:0] active_steps,
    input  wire [TIME_STEPS-1:0] slot_steps,
    input  wire [TIME_STEPS-1:0] reused_steps,
    input  wire [TIME_STEPS-1:0] membrane_reads,
    input  wire [TIME_STEPS-1:0] membrane_writes,
    output wire [TIME_STEPS-1:0] step,
    output wire                  step_live,
    output wire                  output_live,
    output wire                  has_slot,
    output reg  [SLOT_BITS-1:0]  slot_offset,
    output wire                  membrane_read,
    output wire                  membrane_write,
    output wire                  first,
    output wire                  last
);
    reg  [TIME_STEPS-1:0] visited;
    wire [TIME_STEPS-1:0] remaining = state_steps & window & ~visited;
    assign step = remaining & -remaining;
    wire [TIME_STEPS-1:0] earlier = ~(step | -step);
    wire                  reused = |(step & reused_steps);

    assign step_live = enable && |step;
    assign output_live = step_live && |(step & active_steps);
    assign has_slot = step_live && (reused || |(step & slot_steps));
    assign membrane_read = step_live && |(step & membrane_reads);
    assign membrane_write = step_live && |(step & membrane_writes);
    assign first = (state_steps & earlier) == {TIME_STEPS{1'b0}};
    assign last = (remaining & ~step) == {TIME_STEPS{1'b0}};

    // Slots of the position that belong to earlier steps; a reused step takes the first one.
    wire [TIME_STEPS-1:0] earlier_slots = reused ? {TIME_STEPS{1'b0}} : slot_steps & window & earlier;
    integer index;
    always @* begin
        slot_offset = {SLOT_BITS{1'b0}};
        for (index = 0; index < TIME_STEPS; index = index + 1)
            if (earlier_slots[index])
                slot_offset = slot_offset + 1;
    end

    always @(posedge clock)
        if (reset)
            visited <= {TIME_STEPS{1'b0}};
        else if (enable)
            visited <= last ? {TIME_STEPS{1'b0}} : visited | step;

`ifdef FORMAL
    // A position's visits: each live step of the window once, in ascending order, and nothing else.
    reg                  started = 1'b0;
    reg [TIME_STEPS-1:0] seen;      // steps of this position that were visited
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else if (seen != {TIME_STEPS{1'b0}})
            assume ($stable({window, state_steps, active_steps, membrane_writes}));
        if (reset || (enable && last))
            seen <= {TIME_STEPS{1'b0}};
        else if (enable)
            seen <= seen | step;
        if (started && !reset) begin
            assert (seen == visited);
            assert ((seen & ~(state_steps & window)) == {TIME_STEPS{1'b0}});
            assert ((step & (step - 1'b1)) == {TIME_STEPS{1'b0}});
            assert (step_live == (enable && step != {TIME_STEPS{1'b0}}));
            assert (step == {TIME_STEPS{1'b0}} || seen < step);
            if (step_live)
                assert ((step & state_steps & window & ~seen) == step);
            if (output_live)
                assert (step_live && (step & active_steps) == step);
            if (membrane_write)
                assert (step_live && (step & membrane_writes) == step);
            if (membrane_read)
                assert (step_live && (step & membrane_reads) == step);
            if (enable && last)
                assert ((seen | step) == (state_steps & window));
        end
    end
`endif
endmodule
