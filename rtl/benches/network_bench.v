// network_bench: the generated top with what network_bench.cpp watches inside it.
//
// Ports: those of the top without the sizes of registers_*prot, and
//   busy           an image is on its way
//   rows_done      rows of the program that have ended
//   counts         all performance counters, the first one lowest
//   walk_*         see strip_engine
//   word_write     the elementwise unit writes write_word into spike memory at write_address
//   currents_write, or write_currents into current memory
module network_bench #(
    parameter PIXEL_DATA_BITS = 24,
    parameter DATA_BITS = 64,
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter MEMBRANE_BITS = 24,
    parameter VALUE_BITS = 24,
    parameter ACCUMULATOR_BITS = 24,
    parameter COUNTERS_BITS = 1536,
    parameter ADDRESS_BITS = 12,
    parameter PROGRAM_ADDRESS_BITS = 6
) (
    input  wire                                clock,
    input  wire                                reset,
    input  wire [PIXEL_DATA_BITS-1:0]          pixels_tdata,
    input  wire                                pixels_tvalid,
    output wire                                pixels_tready,
    input  wire                                pixels_tlast,
    output wire [31:0]                         logits_tdata,
    output wire                                logits_tvalid,
    input  wire                                logits_tready,
    output wire                                logits_tlast,
    output wire [63:0]                         fetch_tdata,
    output wire                                fetch_tvalid,
    input  wire                                fetch_tready,
    input  wire [DATA_BITS-1:0]                data_tdata,
    input  wire                                data_tvalid,
    output wire                                data_tready,
    input  wire                                data_tlast,
    input  wire [7:0]                          registers_awaddr,
    input  wire                                registers_awvalid,
    output wire                                registers_awready,
    input  wire [31:0]                         registers_wdata,
    input  wire [3:0]                          registers_wstrb,
    input  wire                                registers_wvalid,
    output wire                                registers_wready,
    output wire [1:0]                          registers_bresp,
    output wire                                registers_bvalid,
    input  wire                                registers_bready,
    input  wire [7:0]                          registers_araddr,
    input  wire                                registers_arvalid,
    output wire                                registers_arready,
    output wire [31:0]                         registers_rdata,
    output wire [1:0]                          registers_rresp,
    output wire                                registers_rvalid,
    input  wire                                registers_rready,
    output wire                                busy,
    output wire [PROGRAM_ADDRESS_BITS-1:0]     rows_done,
    output wire [COUNTERS_BITS-1:0]            counts,
    output wire                                walk_valid,
    output wire [COLUMNS-1:0]                  walk_spikes,
    output wire [COLUMNS*MEMBRANE_BITS-1:0]    walk_membranes,
    output wire [COLUMNS*VALUE_BITS-1:0]       walk_currents,
    output wire [COLUMNS*ACCUMULATOR_BITS-1:0] walk_accumulators,
    output wire                                word_write,
    output wire                                currents_write,
    output wire [ADDRESS_BITS-1:0]             write_address,
    output wire [ROWS-1:0]                     write_word,
    output wire [COLUMNS*MEMBRANE_BITS-1:0]    write_currents
);
    dtss_accelerator_top top (
        .clock(clock),
        .reset(reset),
        .pixels_tdata(pixels_tdata),
        .pixels_tvalid(pixels_tvalid),
        .pixels_tready(pixels_tready),
        .pixels_tlast(pixels_tlast),
        .logits_tdata(logits_tdata),
        .logits_tvalid(logits_tvalid),
        .logits_tready(logits_tready),
        .logits_tlast(logits_tlast),
        .fetch_tdata(fetch_tdata),
        .fetch_tvalid(fetch_tvalid),
        .fetch_tready(fetch_tready),
        .data_tdata(data_tdata),
        .data_tvalid(data_tvalid),
        .data_tready(data_tready),
        .data_tlast(data_tlast),
        .registers_awaddr(registers_awaddr),
        .registers_awprot(3'd0),
        .registers_awvalid(registers_awvalid),
        .registers_awready(registers_awready),
        .registers_wdata(registers_wdata),
        .registers_wstrb(registers_wstrb),
        .registers_wvalid(registers_wvalid),
        .registers_wready(registers_wready),
        .registers_bresp(registers_bresp),
        .registers_bvalid(registers_bvalid),
        .registers_bready(registers_bready),
        .registers_araddr(registers_araddr),
        .registers_arprot(3'd0),
        .registers_arvalid(registers_arvalid),
        .registers_arready(registers_arready),
        .registers_rdata(registers_rdata),
        .registers_rresp(registers_rresp),
        .registers_rvalid(registers_rvalid),
        .registers_rready(registers_rready)
    );
    assign busy = top.machine_busy;
    assign rows_done = top.rows_done;
    assign counts = top.machine.counters.counts;
    assign walk_valid = top.walk_valid;
    assign walk_spikes = top.walk_spikes;
    assign walk_membranes = top.walk_membranes;
    assign walk_currents = top.walk_currents;
    assign walk_accumulators = top.walk_accumulators;
    assign word_write = top.machine.elementwise_spike_write;
    assign currents_write = top.machine.elementwise_current_write;
    assign write_address = top.machine.elementwise_write_address;
    assign write_word = top.machine.elementwise_write_word;
    assign write_currents = top.machine.elementwise_write_currents;
endmodule
