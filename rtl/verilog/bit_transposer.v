// bit_transposer: takes rows of bits one by one and gives their columns.
//
// Ports:
//   clock   in   1           rising edge
//   clear   in   1           before the first row: all bits back to 0
//   write   in   1           row `index` is `row`
//   index   in   INDEX_BITS  of the row
//   row     in   WIDTH       its bits
//   column  in   INDEX_BITS  the column asked for
//   bits    out  HEIGHT      bit r: bit `column` of row r
//
// Latency: a row of cycle n is in the columns from n + 1 on; `bits` follow `column` at once. clear and write may meet:
// the row is kept.
module bit_transposer #(
    parameter HEIGHT = 16,
    parameter WIDTH = 16,
    parameter INDEX_BITS = 5
) (
    input  wire                  clock,
    input  wire                  clear,
    input  wire                  write,
    input  wire [INDEX_BITS-1:0] index,
    input  wire [WIDTH-1:0]      row,
    input  wire [INDEX_BITS-1:0] column,
    output wire [HEIGHT-1:0]     bits
);
    localparam COLUMN_BITS = (WIDTH > 1) ? $clog2(WIDTH) : 1;
    genvar number;
    generate
        for (number = 0; number < HEIGHT; number = number + 1) begin : rows
            localparam [INDEX_BITS-1:0] NUMBER = number;
            reg [WIDTH-1:0] held;
            always @(posedge clock)
                if (write && index == NUMBER)
                    held <= row;
                else if (clear)
                    held <= {WIDTH{1'b0}};
            assign bits[number] = held[column[COLUMN_BITS-1:0]];
        end
    endgenerate

    wire unused = &{1'b0, column};
endmodule
