// dram_model: what answers the weight loader's commands in a bench: `latency` cycles from a command to its first beat,
// then a beat a cycle, or with random gaps. One command at a time.
//
// Ports:
//   load           in   1          take the content from dram.hex, one beat a line
//   seed           in   32         of the gaps, taken with `load`; not 0
//   latency        in   8          at least 1
//   gaps           in   8          of 256 cycles, so many without a beat, and without the will to take a command
//   wrong_tlast    in   16         number of the beat in its transfer whose TLAST is inverted; all ones: none
//   fetch_*        in              commands: {bytes, byte_address}
//   data_*         out             beats
module dram_model #(
    parameter DATA_BITS = 64,
    parameter BEAT_ADDRESS_BITS = 12
) (
    input  wire                 clock,
    input  wire                 reset,
    input  wire                 load,
    input  wire [31:0]          seed,
    input  wire [7:0]           latency,
    input  wire [7:0]           gaps,
    input  wire [15:0]          wrong_tlast,
    input  wire [63:0]          fetch_tdata,
    input  wire                 fetch_tvalid,
    output wire                 fetch_tready,
    output wire [DATA_BITS-1:0] data_tdata,
    output wire                 data_tvalid,
    input  wire                 data_tready,
    output wire                 data_tlast
);
    localparam BYTES_LOG = $clog2(DATA_BITS / 8);

    reg [DATA_BITS-1:0] beats [0:(1<<BEAT_ADDRESS_BITS)-1];
    always @(posedge clock)
        if (load)
            $readmemh("dram.hex", beats);

    reg [31:0] random;  // xorshift, the same numbers in every simulator
    wire [31:0] first_mix = random ^ (random << 13);
    wire [31:0] second_mix = first_mix ^ (first_mix >> 17);
    always @(posedge clock)
        random <= load ? seed : second_mix ^ (second_mix << 5);

    reg                         active;
    reg [7:0]                   cycles_left;  // to the first beat
    reg [BEAT_ADDRESS_BITS-1:0] address;
    reg [31:0]                  beats_left;
    reg [15:0]                  beat_number;
    reg                         gap;

    wire taken = data_tvalid && data_tready;
    wire last = beats_left == 1;

    assign fetch_tready = !active && !gap;
    assign data_tvalid = active && (cycles_left == 0) && !gap;
    assign data_tdata = data_tvalid ? beats[address] : {DATA_BITS{1'bx}};
    assign data_tlast = data_tvalid ? last != (beat_number == wrong_tlast) : 1'bx;

    always @(posedge clock)
        if (reset)
            gap <= 1'b0;
        else if (!data_tvalid || taken)  // a beat that is offered stays
            gap <= random[7:0] < gaps;

    always @(posedge clock)
        if (reset)
            active <= 1'b0;
        else if (fetch_tvalid && fetch_tready) begin
            active <= 1'b1;
            cycles_left <= latency - 1;
            address <= fetch_tdata[BYTES_LOG +: BEAT_ADDRESS_BITS];
            beats_left <= fetch_tdata[63:32] >> BYTES_LOG;
            beat_number <= 0;
        end else if (taken) begin
            active <= !last;
            address <= address + 1;
            beats_left <= beats_left - 1;
            beat_number <= beat_number + 1;
        end else if (cycles_left != 0)
            cycles_left <= cycles_left - 1;

    wire unused = &{1'b0, fetch_tdata};
endmodule
