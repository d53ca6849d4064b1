// stationary_loader: fills the stationary memory with the operand of an attention product that stays in the array.
//
// Rows come in the order in which the passes load them:
//   time innermost:  for output tile:  for step:  for reduction tile:  for row
//   time outermost:  for step:  for output tile:  for reduction tile:  for row
// A row is COLUMNS weights: bits (or planes) of COLUMNS lanes of a spike word, or COLUMNS currents; or, turned, one lane
// of COLUMNS words: then a tile's tokens are read first and its rows are written after them.
//
// Ports:
//   clock               in   1                     rising edge
//   reset               in   1                     synchronous
//   start               in   1                     begin; not while busy
//   row                 in   STATIONARY_BITS       the configuration, see stationary_fields
//   busy                out  1                     from the cycle after `start` to the last write
//   done                out  1                     the last busy cycle
//   read_spikes         out  1                     a word of spike memory is read
//   read_currents       out  1                     a row of current memory is read
//   read_address        out  ADDRESS_BITS          of either
//   spike_word          in   ROWS                  the word read in the cycle before
//   current_row         in   COLUMNS*CURRENT_BITS  the row read in the cycle before
//   write_enable        out  LOAD_ROWS             rows of the beat that are written
//   write_address       out  BEAT_ADDRESS_BITS     the beat
//   write_row           out  COLUMNS*WEIGHT_BITS   the weights
//
// Latency: a row whose last bits are read in cycle n is written in n + 2. busy lasts as many cycles as rows or tokens are
// read and turned rows written, and 2.
module stationary_loader #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter TIME_STEPS = 4,
    parameter STATIONARY_BITS = 8,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter ADDRESS_BITS = 12,
    parameter WEIGHT_BITS = 8,
    parameter CURRENT_BITS = 24,
    parameter LOAD_ROWS = 1,
    parameter BEAT_ADDRESS_BITS = 8,
    parameter ROW_BITS = $clog2(ROWS + 1)
) (
    input  wire                            clock,
    input  wire                            reset,
    input  wire                            start,
    input  wire [STATIONARY_BITS-1:0]      row,
    output wire                            busy,
    output wire                            done,
    output wire                            read_spikes,
    output wire                            read_currents,
    output wire [ADDRESS_BITS-1:0]         read_address,
    input  wire [ROWS-1:0]                 spike_word,
    input  wire [COLUMNS*CURRENT_BITS-1:0] current_row,
    output reg  [LOAD_ROWS-1:0]            write_enable,
    output reg  [BEAT_ADDRESS_BITS-1:0]    write_address,
    output reg  [COLUMNS*WEIGHT_BITS-1:0]  write_row
);
    localparam [ROW_BITS:0] ALL_ROWS = ROWS[ROW_BITS:0];

    wire [1:0] mode;
    wire outer;
    wire [TIME_STEPS-1:0] slot_steps, stored_steps;
    wire [COUNT_BITS-1:0] output_tiles, tiles;
    wire [ROW_BITS-1:0] columns_last, rows_full, rows_last, first_lane, tile_lanes;
    wire [PLANE_BITS-1:0] planes;
    wire [ADDRESS_BITS-1:0] first_address, row_step, tile_step, slice_step, plane_step;
    wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases;
    stationary_fields #(
        .STATIONARY_BITS(STATIONARY_BITS), .TIME_STEPS(TIME_STEPS), .COUNT_BITS(COUNT_BITS), .PLANE_BITS(PLANE_BITS),
        .ROW_BITS(ROW_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) configuration (
        .row(row), .mode(mode), .outer(outer), .slot_steps(slot_steps), .stored_steps(stored_steps),
        .output_tiles(output_tiles),
        .columns_last(columns_last), .tiles(tiles), .rows_full(rows_full), .rows_last(rows_last), .planes(planes),
        .first_lane(first_lane), .first_address(first_address), .row_step(row_step), .tile_step(tile_step),
        .tile_lanes(tile_lanes), .slice_step(slice_step), .plane_step(plane_step), .step_bases(step_bases)
    );
    wire turned = mode == 2'd3;
    wire from_currents = mode == 2'd2;

    // ---- loops
    reg                     running;
    reg [TIME_STEPS-1:0]    steps_left;
    reg [COUNT_BITS-1:0]    output_tiles_left, tiles_left;
    reg [ROW_BITS-1:0]      cycle;       // row of the tile; turned: token, and then row
    reg                     writes_turned;
    reg [PLANE_BITS-1:0]    plane;
    wire [TIME_STEPS-1:0]   step = steps_left & -steps_left;
    wire last_step = steps_left == step;
    wire last_output_tile = output_tiles_left == 1;
    wire last_tile = tiles_left == 1;
    wire last_plane = turned || from_currents || plane + 1 == planes;
    wire [ROW_BITS-1:0] rows_now = last_tile ? rows_last : rows_full;
    wire [ROW_BITS-1:0] columns_now = last_output_tile ? columns_last : COLUMNS[ROW_BITS-1:0];
    wire [ROW_BITS-1:0] cycles = turned && !writes_turned ? columns_now : rows_now;
    wire last_cycle = cycle + 1 == cycles;
    wire tile_end = running && last_cycle && last_plane && (!turned || writes_turned);
    wire inner_end = tile_end && last_tile && (outer ? last_output_tile : last_step);
    wire all_end = inner_end && (outer ? last_step : last_output_tile);

    always @(posedge clock)
        if (reset)
            running <= 1'b0;
        else if (start)
            running <= slot_steps != {TIME_STEPS{1'b0}};
        else if (all_end)
            running <= 1'b0;

    wire tiles_end = tile_end && last_tile;
    always @(posedge clock)
        if (start) begin
            steps_left <= slot_steps;
            output_tiles_left <= output_tiles;
            tiles_left <= tiles;
            cycle <= {ROW_BITS{1'b0}};
            plane <= {PLANE_BITS{1'b0}};
            writes_turned <= 1'b0;
        end else if (running) begin
            plane <= last_plane ? {PLANE_BITS{1'b0}} : plane + 1;
            if (last_plane) begin
                cycle <= last_cycle ? {ROW_BITS{1'b0}} : cycle + 1;
                if (last_cycle)
                    writes_turned <= turned && !writes_turned;
            end
            if (tile_end)
                tiles_left <= last_tile ? tiles : tiles_left - 1;
            if (tiles_end) begin
                if (!outer || last_output_tile)
                    steps_left <= last_step ? slot_steps : steps_left & ~step;
                if (outer || last_step)
                    output_tiles_left <= last_output_tile ? output_tiles : output_tiles_left - 1;
            end
        end

    // ---- addresses: of the output tile's first row, of the reduction tile's first one, of the row
    reg  [ADDRESS_BITS-1:0] output_tile_address, tile_address, row_address, plane_address;
    wire [ADDRESS_BITS-1:0] step_base;
    reg  [ROW_BITS-1:0]     lane;
    wire [ROW_BITS:0]       next_lane = {1'b0, lane} + {1'b0, tile_lanes};
    wire                    lane_wraps = next_lane >= ALL_ROWS;
    wire [ROW_BITS:0]       wrapped_lane = lane_wraps ? next_lane - ALL_ROWS : next_lane;
    wire                    output_tile_moves = tiles_end && (outer || last_step);
    wire [ADDRESS_BITS-1:0] next_output_tile_address = last_output_tile
        ? first_address : output_tile_address + tile_step + {{(ADDRESS_BITS-1){1'b0}}, lane_wraps};
    wire [ADDRESS_BITS-1:0] next_tile_address = output_tile_moves ? next_output_tile_address
        : tiles_end ? output_tile_address
        : turned ? tile_address + slice_step : row_address + row_step;
    always @(posedge clock)
        if (start) begin
            output_tile_address <= first_address;
            tile_address <= first_address;
            row_address <= first_address;
            plane_address <= {ADDRESS_BITS{1'b0}};
            lane <= first_lane;
        end else if (running) begin
            plane_address <= last_plane ? {ADDRESS_BITS{1'b0}} : plane_address + plane_step;
            if (tile_end) begin
                tile_address <= next_tile_address;
                row_address <= next_tile_address;
            end else if (last_plane)
                row_address <= row_address + row_step;
            if (output_tile_moves) begin
                output_tile_address <= next_output_tile_address;
                lane <= last_output_tile ? first_lane : wrapped_lane[ROW_BITS-1:0];
            end
        end

    one_hot_select #(.CHOICES(TIME_STEPS), .WIDTH(ADDRESS_BITS)) base (
        .choice(step), .values(step_bases), .value(step_base)
    );
    assign read_address = step_base + row_address + plane_address;
    assign read_spikes = running && !from_currents && !writes_turned;
    assign read_currents = running && from_currents;

    // ---- cycle n + 1: the memory looks it up
    reg                  asked, asked_absent, asked_token, asked_last_plane, asked_tile_begins, asked_tile_end, asked_all_end;
    reg [ROW_BITS-1:0]   asked_turn, asked_cycle;
    reg [PLANE_BITS-1:0] asked_plane;
    wire [ROW_BITS:0]    turn_back = ALL_ROWS - {1'b0, lane};
    always @(posedge clock) begin
        asked <= running && !reset;
        asked_absent <= (step & stored_steps) == {TIME_STEPS{1'b0}};
        asked_token <= running && turned && !writes_turned;
        asked_last_plane <= last_plane;
        asked_tile_begins <= cycle == {ROW_BITS{1'b0}} && !writes_turned;
        asked_tile_end <= tile_end;
        asked_all_end <= all_end && !reset;
        asked_turn <= lane == {ROW_BITS{1'b0}} ? {ROW_BITS{1'b0}} : turn_back[ROW_BITS-1:0];
        asked_cycle <= cycle;
        asked_plane <= plane;
    end

    // ---- cycle n + 2: the row arrives
    reg                  here, here_absent, here_token, here_last_plane, here_tile_begins, here_tile_end, here_all_end;
    reg [ROW_BITS-1:0]   here_turn, here_cycle;
    reg [PLANE_BITS-1:0] here_plane;
    always @(posedge clock) begin
        here <= asked && !reset;
        here_absent <= asked_absent;
        here_token <= asked_token;
        here_last_plane <= asked_last_plane;
        here_tile_begins <= asked_tile_begins;
        here_tile_end <= asked_tile_end;
        here_all_end <= asked_all_end && !reset;
        here_turn <= asked_turn;
        here_cycle <= asked_cycle;
        here_plane <= asked_plane;
    end

    wire [ROWS-1:0] aligned;
    lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) aligner (
        .row(here_absent ? {ROWS{1'b0}} : spike_word), .turn(here_turn), .first({ROW_BITS{1'b0}}), .count(ROWS[ROW_BITS-1:0]),
        .limit(ROWS[ROW_BITS-1:0]), .lanes(aligned)
    );
    wire [COLUMNS-1:0] turned_row;
    bit_transposer #(.HEIGHT(COLUMNS), .WIDTH(ROWS), .INDEX_BITS(ROW_BITS)) transposer (
        .clock(clock), .clear(here_token && here_tile_begins), .write(here_token), .index(here_cycle), .row(aligned),
        .column(here_cycle), .bits(turned_row)
    );

    reg  [COLUMNS*WEIGHT_BITS-1:0] held_weights;
    wire [COLUMNS*WEIGHT_BITS-1:0] weights;
    genvar column;
    generate
        for (column = 0; column < COLUMNS; column = column + 1) begin : columns
            wire [WEIGHT_BITS-1:0] held = here_plane == 0 ? {WEIGHT_BITS{1'b0}} : held_weights[column*WEIGHT_BITS +: WEIGHT_BITS];
            wire [WEIGHT_BITS-1:0] spike = {{(WEIGHT_BITS-1){1'b0}}, turned ? turned_row[column] : aligned[column]};
            wire [WEIGHT_BITS-1:0] current = here_absent
                ? {WEIGHT_BITS{1'b0}} : current_row[column*CURRENT_BITS +: WEIGHT_BITS];
            assign weights[column*WEIGHT_BITS +: WEIGHT_BITS] = from_currents ? current : held | (spike << here_plane);
        end
    endgenerate
    always @(posedge clock)
        if (here)
            held_weights <= weights;

    // ---- cycle n + 3: it is written; a tile's rows fill beats, the last one perhaps in part
    wire row_complete = here && !here_token && here_last_plane;
    reg  [LOAD_ROWS-1:0]         beat_row;  // one-hot
    reg  [BEAT_ADDRESS_BITS-1:0] beat;
    reg                          written_last;
    wire beat_ends = beat_row[LOAD_ROWS-1] || here_tile_end;
    always @(posedge clock) begin
        write_enable <= row_complete ? beat_row : {LOAD_ROWS{1'b0}};
        write_address <= beat;
        write_row <= weights;
        written_last <= here_all_end;
        if (start) begin
            beat_row <= {{(LOAD_ROWS-1){1'b0}}, 1'b1};
            beat <= {BEAT_ADDRESS_BITS{1'b0}};
        end else if (row_complete) begin
            beat_row <= beat_ends ? {{(LOAD_ROWS-1){1'b0}}, 1'b1} : beat_row << 1;
            if (beat_ends)
                beat <= beat + 1;
        end
    end
    assign busy = running || asked || here || written_last;
    assign done = written_last;

    // A weight takes the low bits of a current.
    wire unused = &{1'b0, turn_back[ROW_BITS], wrapped_lane[ROW_BITS], current_row};
endmodule
