// count_lane: sum or maximum of the counts of one channel, which arrive as bit planes, the lowest first.
//
// Ports:
//   clock        in   1           rising edge
//   maximum      in   1           maximum, else sum
//   enable       in   1           a plane of a tap arrives
//   spike        in   1           its bit; 0 where the tap lies outside the input
//   plane_place  in   COUNT_BITS  the place of the plane in the count, one-hot
//   last_plane   in   1           the tap is complete with it
//   first_tap    in   1           the tap is the first of its output
//   finish       in   1           the output is complete with it
//   shift        in   1           the lowest plane of the result was written: the next one
//   plane        out  1           the result's lowest plane that is not written yet
//
// Latency: `finish` in cycle n, plane 0 of the result in n + 1.
module count_lane #(
    parameter COUNT_BITS = 8
) (
    input  wire                  clock,
    input  wire                  maximum,
    input  wire                  enable,
    input  wire                  spike,
    input  wire [COUNT_BITS-1:0] plane_place,
    input  wire                  last_plane,
    input  wire                  first_tap,
    input  wire                  finish,
    input  wire                  shift,
    output wire                  plane
);
    reg  [COUNT_BITS-1:0] lower_planes;  // of this tap
    reg  [COUNT_BITS-1:0] earlier_taps;
    reg  [COUNT_BITS-1:0] result;

    wire [COUNT_BITS-1:0] value =
        (plane_place[0] ? {COUNT_BITS{1'b0}} : lower_planes) | (spike ? plane_place : {COUNT_BITS{1'b0}});
    wire [COUNT_BITS-1:0] held = first_tap ? {COUNT_BITS{1'b0}} : earlier_taps;

    // One adder: held + value, or held − value as held + ~value + 1, which carries where held >= value. Its lowest bit
    // makes that 1.
    wire [COUNT_BITS+1:0] total = {1'b0, held, maximum} + {1'b0, value ^ {COUNT_BITS{maximum}}, maximum};
    wire [COUNT_BITS-1:0] larger = total[COUNT_BITS+1] ? held : value;
    wire [COUNT_BITS-1:0] updated = maximum ? larger : total[COUNT_BITS:1];

    assign plane = result[0];

    always @(posedge clock) begin
        if (enable && !last_plane)
            lower_planes <= value;
        if (enable && last_plane)
            earlier_taps <= updated;
        if (enable && finish)
            result <= updated;
        else if (shift)
            result <= result >> 1;
    end

    wire unused = &{1'b0, total[0]};
endmodule
