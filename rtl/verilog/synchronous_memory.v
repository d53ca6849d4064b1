// synchronous_memory: one write port, one read port whose data appear a cycle after the address and stay.
//
// With FILE, its rows are those of the file, hexadecimal, one a line, before anything is written.
//
// Ports:
//   clock          in   1             rising edge
//   write_enable   in   1             write_data is stored at write_address
//   write_address  in   ADDRESS_BITS  row written
//   write_data     in   WIDTH         its new content
//   read_enable    in   1             read_address is read; without it read_data keeps its value
//   read_address   in   ADDRESS_BITS  row read
//   read_data      out  WIDTH         the row read last
//
// Latency: 1 cycle from read_address to read_data. A read of the row being written gives the old content.
module synchronous_memory #(
    parameter WIDTH = 8,
    parameter ROWS = 16,
    parameter ADDRESS_BITS = (ROWS > 1) ? $clog2(ROWS) : 1,
    parameter FILE = ""
) (
    input  wire                    clock,
    input  wire                    write_enable,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [WIDTH-1:0]        write_data,
    input  wire                    read_enable,
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [WIDTH-1:0]        read_data
);
    reg [WIDTH-1:0] cells [0:ROWS-1];

    generate
        if (FILE != "") begin : content
            initial $readmemh(FILE, cells);
        end
    endgenerate

    always @(posedge clock) begin
        if (write_enable)
            cells[write_address] <= write_data;
        if (read_enable)
            read_data <= cells[read_address];
    end
endmodule
