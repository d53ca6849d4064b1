// ac_array: ROWS × COLUMNS AND-gate accumulate array. Every column sees the same spike word.
//
// Ports:
//   clock           in   1                                 rising edge
//   write_enable    in   1                                 a beat of the next weight tile is at write_weights
//   write_beat      in   BEAT_BITS                         its number in the tile: rows write_beat·LOAD_ROWS …
//   write_bank      in   1                                 the bank that loads
//   write_weights   in   LOAD_ROWS*COLUMNS*WEIGHT_BITS     row after row, column 0 in the lowest bits
//   enable          in   1                                 `spikes` is an issued word
//   spikes          in   ROWS                              one bit a lane
//   bank            in   1                                 the bank that computes; travels with the word
//   sums            out  COLUMNS*SUM_BITS                  one signed sum a column, of the word taken last
//
// Latency: 1 cycle from spikes to sums.
module ac_array #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter WEIGHT_BITS = 8,
    parameter LOAD_ROWS = 1,
    parameter BEATS = 16,
    parameter BEAT_BITS = 4,
    parameter SUM_BITS = 12
) (
    input  wire                                     clock,
    input  wire                                     write_enable,
    input  wire [BEAT_BITS-1:0]                     write_beat,
    input  wire                                     write_bank,
    input  wire [LOAD_ROWS*COLUMNS*WEIGHT_BITS-1:0] write_weights,
    input  wire                                     enable,
    input  wire [ROWS-1:0]                          spikes,
    input  wire                                     bank,
    output wire [COLUMNS*SUM_BITS-1:0]              sums
);
    wire [BEATS-1:0] beat_enable;

    genvar beat, column, row;
    generate
        for (beat = 0; beat < BEATS; beat = beat + 1) begin : beats
            assign beat_enable[beat] = write_enable && (write_beat == beat[BEAT_BITS-1:0]);
        end
        for (column = 0; column < COLUMNS; column = column + 1) begin : columns
            wire [LOAD_ROWS*WEIGHT_BITS-1:0] column_weights;
            for (row = 0; row < LOAD_ROWS; row = row + 1) begin : rows
                assign column_weights[row*WEIGHT_BITS +: WEIGHT_BITS] =
                    write_weights[(row*COLUMNS + column)*WEIGHT_BITS +: WEIGHT_BITS];
            end
            ac_column #(
                .ROWS(ROWS), .WEIGHT_BITS(WEIGHT_BITS), .LOAD_ROWS(LOAD_ROWS), .BEATS(BEATS), .SUM_BITS(SUM_BITS)
            ) ac_column (
                .clock(clock),
                .write_beat(beat_enable),
                .write_bank(write_bank),
                .write_weights(column_weights),
                .enable(enable),
                .spikes(spikes),
                .bank(bank),
                .sum(sums[column*SUM_BITS +: SUM_BITS])
            );
        end
    endgenerate
endmodule
