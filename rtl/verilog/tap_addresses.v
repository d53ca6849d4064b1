// tap_addresses: where each input of an elementwise operation is read next. Nothing is multiplied: every input has an
// address of its own, which moves on by a jump of the configuration.
//
// Ports:
//   clock         in   1                               rising edge
//   begin_step    in   1                               every input starts at its base of next_step
//   next_step     in   TIME_STEPS                      one-hot
//   tap           in   1                               this and the next five: as in window_walker
//   input_select  in   INPUTS
//   row_ends      in   1
//   window_ends   in   1
//   last_slice    in   1
//   last_column   in   1
//   step_bases    in   INPUTS*TIME_STEPS*ADDRESS_BITS  this and the rest: as in elementwise_fields
//   row_jumps     in   INPUTS*ADDRESS_BITS
//   slice_jumps   in   INPUTS*ADDRESS_BITS
//   column_jumps  in   INPUTS*ADDRESS_BITS
//   line_jumps    in   INPUTS*ADDRESS_BITS
//   slices        in   SIZE_BITS
//   address       out  ADDRESS_BITS                    of the selected input's tap
//
// SIZE_BITS is at most ADDRESS_BITS. Latency: combinational from the addresses.
module tap_addresses #(
    parameter TIME_STEPS = 4,
    parameter INPUTS = 2,
    parameter SIZE_BITS = 8,
    parameter ADDRESS_BITS = 12
) (
    input  wire                                      clock,
    input  wire                                      begin_step,
    input  wire [TIME_STEPS-1:0]                     next_step,
    input  wire                                      tap,
    input  wire [INPUTS-1:0]                         input_select,
    input  wire                                      row_ends,
    input  wire                                      window_ends,
    input  wire                                      last_slice,
    input  wire                                      last_column,
    input  wire [INPUTS*TIME_STEPS*ADDRESS_BITS-1:0] step_bases,
    input  wire [INPUTS*ADDRESS_BITS-1:0]            row_jumps,
    input  wire [INPUTS*ADDRESS_BITS-1:0]            slice_jumps,
    input  wire [INPUTS*ADDRESS_BITS-1:0]            column_jumps,
    input  wire [INPUTS*ADDRESS_BITS-1:0]            line_jumps,
    input  wire [SIZE_BITS-1:0]                      slices,
    output reg  [ADDRESS_BITS-1:0]                   address
);
    wire [INPUTS*ADDRESS_BITS-1:0] addresses;

    reg [ADDRESS_BITS-1:0] row_jump, slice_jump, column_jump, line_jump;
    integer index;
    always @* begin
        address = {ADDRESS_BITS{1'b0}};
        row_jump = {ADDRESS_BITS{1'b0}};
        slice_jump = {ADDRESS_BITS{1'b0}};
        column_jump = {ADDRESS_BITS{1'b0}};
        line_jump = {ADDRESS_BITS{1'b0}};
        for (index = 0; index < INPUTS; index = index + 1)
            if (input_select[index]) begin
                address = addresses[index*ADDRESS_BITS +: ADDRESS_BITS];
                row_jump = row_jumps[index*ADDRESS_BITS +: ADDRESS_BITS];
                slice_jump = slice_jumps[index*ADDRESS_BITS +: ADDRESS_BITS];
                column_jump = column_jumps[index*ADDRESS_BITS +: ADDRESS_BITS];
                line_jump = line_jumps[index*ADDRESS_BITS +: ADDRESS_BITS];
            end
    end

    // The planes of a tap, and of the next tap of its row, lie one after the other. What ends is known late: each sum is
    // there by then.
    reg [ADDRESS_BITS-1:0] plane_jump;
    always @* begin
        plane_jump = {ADDRESS_BITS{1'b0}};
        plane_jump[SIZE_BITS-1:0] = slices;
    end
    wire [ADDRESS_BITS-1:0] next_window = address + (!last_slice ? slice_jump : !last_column ? column_jump : line_jump);
    wire [ADDRESS_BITS-1:0] next_row = address + row_jump;
    wire [ADDRESS_BITS-1:0] next_plane = address + plane_jump;
    wire [ADDRESS_BITS-1:0] following_address = window_ends ? next_window : row_ends ? next_row : next_plane;

    genvar place;
    generate
        for (place = 0; place < INPUTS; place = place + 1) begin : inputs
            wire [TIME_STEPS*ADDRESS_BITS-1:0] bases =
                step_bases[place*TIME_STEPS*ADDRESS_BITS +: TIME_STEPS*ADDRESS_BITS];
            wire [ADDRESS_BITS-1:0] base;
            one_hot_select #(.CHOICES(TIME_STEPS), .WIDTH(ADDRESS_BITS)) base_of_step (
                .choice(next_step), .values(bases), .value(base)
            );

            reg [ADDRESS_BITS-1:0] input_address;
            assign addresses[place*ADDRESS_BITS +: ADDRESS_BITS] = input_address;
            always @(posedge clock)
                if (begin_step)
                    input_address <= base;
                else if (tap && input_select[place])
                    input_address <= following_address;
        end
    endgenerate
endmodule
