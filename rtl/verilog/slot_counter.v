// slot_counter: accumulator slot and bit plane of a word, from its place in the pass, without a division.
//
// Word i of a pass has plane i mod P and slot first_slot + (i div P) · slot_stride. The counter keeps both for
// lane 0 of the group in a mixed radix and moves G words at a time; a lane adds its own constant distance.
//
// Ports:
//   clock        in   1                  rising edge
//   load         in   1                  a pass starts in the next cycle: take first_slot
//   advance      in   1                  the next group is looked at in the next cycle
//   first_slot   in   SLOT_BITS          slot of the pass's first word
//   planes       in   PLANE_BITS         P, bit planes of the streamed value
//   group_planes in   PLANE_BITS         G mod P
//   group_slots  in   SLOT_BITS          (G div P) · slot_stride
//   slot_stride  in   SLOT_BITS          slots between a position's word and the next position's
//   lane_planes  in   GROUP*PLANE_BITS   for each lane g: g mod P
//   lane_slots   in   GROUP*SLOT_BITS    for each lane g: (g div P) · slot_stride
//   lane         in   LANE_BITS          the lane asked for
//   slot         out  SLOT_BITS          its accumulator slot
//   plane        out  PLANE_BITS         its bit plane: the sum is shifted left by this many bits
//
// Latency: combinational from `lane`; two registers, plane and slot of lane 0.
module slot_counter #(
    parameter GROUP = 4,
    parameter LANE_BITS = 2,
    parameter SLOT_BITS = 5,
    parameter PLANE_BITS = 5
) (
    input  wire                        clock,
    input  wire                        load,
    input  wire                        advance,
    input  wire [SLOT_BITS-1:0]        first_slot,
    input  wire [PLANE_BITS-1:0]       planes,
    input  wire [PLANE_BITS-1:0]       group_planes,
    input  wire [SLOT_BITS-1:0]        group_slots,
    input  wire [SLOT_BITS-1:0]        slot_stride,
    input  wire [GROUP*PLANE_BITS-1:0] lane_planes,
    input  wire [GROUP*SLOT_BITS-1:0]  lane_slots,
    input  wire [LANE_BITS-1:0]        lane,
    output wire [SLOT_BITS-1:0]        slot,
    output wire [PLANE_BITS-1:0]       plane
);
    reg [PLANE_BITS-1:0] group_plane;
    reg [SLOT_BITS-1:0]  group_slot;

    reg [PLANE_BITS-1:0] lane_plane;
    reg [SLOT_BITS-1:0]  lane_slot;
    integer index;
    always @* begin
        lane_plane = {PLANE_BITS{1'b0}};
        lane_slot = {SLOT_BITS{1'b0}};
        for (index = 0; index < GROUP; index = index + 1)
            if (lane == index[LANE_BITS-1:0]) begin
                lane_plane = lane_planes[index*PLANE_BITS +: PLANE_BITS];
                lane_slot = lane_slots[index*SLOT_BITS +: SLOT_BITS];
            end
    end

    // One bit more than a plane, for the sum before the carry is taken.
    wire [PLANE_BITS:0] lane_sum = {1'b0, group_plane} + {1'b0, lane_plane};
    wire                lane_carry = lane_sum >= {1'b0, planes};
    wire [PLANE_BITS:0] lane_rest = lane_carry ? lane_sum - {1'b0, planes} : lane_sum;
    assign plane = lane_rest[PLANE_BITS-1:0];
    assign slot = group_slot + lane_slot + (lane_carry ? slot_stride : {SLOT_BITS{1'b0}});

    wire [PLANE_BITS:0] group_sum = {1'b0, group_plane} + {1'b0, group_planes};
    wire                group_carry = group_sum >= {1'b0, planes};
    wire [PLANE_BITS:0] group_rest = group_carry ? group_sum - {1'b0, planes} : group_sum;

    always @(posedge clock)
        if (load) begin
            group_plane <= {PLANE_BITS{1'b0}};
            group_slot <= first_slot;
        end else if (advance) begin
            group_plane <= group_rest[PLANE_BITS-1:0];
            group_slot <= group_slot + group_slots + (group_carry ? slot_stride : {SLOT_BITS{1'b0}});
        end

    wire unused = &{1'b0, lane_rest[PLANE_BITS], group_rest[PLANE_BITS]};
endmodule
