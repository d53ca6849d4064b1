// image_receiver: AXI4-Stream of pixels into the image memory, one pixel a beat, row p = position p.
//
// A beat holds a pixel's channels × planes bits, channel c's value at bits c·planes, and is padded to whole bytes.
// `arm` lets one image in: `positions` beats. Whatever TLAST says, that many are taken; if it does not come with the
// last one and only there, length_error stays until the next arm. `arm` during an image starts over from row 0.
//
// Ports:
//   clock          in   1             rising edge
//   reset          in   1             synchronous
//   arm            in   1             take an image from the next cycle on
//   positions      in   ADDRESS_BITS  its pixels, constant while armed; 0 means 2^ADDRESS_BITS
//   pixels_tdata   in   DATA_BITS     AXI4-Stream slave: the pixel in its low bits
//   pixels_tvalid  in   1             AXI4-Stream
//   pixels_tready  out  1             AXI4-Stream: armed, and the image is not complete
//   pixels_tlast   in   1             AXI4-Stream: the image's last pixel
//   write_enable   out  1             a pixel is written to the image memory
//   write_address  out  ADDRESS_BITS  its position
//   write_row      out  PIXEL_BITS    the pixel
//   done           out  1             the image is complete; until the next arm
//   length_error   out  1             TLAST came too early or not with the last pixel; until the next arm
//
// Latency: a beat is written in the cycle in which it is taken, a beat a cycle; `done` in the cycle after the last.
module image_receiver #(
    parameter PIXEL_BITS = 24,
    parameter ADDRESS_BITS = 10,
    parameter DATA_BITS = (PIXEL_BITS + 7) / 8 * 8
) (
    input  wire                    clock,
    input  wire                    reset,
    input  wire                    arm,
    input  wire [ADDRESS_BITS-1:0] positions,
    input  wire [DATA_BITS-1:0]    pixels_tdata,
    input  wire                    pixels_tvalid,
    output wire                    pixels_tready,
    input  wire                    pixels_tlast,
    output wire                    write_enable,
    output wire [ADDRESS_BITS-1:0] write_address,
    output wire [PIXEL_BITS-1:0]   write_row,
    output reg                     done,
    output reg                     length_error
);
    reg                    armed;
    reg [ADDRESS_BITS-1:0] position;

    wire last_position = position == positions - 1'b1;

    assign pixels_tready = armed;
    assign write_enable = armed && pixels_tvalid;
    assign write_address = position;
    assign write_row = pixels_tdata[PIXEL_BITS-1:0];

    always @(posedge clock)
        if (reset) begin
            armed <= 1'b0;
            done <= 1'b0;
            length_error <= 1'b0;
        end else if (arm) begin
            armed <= 1'b1;
            done <= 1'b0;
            length_error <= 1'b0;
        end else if (write_enable) begin
            armed <= !last_position;
            done <= last_position;
            length_error <= length_error || (pixels_tlast != last_position);
        end

    always @(posedge clock)
        if (arm)
            position <= {ADDRESS_BITS{1'b0}};
        else if (write_enable)
            position <= position + 1'b1;

    wire unused = &{1'b0, pixels_tdata};  // the padding

`ifdef FORMAL
    // Of one image every position is written once, in order, and `done` says so.
    reg                   started = 1'b0;
    reg  [ADDRESS_BITS:0] written;
    wire [ADDRESS_BITS:0] asked_for = {positions == {ADDRESS_BITS{1'b0}}, positions};
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else
            assume (arm || $stable(positions));
        if (arm)
            written <= 0;
        else if (write_enable)
            written <= written + 1'b1;
        if (started && !$past(reset) && !arm) begin
            if (armed)
                assert (!done && (written == {1'b0, write_address}) && (written < asked_for));
            if (done)
                assert (written == asked_for);
            if ($past(armed && !arm))
                assert (armed || done);
            if ($past(length_error && !arm))
                assert (length_error);
        end
    end
`endif
endmodule
