// membrane_memory: rows of COLUMNS membranes between time steps, where time runs outermost.
//
// Ports:
//   clock          in   1                      rising edge
//   step_live      in   1                      a live step is being walked: nothing is ever written without it
//   write          in   1                      the step's membranes are needed by a later one
//   write_address  in   MEMBRANE_ADDRESS_BITS  row written
//   write_row      in   COLUMNS*MEMBRANE_BITS  membranes after reset
//   read           in   1                      read_address is read; without it read_row keeps its value
//   read_address   in   MEMBRANE_ADDRESS_BITS  row read
//   read_row       out  COLUMNS*MEMBRANE_BITS  the row read last
//
// Latency: 1 cycle from read_address to read_row.
module membrane_memory #(
    parameter COLUMNS = 16,
    parameter MEMBRANE_BITS = 24,
    parameter MEMBRANE_ADDRESS_BITS = 8
) (
    input  wire                             clock,
    input  wire                             step_live,
    input  wire                             write,
    input  wire [MEMBRANE_ADDRESS_BITS-1:0] write_address,
    input  wire [COLUMNS*MEMBRANE_BITS-1:0] write_row,
    input  wire                             read,
    input  wire [MEMBRANE_ADDRESS_BITS-1:0] read_address,
    output reg  [COLUMNS*MEMBRANE_BITS-1:0] read_row
);
    reg [COLUMNS*MEMBRANE_BITS-1:0] membranes [0:(1<<MEMBRANE_ADDRESS_BITS)-1];

    always @(posedge clock) begin
        if (step_live && write)
            membranes[write_address] <= write_row;
        if (read)
            read_row <= membranes[read_address];
    end

`ifdef FORMAL
    // A row, whichever, changes only where a live step writes it.
    (* anyconst *) reg [MEMBRANE_ADDRESS_BITS-1:0] watched;
    reg                                            started = 1'b0;
    reg [COLUMNS*MEMBRANE_BITS-1:0]                content;
    always @(posedge clock) begin
        started <= 1'b1;
        content <= membranes[watched];
        if (started && membranes[watched] != content)
            assert ($past(step_live) && $past(write) && $past(write_address) == watched);
    end
`endif
endmodule
