// word_flag: whether a word is not all zero: the check that word_gatherer makes of each word it writes, on its own.
//
// Ports:
//   word  in   ROWS  a spike word
//   flag  out  1     a bit of it is 1
//
// Latency: combinational.
module word_flag #(
    parameter ROWS = 16
) (
    input  wire [ROWS-1:0] word,
    output wire            flag
);
    assign flag = |word;
endmodule
