// weight_loader: brings weight blocks from outside into the weight and parameter memories, in the order of its table.
//
// A row of the transfer table, from the highest bits to the lowest:
//
//   last                 1                      the table ends with this transfer
//   after                RUN_BITS               it waits until runs_done >= after: what it overwrites was used
//   byte_address         32                     where its first beat lies outside
//   weight_rows          WEIGHT_ADDRESS_BITS+1  rows of the weight memory; together with parameter_rows at least 1
//   first_weight_row     WEIGHT_ADDRESS_BITS    the first of them
//   narrow               NARROW_SELECT_BITS     0: weights cross at WEIGHT_BITS, i: at the i-th width of NARROW_BITS
//   parameter_rows       PARAMETER_ADDRESS_BITS+1
//   first_parameter_row  PARAMETER_ADDRESS_BITS
//
// A transfer is one command on `fetch` and then its beats on `data`: its weight rows, then, from a new beat on, its
// parameter rows, both as in row_format. Rows wrap around at WEIGHT_ROWS and PARAMETER_ROWS. TLAST belongs to the last
// beat; whatever it says, the beats that the table asks for are taken, and length_error remembers a wrong one.
// One transfer follows the other. With LATENCY cycles from a command to its first beat, and a beat a cycle,
//
//   arrived[k] = max(arrived[k−1], done[after]) + LATENCY + Σ rows · max(1, beats of a row) + 1
//
// where arrived[−1] is the cycle after `start`, done[after] the first cycle in which runs_done >= after, and arrived[k]
// the first cycle in which `arrived` counts transfer k. The 1 is the cycle in which the wait ends.
//
// Ports:
//   clock                    in   1                       rising edge
//   reset                    in   1                       synchronous; what is on the way outside must be reset too
//   start                    in   1                       begin the table; seen while not busy
//   runs_done                in   RUN_BITS                runs complete in this image: never falls while busy
//   table_write_enable       in   1                       fill the table
//   table_write_address      in   TABLE_ADDRESS_BITS      number of the transfer
//   table_write_row          in   TABLE_ROW_BITS          its row
//   fetch_tdata              out  64                      AXI4-Stream master: {bytes, byte_address}, 32 bits each
//   fetch_tvalid             out  1                       AXI4-Stream
//   fetch_tready             in   1                       AXI4-Stream
//   data_tdata               in   DATA_BITS               AXI4-Stream slave: a beat, the lowest byte address lowest
//   data_tvalid              in   1                       AXI4-Stream
//   data_tready              out  1                       AXI4-Stream: low while more rows of the beat are written
//   data_tlast               in   1                       AXI4-Stream: the transfer's last beat
//   weight_write_enable      out  1                       a weight row is written
//   weight_write_address     out  WEIGHT_ADDRESS_BITS     its address
//   weight_write_row         out  WEIGHT_ROW_BITS         LOAD_ROWS · COLUMNS weights
//   parameter_write_enable   out  1                       a parameter row is written
//   parameter_write_address  out  PARAMETER_ADDRESS_BITS  its address
//   parameter_write_row      out  PARAMETER_ROW_BITS      its content
//   arrived                  out  TABLE_ADDRESS_BITS+1    transfers complete since `start`
//   busy                     out  1                       the table is not at its end
//   length_error             out  1                       a wrong TLAST; until the next start
//
// Latency: `start` in cycle n, nothing to wait for: the first command is offered in n + 2. A row is written in the
// cycle in which its (last) beat is offered and the rows before it are written.
module weight_loader #(
    parameter DATA_BITS = 64,
    parameter COLUMNS = 4,
    parameter LOAD_ROWS = 1,
    parameter WEIGHT_BITS = 8,
    parameter NARROW_COUNT = 1,
    parameter NARROW_BITS = 4,  // up to four widths below WEIGHT_BITS, 8 bits each, the first one lowest
    parameter PARAMETER_ROW_BITS = 384,
    parameter WEIGHT_ROWS = 256,
    parameter PARAMETER_ROWS = 32,
    parameter RUN_BITS = 8,
    parameter TABLE_ADDRESS_BITS = 4,
    parameter TABLE_FILE = "",  // what the table holds before it is written
    parameter WEIGHT_ADDRESS_BITS = (WEIGHT_ROWS > 1) ? $clog2(WEIGHT_ROWS) : 1,
    parameter PARAMETER_ADDRESS_BITS = (PARAMETER_ROWS > 1) ? $clog2(PARAMETER_ROWS) : 1,
    parameter WEIGHT_ROW_BITS = LOAD_ROWS * COLUMNS * WEIGHT_BITS,
    parameter NARROW_SELECT_BITS = (NARROW_COUNT > 1) ? $clog2(NARROW_COUNT + 1) : 1,
    parameter TABLE_ROW_BITS =
        35 + RUN_BITS + 2 * WEIGHT_ADDRESS_BITS + NARROW_SELECT_BITS + 2 * PARAMETER_ADDRESS_BITS
) (
    input  wire                              clock,
    input  wire                              reset,
    input  wire                              start,
    input  wire [RUN_BITS-1:0]               runs_done,
    input  wire                              table_write_enable,
    input  wire [TABLE_ADDRESS_BITS-1:0]     table_write_address,
    input  wire [TABLE_ROW_BITS-1:0]         table_write_row,
    output reg  [63:0]                       fetch_tdata,
    output wire                              fetch_tvalid,
    input  wire                              fetch_tready,
    input  wire [DATA_BITS-1:0]              data_tdata,
    input  wire                              data_tvalid,
    output wire                              data_tready,
    input  wire                              data_tlast,
    output wire                              weight_write_enable,
    output wire [WEIGHT_ADDRESS_BITS-1:0]    weight_write_address,
    output wire [WEIGHT_ROW_BITS-1:0]        weight_write_row,
    output wire                              parameter_write_enable,
    output wire [PARAMETER_ADDRESS_BITS-1:0] parameter_write_address,
    output wire [PARAMETER_ROW_BITS-1:0]     parameter_write_row,
    output reg  [TABLE_ADDRESS_BITS:0]       arrived,
    output wire                              busy,
    output reg                               length_error
);
    localparam IDLE = 2'd0, WAIT = 2'd1, COMMAND = 2'd2, RECEIVE = 2'd3;

    localparam ELEMENTS = LOAD_ROWS * COLUMNS;
    localparam LONGEST_ROW_BITS = (WEIGHT_ROW_BITS > PARAMETER_ROW_BITS) ? WEIGHT_ROW_BITS : PARAMETER_ROW_BITS;
    localparam MOST_BEATS = (LONGEST_ROW_BITS + DATA_BITS - 1) / DATA_BITS;
    localparam HELD_BITS = (MOST_BEATS > 1) ? (MOST_BEATS - 1) * DATA_BITS : DATA_BITS;
    localparam INDEX_BITS = $clog2((MOST_BEATS > DATA_BITS) ? MOST_BEATS + 1 : DATA_BITS + 1);
    localparam BYTES_LOG = $clog2(DATA_BITS / 8);
    localparam LAST_WEIGHT_ROW = WEIGHT_ROWS - 1;
    localparam LAST_PARAMETER_ROW = PARAMETER_ROWS - 1;

    reg [1:0] state;
    assign busy = state != IDLE;
    assign fetch_tvalid = state == COMMAND;
    wire   receiving = state == RECEIVE;

    // The table. Its next row is read while a transfer is fetched, so that it is there when the transfer is complete.
    wire                          command_taken = fetch_tvalid && fetch_tready;
    reg  [TABLE_ADDRESS_BITS-1:0] next_transfer;
    reg                           current_last;
    wire                          read_transfer = ((state == IDLE) && start) || (command_taken && !current_last);
    wire [TABLE_ROW_BITS-1:0]     transfer;
    synchronous_memory #(
        .WIDTH(TABLE_ROW_BITS), .ROWS(1 << TABLE_ADDRESS_BITS), .FILE(TABLE_FILE)
    ) transfer_table (
        .clock(clock),
        .write_enable(table_write_enable),
        .write_address(table_write_address),
        .write_data(table_write_row),
        .read_enable(read_transfer),
        .read_address(next_transfer),
        .read_data(transfer)
    );

    wire                              last;
    wire [RUN_BITS-1:0]               after;
    wire [31:0]                       byte_address;
    wire [WEIGHT_ADDRESS_BITS:0]      weight_rows;
    wire [WEIGHT_ADDRESS_BITS-1:0]    first_weight_row;
    wire [NARROW_SELECT_BITS-1:0]     narrow;
    wire [PARAMETER_ADDRESS_BITS:0]   parameter_rows;
    wire [PARAMETER_ADDRESS_BITS-1:0] first_parameter_row;
    assign {
        last, after, byte_address, weight_rows, first_weight_row, narrow, parameter_rows, first_parameter_row
    } = transfer;

    wire begin_transfer = (state == WAIT) && (runs_done >= after);

    // The running transfer.
    reg [WEIGHT_ADDRESS_BITS:0]      weight_rows_left;
    reg [PARAMETER_ADDRESS_BITS:0]   parameter_rows_left;
    reg [WEIGHT_ADDRESS_BITS-1:0]    weight_row;
    reg [PARAMETER_ADDRESS_BITS-1:0] parameter_row;
    reg [NARROW_SELECT_BITS-1:0]     current_narrow;
    reg [INDEX_BITS-1:0]             row_index;     // rows written of this beat
    reg [INDEX_BITS-1:0]             beat_index;    // beats held of this row
    reg [HELD_BITS-1:0]              beats_before;  // the newest in the highest bits

    // Every form that weight rows cross in; the parameters' form.
    wire [(NARROW_COUNT+1)*32-1:0]              format_beats;
    wire [(NARROW_COUNT+1)*INDEX_BITS-1:0]      format_last_row;
    wire [(NARROW_COUNT+1)*INDEX_BITS-1:0]      format_last_beat;
    wire [(NARROW_COUNT+1)*WEIGHT_ROW_BITS-1:0] format_row;
    genvar number;
    generate
        for (number = 0; number <= NARROW_COUNT; number = number + 1) begin : formats
            localparam CROSSING_BITS = (number > 0) ? (NARROW_BITS >> (8 * (number - 1))) & 255 : WEIGHT_BITS;
            row_format #(
                .DATA_BITS(DATA_BITS), .HELD_BITS(HELD_BITS), .ELEMENTS(ELEMENTS), .PACKED_BITS(CROSSING_BITS),
                .ELEMENT_BITS(WEIGHT_BITS), .ROW_COUNT_BITS(WEIGHT_ADDRESS_BITS+1), .INDEX_BITS(INDEX_BITS)
            ) weights (
                .rows(weight_rows),
                .beats(format_beats[number*32 +: 32]),
                .last_row(format_last_row[number*INDEX_BITS +: INDEX_BITS]),
                .last_beat(format_last_beat[number*INDEX_BITS +: INDEX_BITS]),
                .row_index(row_index),
                .beat(data_tdata),
                .beats_before(beats_before),
                .row(format_row[number*WEIGHT_ROW_BITS +: WEIGHT_ROW_BITS])
            );
        end
    endgenerate

    wire [31:0]           parameter_beats;
    wire [INDEX_BITS-1:0] parameter_last_row;
    wire [INDEX_BITS-1:0] parameter_last_beat;
    row_format #(
        .DATA_BITS(DATA_BITS), .HELD_BITS(HELD_BITS), .ELEMENTS(1), .PACKED_BITS(PARAMETER_ROW_BITS),
        .ELEMENT_BITS(PARAMETER_ROW_BITS), .ROW_COUNT_BITS(PARAMETER_ADDRESS_BITS+1), .INDEX_BITS(INDEX_BITS)
    ) parameters (
        .rows(parameter_rows),
        .beats(parameter_beats),
        .last_row(parameter_last_row),
        .last_beat(parameter_last_beat),
        .row_index(row_index),
        .beat(data_tdata),
        .beats_before(beats_before),
        .row(parameter_write_row)
    );

    reg [31:0]                weight_beats;      // of the transfer that waits
    reg [INDEX_BITS-1:0]      weight_last_row;   // of the transfer that runs, as the next two
    reg [INDEX_BITS-1:0]      weight_last_beat;
    reg [WEIGHT_ROW_BITS-1:0] selected_row;
    integer                   format;
    always @* begin
        weight_beats = format_beats[31:0];
        weight_last_row = format_last_row[INDEX_BITS-1:0];
        weight_last_beat = format_last_beat[INDEX_BITS-1:0];
        selected_row = format_row[WEIGHT_ROW_BITS-1:0];
        for (format = 1; format <= NARROW_COUNT; format = format + 1) begin
            if (narrow == format[NARROW_SELECT_BITS-1:0])
                weight_beats = format_beats[format*32 +: 32];
            if (current_narrow == format[NARROW_SELECT_BITS-1:0]) begin
                weight_last_row = format_last_row[format*INDEX_BITS +: INDEX_BITS];
                weight_last_beat = format_last_beat[format*INDEX_BITS +: INDEX_BITS];
                selected_row = format_row[format*WEIGHT_ROW_BITS +: WEIGHT_ROW_BITS];
            end
        end
    end
    assign weight_write_row = selected_row;

    // Unpacking. A row that ends in this beat is written; the beat goes when no row of it is left.
    wire                  in_weights = weight_rows_left != {(WEIGHT_ADDRESS_BITS+1){1'b0}};
    wire                  last_of_weights = weight_rows_left == {{WEIGHT_ADDRESS_BITS{1'b0}}, 1'b1};
    wire                  last_of_parameters = parameter_rows_left == {{PARAMETER_ADDRESS_BITS{1'b0}}, 1'b1};
    wire                  no_parameters = parameter_rows_left == {(PARAMETER_ADDRESS_BITS+1){1'b0}};
    wire [INDEX_BITS-1:0] last_row = in_weights ? weight_last_row : parameter_last_row;
    wire [INDEX_BITS-1:0] last_beat = in_weights ? weight_last_beat : parameter_last_beat;
    wire                  last_of_part = in_weights ? last_of_weights : last_of_parameters;
    wire                  beat_used_up = (row_index == last_row) || last_of_part;
    wire                  write_row = receiving && data_tvalid && (beat_index == last_beat);
    wire                  end_transfer = write_row && last_of_part && (!in_weights || no_parameters);

    assign data_tready = receiving && beat_used_up;
    wire   beat_taken = data_tready && data_tvalid;

    assign weight_write_enable = write_row && in_weights;
    assign weight_write_address = weight_row;
    assign parameter_write_enable = write_row && !in_weights;
    assign parameter_write_address = parameter_row;

    always @(posedge clock)
        if (reset)
            state <= IDLE;
        else
            case (state)
                IDLE: state <= start ? WAIT : IDLE;
                WAIT: state <= begin_transfer ? COMMAND : WAIT;
                COMMAND: state <= fetch_tready ? RECEIVE : COMMAND;
                default: state <= !end_transfer ? RECEIVE : current_last ? IDLE : WAIT;
            endcase

    always @(posedge clock)
        if (reset || (end_transfer && current_last))
            next_transfer <= {TABLE_ADDRESS_BITS{1'b0}};
        else if (read_transfer)
            next_transfer <= next_transfer + 1'b1;

    wire [31:0] beats = weight_beats + parameter_beats;
    always @(posedge clock)
        if (begin_transfer) begin
            fetch_tdata <= {beats << BYTES_LOG, byte_address};
            current_last <= last;
            current_narrow <= narrow;
        end

    always @(posedge clock)
        if (begin_transfer) begin
            weight_rows_left <= weight_rows;
            weight_row <= first_weight_row;
        end else if (weight_write_enable) begin
            weight_rows_left <= weight_rows_left - 1'b1;
            weight_row <= (weight_row == LAST_WEIGHT_ROW[WEIGHT_ADDRESS_BITS-1:0])
                ? {WEIGHT_ADDRESS_BITS{1'b0}} : weight_row + 1'b1;
        end

    always @(posedge clock)
        if (begin_transfer) begin
            parameter_rows_left <= parameter_rows;
            parameter_row <= first_parameter_row;
        end else if (parameter_write_enable) begin
            parameter_rows_left <= parameter_rows_left - 1'b1;
            parameter_row <= (parameter_row == LAST_PARAMETER_ROW[PARAMETER_ADDRESS_BITS-1:0])
                ? {PARAMETER_ADDRESS_BITS{1'b0}} : parameter_row + 1'b1;
        end

    always @(posedge clock)
        if (begin_transfer)
            row_index <= {INDEX_BITS{1'b0}};
        else if (write_row)
            row_index <= beat_used_up ? {INDEX_BITS{1'b0}} : row_index + 1'b1;

    always @(posedge clock)
        if (begin_transfer)
            beat_index <= {INDEX_BITS{1'b0}};
        else if (beat_taken)
            beat_index <= write_row ? {INDEX_BITS{1'b0}} : beat_index + 1'b1;

    wire [HELD_BITS+DATA_BITS-1:0] held_and_beat = {data_tdata, beats_before};
    always @(posedge clock)
        if (beat_taken)
            beats_before <= held_and_beat[HELD_BITS+DATA_BITS-1:DATA_BITS];

    always @(posedge clock)
        if (reset || (!busy && start)) begin
            arrived <= {(TABLE_ADDRESS_BITS+1){1'b0}};
            length_error <= 1'b0;
        end else begin
            if (end_transfer)
                arrived <= arrived + 1'b1;
            if (beat_taken && (data_tlast != end_transfer))
                length_error <= 1'b1;
        end

    wire unused = &{1'b0, held_and_beat[DATA_BITS-1:0]};

`ifdef FORMAL
    // The stream's rules for commands; beats are taken only of a command that was taken; no row outside the memories.
    reg started = 1'b0;
    reg owed;  // a command was taken and its last row is not written
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        if (state == WAIT) begin
            assume ((weight_rows != 0) || (parameter_rows != 0));
            assume (first_weight_row < WEIGHT_ROWS);
            assume (first_parameter_row < PARAMETER_ROWS);
        end
        if (reset || end_transfer)
            owed <= 1'b0;
        else if (command_taken)
            owed <= 1'b1;
        if (started && !$past(reset)) begin
            if ($past(fetch_tvalid && !fetch_tready)) begin
                assert (fetch_tvalid);
                assert ($stable(fetch_tdata));
            end
            assert (owed == receiving);
            assert (!data_tready || owed);
            assert (!(weight_write_enable && parameter_write_enable));
            if (busy && (state != WAIT)) begin
                assert (in_weights || !no_parameters);
                assert (weight_row < WEIGHT_ROWS);
                assert (parameter_row < PARAMETER_ROWS);
            end
            if ($past(receiving && data_tvalid && !data_tready))  // the beat still holds rows
                assert (receiving);
        end
    end
`endif
endmodule
