// zero_skipper: walks the non-zero flags of a group of words and issues one non-zero word a cycle.
//
// The lowest flag that is left is issued each cycle. In the cycle in which at most one is left the group is done,
// so a group costs max(1, non-zero words) cycles; an all-zero group takes one cycle and issues nothing. The
// owner presents the next group's flags in the cycle after `group_done`, so there is no bubble between groups.
//
// Ports:
//   clock       in   1          rising edge
//   reset       in   1          synchronous
//   enable      in   1          `flags` belong to a group of the running pass
//   flags       in   GROUP      bit g: word g of the group is not all zero; held until group_done
//   issue       out  1          word `lane` of the group is issued in this cycle
//   lane        out  LANE_BITS  its place in the group
//   group_done  out  1          nothing is left of this group after this cycle
//
// Latency: combinational from `flags`; one register, the mask of lanes already issued.
module zero_skipper #(
    parameter GROUP = 4,
    parameter LANE_BITS = 2
) (
    input  wire                 clock,
    input  wire                 reset,
    input  wire                 enable,
    input  wire [GROUP-1:0]     flags,
    output wire                 issue,
    output reg  [LANE_BITS-1:0] lane,
    output wire                 group_done
);
    reg  [GROUP-1:0] issued;
    wire [GROUP-1:0] remaining = flags & ~issued;
    wire [GROUP-1:0] lowest = remaining & -remaining;
    wire [GROUP-1:0] others = remaining & ~lowest;

    assign issue = enable && (remaining != {GROUP{1'b0}});
    assign group_done = enable && (others == {GROUP{1'b0}});

    integer index;
    always @* begin
        lane = {LANE_BITS{1'b0}};
        for (index = 0; index < GROUP; index = index + 1)
            if (lowest[index])
                lane = index[LANE_BITS-1:0];
    end

    always @(posedge clock)
        if (reset || group_done)
            issued <= {GROUP{1'b0}};
        else if (issue)
            issued <= issued | lowest;

`ifdef FORMAL
    // Each word of a group that is not zero is issued once, no other one ever, in max(1, such words) cycles.
    localparam COUNT_BITS = $clog2(GROUP + 1);
    reg                  started = 1'b0;
    reg                  within;        // a group has begun and is not done
    reg [GROUP-1:0]      seen;          // its words that were issued
    reg [COUNT_BITS-1:0] cycles;        // that it has had
    reg [COUNT_BITS-1:0] words;         // of it that are not zero
    reg [COUNT_BITS-1:0] issues;        // of it so far
    wire [GROUP-1:0]     now = issue ? {{(GROUP-1){1'b0}}, 1'b1} << lane : {GROUP{1'b0}};
    integer              number;
    always @* begin
        words = {COUNT_BITS{1'b0}};
        issues = {COUNT_BITS{1'b0}};
        for (number = 0; number < GROUP; number = number + 1) begin
            words = words + flags[number];
            issues = issues + seen[number];
        end
    end
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else
            assume (!within || $stable(flags));
        if (reset || group_done) begin
            within <= 1'b0;
            seen <= {GROUP{1'b0}};
            cycles <= {COUNT_BITS{1'b0}};
        end else if (enable) begin
            within <= 1'b1;
            seen <= seen | now;
            cycles <= cycles + 1'b1;
        end
        if (started && !reset) begin
            assert (seen == issued);
            assert (cycles == issues);
            assert (!within || (seen != {GROUP{1'b0}} && (flags & ~seen) != {GROUP{1'b0}}));
            assert ((seen & ~flags) == {GROUP{1'b0}} || !within);
            assert (within || (seen == {GROUP{1'b0}} && cycles == 0));
            if (issue)
                assert (enable && (now & flags & ~seen) == now);
            if (enable && !group_done)
                assert (issue);
            if (enable)
                assert (cycles < (words == 0 ? 1 : words));
            if (group_done) begin
                assert ((seen | now) == flags);
                assert (cycles + 1'b1 == (words == 0 ? 1 : words));
            end
        end
    end
`endif
endmodule
