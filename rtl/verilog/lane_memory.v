// lane_memory: a memory of words of which single lanes can be written.
//
// Ports:
//   clock          in   1             rising edge
//   write_lanes    in   WIDTH         lanes that are written
//   write_address  in   ADDRESS_BITS  word written
//   write_data     in   WIDTH         its new lanes
//   read_enable    in   1             read_address is read; without it read_data keeps its value
//   read_address   in   ADDRESS_BITS  word read
//   read_data      out  WIDTH         the word read last
//
// Latency: 1 cycle from read_address to read_data. A read of the word being written gives the old content.
module lane_memory #(
    parameter WIDTH = 16,
    parameter ROWS = 16,
    parameter ADDRESS_BITS = (ROWS > 1) ? $clog2(ROWS) : 1
) (
    input  wire                    clock,
    input  wire [WIDTH-1:0]        write_lanes,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [WIDTH-1:0]        write_data,
    input  wire                    read_enable,
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [WIDTH-1:0]        read_data
);
    reg [WIDTH-1:0] cells [0:ROWS-1];

    integer lane;
    always @(posedge clock) begin
        for (lane = 0; lane < WIDTH; lane = lane + 1)
            if (write_lanes[lane])
                cells[write_address][lane] <= write_data[lane];
        if (read_enable)
            read_data <= cells[read_address];
    end
endmodule
