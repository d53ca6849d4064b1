// axi_lite_registers: the accelerator's registers, an AXI4-Lite slave of 32 bits.
//
//   offset  name            access  content
//   0x00    ID              read    the parameter ID
//   0x04    CONTROL         write   1 in bit 0: start, bit 1: load, bit 2: soft reset; each a pulse, reads as 0
//   0x08    STATUS          read    bit 0: idle, bit 1: done, bit 8 + i: errors[i]
//   0x0C    CYCLES_LOW      read    bits 31…0 of `cycles`; the read keeps the rest for CYCLES_HIGH
//   0x10    CYCLES_HIGH     read    the rest, as it was when CYCLES_LOW was read last
//   0x14    COUNTER_SELECT  both    number of the counter in the next two
//   0x18    COUNTER_LOW     read    bits 31…0 of the counter; the read keeps the rest for COUNTER_HIGH
//   0x1C    COUNTER_HIGH    read    the rest, as it was when COUNTER_LOW was read last
//   0x20    COUNT_NODE      both    number of the node whose events are counted; all ones, as after reset: of every node
//
// Address bits 1 and 0 are not looked at. Any other offset answers SLVERR, and so does a write to what can only be
// read; neither changes anything. WSTRB chooses the bytes that a write changes; a byte of CONTROL that is not chosen
// starts nothing. Address and data of a write may come in any order. A soft reset leaves these registers as they are.
//
// Ports:
//   clock              in   1                    rising edge
//   reset              in   1                    synchronous
//   registers_awaddr   in   ADDRESS_BITS         AXI4-Lite slave
//   registers_awprot   in   3                    AXI4-Lite, not looked at
//   registers_awvalid  in   1                    AXI4-Lite
//   registers_awready  out  1                    AXI4-Lite
//   registers_wdata    in   32                   AXI4-Lite
//   registers_wstrb    in   4                    AXI4-Lite
//   registers_wvalid   in   1                    AXI4-Lite
//   registers_wready   out  1                    AXI4-Lite
//   registers_bresp    out  2                    AXI4-Lite
//   registers_bvalid   out  1                    AXI4-Lite
//   registers_bready   in   1                    AXI4-Lite
//   registers_araddr   in   ADDRESS_BITS         AXI4-Lite
//   registers_arprot   in   3                    AXI4-Lite, not looked at
//   registers_arvalid  in   1                    AXI4-Lite
//   registers_arready  out  1                    AXI4-Lite
//   registers_rdata    out  32                   AXI4-Lite
//   registers_rresp    out  2                    AXI4-Lite
//   registers_rvalid   out  1                    AXI4-Lite
//   registers_rready   in   1                    AXI4-Lite
//   start              out  1                    CONTROL bit 0, for one cycle
//   load               out  1                    CONTROL bit 1, for one cycle
//   soft_reset         out  1                    CONTROL bit 2, for one cycle
//   idle               in   1                    STATUS
//   done               in   1                    STATUS
//   errors             in   ERROR_COUNT          STATUS
//   cycles             in   COUNTER_BITS         CYCLES_LOW and CYCLES_HIGH
//   counter_select     out  COUNTER_SELECT_BITS  COUNTER_SELECT
//   counter_value      in   COUNTER_BITS         the counter selected in the cycle before, or in this one
//   count_node         out  NODE_BITS            COUNT_NODE
//
// Latency: a write takes effect, and B is offered, in the second cycle after the later one of its address and its data is
// taken; R in the cycle after the address is taken. One read and one write every two cycles.
module axi_lite_registers #(
    parameter [31:0] ID = 32'h0001_0000,
    parameter ADDRESS_BITS = 8,
    parameter ERROR_COUNT = 2,
    parameter COUNTER_BITS = 48,
    parameter COUNTER_SELECT_BITS = 5,
    parameter NODE_BITS = 8
) (
    input  wire                           clock,
    input  wire                           reset,
    input  wire [ADDRESS_BITS-1:0]        registers_awaddr,
    input  wire [2:0]                     registers_awprot,
    input  wire                           registers_awvalid,
    output wire                           registers_awready,
    input  wire [31:0]                    registers_wdata,
    input  wire [3:0]                     registers_wstrb,
    input  wire                           registers_wvalid,
    output wire                           registers_wready,
    output reg  [1:0]                     registers_bresp,
    output reg                            registers_bvalid,
    input  wire                           registers_bready,
    input  wire [ADDRESS_BITS-1:0]        registers_araddr,
    input  wire [2:0]                     registers_arprot,
    input  wire                           registers_arvalid,
    output wire                           registers_arready,
    output reg  [31:0]                    registers_rdata,
    output reg  [1:0]                     registers_rresp,
    output reg                            registers_rvalid,
    input  wire                           registers_rready,
    output reg                            start,
    output reg                            load,
    output reg                            soft_reset,
    input  wire                           idle,
    input  wire                           done,
    input  wire [ERROR_COUNT-1:0]         errors,
    input  wire [COUNTER_BITS-1:0]        cycles,
    output wire [COUNTER_SELECT_BITS-1:0] counter_select,
    input  wire [COUNTER_BITS-1:0]        counter_value,
    output wire [NODE_BITS-1:0]           count_node
);
    localparam WORD_BITS = ADDRESS_BITS - 2;
    localparam [WORD_BITS-1:0]
        ID_WORD = 0, CONTROL = 1, STATUS = 2, CYCLES_LOW = 3, CYCLES_HIGH = 4, COUNTER_SELECT = 5, COUNTER_LOW = 6,
        COUNTER_HIGH = 7, COUNT_NODE = 8;
    localparam [1:0] OKAY = 2'b00, SLVERR = 2'b10;
    localparam HIGH_BITS = COUNTER_BITS - 32;

    // Writes: address and data are held until both are there and the answer before has gone.
    reg                 address_held;
    reg                 data_held;
    reg [WORD_BITS-1:0] write_word;
    reg [31:0]          write_data;
    reg [3:0]           write_strobe;
    assign registers_awready = !address_held;
    assign registers_wready = !data_held;

    wire write = address_held && data_held && (!registers_bvalid || registers_bready);
    wire write_control = write && (write_word == CONTROL);
    wire write_select = write && (write_word == COUNTER_SELECT);
    wire write_node = write && (write_word == COUNT_NODE);

    always @(posedge clock)
        if (reset)
            address_held <= 1'b0;
        else if (!address_held)
            address_held <= registers_awvalid;
        else if (write)
            address_held <= 1'b0;

    always @(posedge clock)
        if (reset)
            data_held <= 1'b0;
        else if (!data_held)
            data_held <= registers_wvalid;
        else if (write)
            data_held <= 1'b0;

    always @(posedge clock) begin
        if (!address_held)
            write_word <= registers_awaddr[ADDRESS_BITS-1:2];
        if (!data_held) begin
            write_data <= registers_wdata;
            write_strobe <= registers_wstrb;
        end
    end

    always @(posedge clock)
        if (reset)
            registers_bvalid <= 1'b0;
        else if (write)
            registers_bvalid <= 1'b1;
        else if (registers_bready)
            registers_bvalid <= 1'b0;

    always @(posedge clock)
        if (write)
            registers_bresp <= (write_control || write_select || write_node) ? OKAY : SLVERR;

    always @(posedge clock) begin
        start <= write_control && write_strobe[0] && write_data[0] && !reset;
        load <= write_control && write_strobe[0] && write_data[1] && !reset;
        soft_reset <= write_control && write_strobe[0] && write_data[2] && !reset;
    end

    wire [31:0] strobe_mask = {{8{write_strobe[3]}}, {8{write_strobe[2]}}, {8{write_strobe[1]}}, {8{write_strobe[0]}}};
    reg  [31:0] select_register;
    reg  [31:0] node_register;
    always @(posedge clock)
        if (reset) begin
            select_register <= 32'd0;
            node_register <= 32'hFFFF_FFFF;
        end else begin
            if (write_select)
                select_register <= (select_register & ~strobe_mask) | (write_data & strobe_mask);
            if (write_node)
                node_register <= (node_register & ~strobe_mask) | (write_data & strobe_mask);
        end
    assign counter_select = select_register[COUNTER_SELECT_BITS-1:0];
    assign count_node = node_register[NODE_BITS-1:0];

    // Reads.
    reg  [HIGH_BITS-1:0] cycles_high;
    reg  [HIGH_BITS-1:0] counter_high;
    wire [WORD_BITS-1:0] read_word = registers_araddr[ADDRESS_BITS-1:2];
    wire                 read = registers_arvalid && registers_arready;
    assign registers_arready = !registers_rvalid;

    reg [31:0] content;
    reg        mapped;
    always @* begin
        mapped = 1'b1;
        case (read_word)
            ID_WORD: content = ID;
            CONTROL: content = 32'd0;
            STATUS: content = {{(24-ERROR_COUNT){1'b0}}, errors, 6'd0, done, idle};
            CYCLES_LOW: content = cycles[31:0];
            CYCLES_HIGH: content = {{(32-HIGH_BITS){1'b0}}, cycles_high};
            COUNTER_SELECT: content = select_register;
            COUNTER_LOW: content = counter_value[31:0];
            COUNTER_HIGH: content = {{(32-HIGH_BITS){1'b0}}, counter_high};
            COUNT_NODE: content = node_register;
            default: begin
                content = 32'd0;
                mapped = 1'b0;
            end
        endcase
    end

    always @(posedge clock)
        if (read) begin
            registers_rdata <= content;
            registers_rresp <= mapped ? OKAY : SLVERR;
        end

    always @(posedge clock)
        if (reset)
            registers_rvalid <= 1'b0;
        else if (read)
            registers_rvalid <= 1'b1;
        else if (registers_rready)
            registers_rvalid <= 1'b0;

    always @(posedge clock)
        if (reset) begin
            cycles_high <= {HIGH_BITS{1'b0}};
            counter_high <= {HIGH_BITS{1'b0}};
        end else begin
            if (read && (read_word == CYCLES_LOW))
                cycles_high <= cycles[COUNTER_BITS-1:32];
            if (read && (read_word == COUNTER_LOW))
                counter_high <= counter_value[COUNTER_BITS-1:32];
        end

    wire unused = &{1'b0, registers_awprot, registers_arprot, registers_awaddr[1:0], registers_araddr[1:0],
                    select_register, node_register};

`ifdef FORMAL
    // Answers stay until they are taken, one for each address that was; CONTROL's outputs are pulses.
    reg       started = 1'b0;
    reg [1:0] writes_open;  // addresses taken less answers taken
    reg       reads_open;
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        if (reset) begin
            writes_open <= 2'd0;
            reads_open <= 1'b0;
        end else begin
            writes_open <= writes_open + (registers_awvalid && registers_awready)
                - (registers_bvalid && registers_bready);
            reads_open <= (reads_open || (registers_arvalid && registers_arready))
                && !(registers_rvalid && registers_rready);
        end
        if (started && !$past(reset)) begin
            if ($past(registers_bvalid && !registers_bready)) begin
                assert (registers_bvalid);
                assert ($stable(registers_bresp));
            end
            if ($past(registers_rvalid && !registers_rready)) begin
                assert (registers_rvalid);
                assert ($stable({registers_rdata, registers_rresp}));
            end
            assert (writes_open == {1'b0, address_held} + {1'b0, registers_bvalid});
            assert (reads_open == registers_rvalid);
            assert (!($past(start) && start));
            assert (!($past(load) && load));
            assert (!($past(soft_reset) && soft_reset));
            if ($past(!write))
                assert ($stable({count_node, counter_select}));
        end
    end
`endif
endmodule
