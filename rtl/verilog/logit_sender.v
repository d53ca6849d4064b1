// logit_sender: the classifier's currents as an AXI4-Stream, one 32-bit logit a beat: for each step, for each class.
//
// The currents of step t are rows of COLUMNS values from row step_base[t] on, class k in row k div COLUMNS, column
// k mod COLUMNS. A step without a current sends zeros and reads nothing. TLAST comes with the last class of the last
// step. The read port of the current memory belongs to this module while it is busy: a row is read once, and the
// memory holds it while its beats wait.
//
// Ports:
//   clock         in   1                        rising edge
//   reset         in   1                        synchronous
//   start         in   1                        send the logits; seen while not busy
//   classes       in   CLASS_BITS               logits of a step, at least 1; constant while busy, as the next two
//   step_base     in   TIME_STEPS*ADDRESS_BITS  first row of each step
//   step_zero     in   TIME_STEPS               the step has no current: its logits are 0
//   read_enable   out  1                        read a row of the current memory
//   read_address  out  ADDRESS_BITS             its address
//   read_row      in   COLUMNS*VALUE_BITS       the row read last, from the next cycle on
//   logits_tdata  out  32                       AXI4-Stream master: the logit, sign-extended
//   logits_tvalid out  1                        AXI4-Stream
//   logits_tready in   1                        AXI4-Stream
//   logits_tlast  out  1                        AXI4-Stream: the last logit of the image
//   busy          out  1                        logits are on their way
//   done          out  1                        all were taken; until the next start
//
// Latency: `start` in cycle n: the first beat is offered in n + 3, then a beat a cycle.
module logit_sender #(
    parameter TIME_STEPS = 4,
    parameter COLUMNS = 16,
    parameter VALUE_BITS = 24,
    parameter ADDRESS_BITS = 8,
    parameter CLASS_BITS = 10
) (
    input  wire                               clock,
    input  wire                               reset,
    input  wire                               start,
    input  wire [CLASS_BITS-1:0]              classes,
    input  wire [TIME_STEPS*ADDRESS_BITS-1:0] step_base,
    input  wire [TIME_STEPS-1:0]              step_zero,
    output wire                               read_enable,
    output wire [ADDRESS_BITS-1:0]            read_address,
    input  wire [COLUMNS*VALUE_BITS-1:0]      read_row,
    output reg  [31:0]                        logits_tdata,
    output reg                                logits_tvalid,
    input  wire                               logits_tready,
    output reg                                logits_tlast,
    output wire                               busy,
    output reg                                done
);
    localparam COLUMN_BITS = (COLUMNS > 1) ? $clog2(COLUMNS) : 1;
    localparam LAST_COLUMN = COLUMNS - 1;

    // The beat that is looked up, two ahead of the beat on the stream.
    reg                    looking;
    reg [TIME_STEPS-1:0]   step;  // one-hot
    reg [CLASS_BITS-1:0]   class_number;
    reg [COLUMN_BITS-1:0]  column;
    reg [ADDRESS_BITS-1:0] row;

    reg [ADDRESS_BITS-1:0] base;
    integer                index;
    always @* begin
        base = {ADDRESS_BITS{1'b0}};
        for (index = 0; index < TIME_STEPS; index = index + 1)
            if (step[index])
                base = base | step_base[index*ADDRESS_BITS +: ADDRESS_BITS];
    end

    wire zero = |(step & step_zero);
    wire last_column = column == LAST_COLUMN[COLUMN_BITS-1:0];
    wire last_class = class_number == classes - 1'b1;
    wire last_beat = last_class && step[TIME_STEPS-1];
    reg  beat_valid;
    wire moves = !logits_tvalid || logits_tready;
    wire advance = looking && (!beat_valid || moves);

    assign busy = looking || beat_valid || logits_tvalid;
    assign read_enable = advance && !zero && (column == {COLUMN_BITS{1'b0}});
    assign read_address = base + row;

    always @(posedge clock)
        if (reset)
            looking <= 1'b0;
        else if (!busy && start)
            looking <= 1'b1;
        else if (advance && last_beat)
            looking <= 1'b0;

    always @(posedge clock)
        if (!busy) begin
            step <= {{(TIME_STEPS-1){1'b0}}, 1'b1};
            class_number <= {CLASS_BITS{1'b0}};
            column <= {COLUMN_BITS{1'b0}};
            row <= {ADDRESS_BITS{1'b0}};
        end else if (advance && last_class) begin
            step <= step << 1;
            class_number <= {CLASS_BITS{1'b0}};
            column <= {COLUMN_BITS{1'b0}};
            row <= {ADDRESS_BITS{1'b0}};
        end else if (advance) begin
            class_number <= class_number + 1'b1;
            column <= last_column ? {COLUMN_BITS{1'b0}} : column + 1'b1;
            row <= last_column ? row + 1'b1 : row;
        end

    // The beat between them: its column of the row read last.
    reg                   beat_zero, beat_last;
    reg [COLUMN_BITS-1:0] beat_column;
    always @(posedge clock)
        if (advance) begin
            beat_zero <= zero;
            beat_column <= column;
            beat_last <= last_beat;
        end

    always @(posedge clock)
        if (reset)
            beat_valid <= 1'b0;
        else if (advance)
            beat_valid <= 1'b1;
        else if (moves)
            beat_valid <= 1'b0;

    always @(posedge clock)
        if (reset || (!busy && start))
            done <= 1'b0;
        else if (logits_tvalid && logits_tready && logits_tlast)
            done <= 1'b1;

    reg [VALUE_BITS-1:0] value;
    integer              place;
    always @* begin
        value = {VALUE_BITS{1'b0}};
        for (place = 0; place < COLUMNS; place = place + 1)
            if (!beat_zero && (beat_column == place[COLUMN_BITS-1:0]))
                value = read_row[place*VALUE_BITS +: VALUE_BITS];
    end

    // The beat on the stream. A repetition below zero: values of more than 32 bits are refused at elaboration.
    always @(posedge clock)
        if (reset)
            logits_tvalid <= 1'b0;
        else if (moves)
            logits_tvalid <= beat_valid;
    always @(posedge clock)
        if (moves && beat_valid) begin
            logits_tdata <= {{(32-VALUE_BITS){value[VALUE_BITS-1]}}, value};
            logits_tlast <= beat_last;
        end

`ifdef FORMAL
    // The stream's rules, and as many beats as there are logits, TLAST with the last of them.
    localparam SENT_BITS = CLASS_BITS + TIME_STEPS + 1;
    reg                  started = 1'b0;
    reg  [SENT_BITS-1:0] sent;
    reg  [SENT_BITS-1:0] looked_up;
    wire [SENT_BITS-1:0] logits = classes * TIME_STEPS;
    integer              number;
    always @* begin
        looked_up = looking ? class_number : logits;
        for (number = 0; number < TIME_STEPS; number = number + 1)
            if (looking && step[number])
                looked_up = looked_up + number * classes;
    end
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else begin
            assume (classes != 0);
            assume ((!busy && !$past(busy)) || $stable({classes, step_base, step_zero}));
            assume ($past(read_enable) || $stable(read_row));
        end
        if (!busy)
            sent <= 0;
        else if (logits_tvalid && logits_tready)
            sent <= sent + 1'b1;
        if (started && !$past(reset)) begin
            if ($past(logits_tvalid && !logits_tready)) begin
                assert (logits_tvalid);
                assert ($stable({logits_tdata, logits_tlast}));
            end
            if (looking) begin
                assert ((step != 0) && ((step & (step - 1'b1)) == 0));
                assert (class_number < classes);
            end
            if (busy)
                assert (sent + beat_valid + logits_tvalid == looked_up);
            if (beat_valid)
                assert (beat_last == (sent + logits_tvalid == logits - 1'b1));
            if (logits_tvalid)
                assert (logits_tlast == (sent == logits - 1'b1));
            if ($past(busy) && !busy)
                assert (done && (sent == logits));
            if ($past(!busy && start))
                assert (busy && !done);
        end
    end
`endif
endmodule
