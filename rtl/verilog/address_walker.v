// address_walker: the row of a value that belongs to each (position, step) of a walk.
//
// Ports:
//   clock          in   1                        rising edge
//   begin_walk     in   1                        the walk's first address cycle is the next cycle
//   next_position  in   1                        the position's last address cycle
//   step           in   TIME_STEPS               the address cycle's step, one-hot
//   first          in   ADDRESS_BITS             row of the strip's first position, less its step's base
//   position_step  in   ADDRESS_BITS             rows to the next position
//   step_bases     in   TIME_STEPS*ADDRESS_BITS  where the value of each step begins
//   address        out  ADDRESS_BITS             the row
//
// Latency: combinational in the address cycle.
module address_walker #(
    parameter TIME_STEPS = 4,
    parameter ADDRESS_BITS = 12
) (
    input  wire                               clock,
    input  wire                               begin_walk,
    input  wire                               next_position,
    input  wire [TIME_STEPS-1:0]              step,
    input  wire [ADDRESS_BITS-1:0]            first,
    input  wire [ADDRESS_BITS-1:0]            position_step,
    input  wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases,
    output wire [ADDRESS_BITS-1:0]            address
);
    reg [ADDRESS_BITS-1:0] position;
    always @(posedge clock)
        if (begin_walk)
            position <= first;
        else if (next_position)
            position <= position + position_step;

    wire [ADDRESS_BITS-1:0] step_base;
    one_hot_select #(.CHOICES(TIME_STEPS), .WIDTH(ADDRESS_BITS)) base (
        .choice(step), .values(step_bases), .value(step_base)
    );
    assign address = position + step_base;
endmodule
