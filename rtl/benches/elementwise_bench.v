// elementwise_bench: harness of the elementwise unit: its two memories, filled from files and saved to files, and counts of
// what it did since `load`. Python is called at the handshakes only.
module elementwise_bench #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter VALUE_BITS = 24,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter TIME_STEPS = 4,
    parameter INPUTS = 2,
    parameter SIZE_BITS = 8,
    parameter ADDRESS_BITS = 12,
    parameter CONFIGURATION_BITS = 2 + TIME_STEPS + PLANE_BITS + (TIME_STEPS+1)*ADDRESS_BITS + 9*SIZE_BITS
                                 + INPUTS*(TIME_STEPS + PLANE_BITS + (TIME_STEPS+4)*ADDRESS_BITS)
) (
    input  wire                          clock,
    input  wire                          reset,
    input  wire                          load,
    input  wire                          start,
    input  wire                          save,
    input  wire [CONFIGURATION_BITS-1:0] configuration,
    output wire                          busy,
    output wire                          done,
    output reg  [31:0]                   busy_cycles,
    output reg  [31:0]                   ends,             // cycles with `done`
    output reg  [31:0]                   wrong_cycles,     // a signal where it may not be
    output reg  [31:0]                   spike_word_reads,
    output reg  [31:0]                   current_row_reads,
    output reg  [31:0]                   spike_word_writes,
    output reg  [31:0]                   current_row_writes
);
    wire                          current_memory, read_enable, write_enable;
    wire                          spike_word_read, current_row_read, spike_word_write, current_row_write;
    wire [ADDRESS_BITS-1:0]       read_address, write_address;
    reg  [ROWS-1:0]               read_word, word_row;
    reg  [COLUMNS*VALUE_BITS-1:0] read_currents, current_row;
    wire [ROWS-1:0]               write_word;
    wire [COLUMNS*VALUE_BITS-1:0] write_currents;
    elementwise_unit #(
        .ROWS(ROWS), .COLUMNS(COLUMNS), .VALUE_BITS(VALUE_BITS), .COUNT_BITS(COUNT_BITS), .PLANE_BITS(PLANE_BITS),
        .TIME_STEPS(TIME_STEPS), .INPUTS(INPUTS), .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) unit (
        .clock(clock),
        .reset(reset),
        .start(start),
        .configuration(configuration),
        .busy(busy),
        .done(done),
        .current_memory(current_memory),
        .read_enable(read_enable),
        .read_address(read_address),
        .word_row(word_row),
        .current_row(current_row),
        .write_enable(write_enable),
        .write_address(write_address),
        .write_word(write_word),
        .write_currents(write_currents),
        .spike_word_read(spike_word_read),
        .current_row_read(current_row_read),
        .spike_word_write(spike_word_write),
        .current_row_write(current_row_write)
    );

    reg [ROWS-1:0]               spike_memory [0:(1<<ADDRESS_BITS)-1];
    reg [COLUMNS*VALUE_BITS-1:0] current_memory_rows [0:(1<<ADDRESS_BITS)-1];

    always @(posedge clock) begin
        if (load) begin
            $readmemh("spike.hex", spike_memory);
            $readmemh("current.hex", current_memory_rows);
        end
        if (save) begin
            $writememh("spike_after.hex", spike_memory);
            $writememh("current_after.hex", current_memory_rows);
        end
        if (write_enable && !current_memory)
            spike_memory[write_address] <= write_word;
        if (write_enable && current_memory)
            current_memory_rows[write_address] <= write_currents;
        // Without a read, something else than what was read last: nobody may rely on it.
        if (busy && !current_memory)
            read_word <= read_enable ? spike_memory[read_address] : ~read_word;
        if (busy && current_memory)
            read_currents <= read_enable ? current_memory_rows[read_address] : ~read_currents;
        word_row <= read_word;
        current_row <= read_currents;
    end

    wire wrong = (done && !(busy && write_enable)) || ((read_enable || write_enable) && !busy)
              || (spike_word_read != (read_enable && !current_memory)) || (current_row_read != (read_enable && current_memory))
              || (spike_word_write != (write_enable && !current_memory))
              || (current_row_write != (write_enable && current_memory));

    always @(posedge clock)
        if (load) begin
            busy_cycles <= 0;
            ends <= 0;
            wrong_cycles <= 0;
            spike_word_reads <= 0;
            current_row_reads <= 0;
            spike_word_writes <= 0;
            current_row_writes <= 0;
        end else begin
            busy_cycles <= busy_cycles + {31'b0, busy};
            ends <= ends + {31'b0, done};
            wrong_cycles <= wrong_cycles + {31'b0, wrong};
            spike_word_reads <= spike_word_reads + {31'b0, spike_word_read};
            current_row_reads <= current_row_reads + {31'b0, current_row_read};
            spike_word_writes <= spike_word_writes + {31'b0, spike_word_write};
            current_row_writes <= current_row_writes + {31'b0, current_row_write};
        end
endmodule
