// layer_bench: harness of the generated top: loads its memories from files, and writes the walk stream to one.
//
// The bench sets layer_index and the row counts, pulses `load`, then `start` for each block; files are layer<index>/<memory>.hex
// in the working directory, the capture is layer<index>/trace.hex. Python is called at the handshakes only.
module layer_bench #(
    parameter COLUMNS = 16,
    parameter MEMBRANE_BITS = 24,
    parameter VALUE_BITS = 24,
    parameter ACCUMULATOR_BITS = 24,
    parameter COUNTER_BITS = 48,
    parameter LAYER_BITS = 107,
    parameter DESCRIPTOR_ADDRESS_BITS = 8
) (
    input  wire                    clock,
    input  wire                    reset,
    input  wire                    load,
    input  wire                    start,
    input  wire                    finish,
    input  wire [31:0]             layer_index,
    input  wire [31:0]             descriptor_rows,
    input  wire [31:0]             weight_rows,
    input  wire [31:0]             flag_rows,
    input  wire [31:0]             word_rows,
    input  wire [31:0]             parameter_rows,
    input  wire [LAYER_BITS-1:0]   layer,
    input  wire [DESCRIPTOR_ADDRESS_BITS-1:0] start_row,
    input  wire [4:0]              counter_select,
    output wire [COUNTER_BITS-1:0] counter_value,
    output wire                    busy,
    output wire                    done
);
    wire                                walk_valid;
    wire [COLUMNS-1:0]                  walk_spikes;
    wire [COLUMNS*MEMBRANE_BITS-1:0]    walk_membranes;
    wire [COLUMNS*VALUE_BITS-1:0]       walk_currents;
    wire [COLUMNS*ACCUMULATOR_BITS-1:0] walk_accumulators;

    dtss_strip_engine_top top (
        .clock(clock),
        .reset(reset),
        .start(start),
        .start_row(start_row),
        .layer(layer),
        .busy(busy),
        .done(done),
        .descriptor_write_enable(1'b0),
        .descriptor_write_address(0),
        .descriptor_write_row(0),
        .weight_write_enable(1'b0),
        .weight_write_address(0),
        .weight_write_row(0),
        .flag_write_enable(1'b0),
        .flag_write_address(0),
        .flag_write_row(0),
        .word_write_enable(1'b0),
        .word_write_address(0),
        .word_write_row(0),
        .parameter_write_enable(1'b0),
        .parameter_write_address(0),
        .parameter_write_row(0),
        .walk_valid(walk_valid),
        .walk_spikes(walk_spikes),
        .walk_membranes(walk_membranes),
        .walk_currents(walk_currents),
        .walk_accumulators(walk_accumulators),
        .counter_select(counter_select),
        .counter_value(counter_value)
    );

    reg [8*64-1:0] path;
    integer        trace;

    always @(posedge clock) begin
        if (load) begin
            if (descriptor_rows != 0) begin
                $sformat(path, "layer%0d/descriptors.hex", layer_index);
                $readmemh(path, top.engine.descriptor_memory.cells, 0, descriptor_rows - 1);
            end
            if (weight_rows != 0) begin
                $sformat(path, "layer%0d/weights.hex", layer_index);
                $readmemh(path, top.engine.weight_memory.cells, 0, weight_rows - 1);
            end
            if (flag_rows != 0) begin
                $sformat(path, "layer%0d/flags.hex", layer_index);
                $readmemh(path, top.engine.flag_memory.cells, 0, flag_rows - 1);
            end
            if (word_rows != 0) begin
                $sformat(path, "layer%0d/words.hex", layer_index);
                $readmemh(path, top.engine.word_memory.cells, 0, word_rows - 1);
            end
            if (parameter_rows != 0) begin
                $sformat(path, "layer%0d/parameters.hex", layer_index);
                $readmemh(path, top.engine.parameter_memory.cells, 0, parameter_rows - 1);
            end
            $sformat(path, "layer%0d/trace.hex", layer_index);
            trace = $fopen(path, "w");
        end
        if (walk_valid)
            $fwrite(trace, "%h\n", {walk_spikes, walk_membranes, walk_currents, walk_accumulators});
        if (finish)
            $fclose(trace);
    end
endmodule
