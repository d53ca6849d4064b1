// row_format: one form in which rows of elements cross: where a row lies in its beats, and the row that it becomes.
//
// A row of at most DATA_BITS bits has a slot of a beat, DATA_BITS / 2^i bits with the largest i that it fits: row j of
// the beat lies from bit j · DATA_BITS / 2^i on. A longer row takes whole beats, its lowest bits in the first.
// Elements are in two's complement and sign-extended from PACKED_BITS to ELEMENT_BITS bits.
//
// Ports:
//   rows           in   ROW_COUNT_BITS         rows that cross
//   beats          out  32                     the beats that they take; the last one may be filled in part
//   last_row       out  INDEX_BITS             rows of a beat, less 1
//   last_beat      out  INDEX_BITS             beats of a row, less 1
//   row_index      in   INDEX_BITS             which row of the beat, 0 if a row takes whole beats
//   beat           in   DATA_BITS              the beat with the row, or with its end
//   beats_before   in   HELD_BITS              the beats before it, the newest in the highest bits
//   row            out  ELEMENTS*ELEMENT_BITS  the row, element e at bits e · ELEMENT_BITS
//
// Latency: combinational.
module row_format #(
    parameter DATA_BITS = 64,
    parameter HELD_BITS = 64,
    parameter ELEMENTS = 4,
    parameter PACKED_BITS = 4,
    parameter ELEMENT_BITS = 8,
    parameter ROW_COUNT_BITS = 9,
    parameter INDEX_BITS = 8
) (
    input  wire [ROW_COUNT_BITS-1:0]        rows,
    output wire [31:0]                      beats,
    output wire [INDEX_BITS-1:0]            last_row,
    output wire [INDEX_BITS-1:0]            last_beat,
    input  wire [INDEX_BITS-1:0]            row_index,
    input  wire [DATA_BITS-1:0]             beat,
    input  wire [HELD_BITS-1:0]             beats_before,
    output wire [ELEMENTS*ELEMENT_BITS-1:0] row
);
    localparam ROW_BITS = ELEMENTS * PACKED_BITS;
    localparam FITTING_ROWS = DATA_BITS / ROW_BITS;
    localparam SLOT_LOG = (FITTING_ROWS > 1) ? $clog2(FITTING_ROWS + 1) - 1 : 0;
    localparam ROWS_OF_BEAT = 1 << SLOT_LOG;
    localparam SLOT_BITS = DATA_BITS / ROWS_OF_BEAT;
    localparam BEATS_OF_ROW = (ROW_BITS + DATA_BITS - 1) / DATA_BITS;
    localparam LAST_ROW = ROWS_OF_BEAT - 1;
    localparam LAST_BEAT = BEATS_OF_ROW - 1;

    assign last_row = LAST_ROW[INDEX_BITS-1:0];
    assign last_beat = LAST_BEAT[INDEX_BITS-1:0];

    wire [31:0] wide_rows = {{(32-ROW_COUNT_BITS){1'b0}}, rows};

    wire [ROW_BITS-1:0] packed_row;
    generate
        if (BEATS_OF_ROW > 1) begin : whole_beats
            localparam FACTOR_BITS = $clog2(BEATS_OF_ROW + 1);
            wire [32+FACTOR_BITS-1:0] product;
            shift_add_product #(.SIGNED_BITS(32), .FACTOR_BITS(FACTOR_BITS)) count_beats (
                .signed_factor(wide_rows), .factor(BEATS_OF_ROW[FACTOR_BITS-1:0]), .product(product)
            );
            assign beats = product[31:0];

            wire [HELD_BITS+DATA_BITS-1:0] content = {beat, beats_before};
            assign packed_row = content[HELD_BITS-LAST_BEAT*DATA_BITS +: ROW_BITS];
            wire unused = &{1'b0, product[32+FACTOR_BITS-1:32], content, row_index};
        end else begin : slots
            assign beats = (wide_rows + LAST_ROW) >> SLOT_LOG;

            reg [SLOT_BITS-1:0] slot;
            integer             index;
            always @* begin
                slot = {SLOT_BITS{1'b0}};
                for (index = 0; index < ROWS_OF_BEAT; index = index + 1)
                    if (row_index == index[INDEX_BITS-1:0])
                        slot = beat[index*SLOT_BITS +: SLOT_BITS];
            end
            assign packed_row = slot[ROW_BITS-1:0];
            wire unused = &{1'b0, slot, beats_before};
        end
    endgenerate

    genvar element;
    generate
        for (element = 0; element < ELEMENTS; element = element + 1) begin : elements
            wire [PACKED_BITS-1:0] value = packed_row[element*PACKED_BITS +: PACKED_BITS];
            assign row[element*ELEMENT_BITS +: ELEMENT_BITS] =
                {{(ELEMENT_BITS-PACKED_BITS){value[PACKED_BITS-1]}}, value};
        end
    endgenerate
endmodule
