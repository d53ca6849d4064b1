// word_gatherer: brings the words that the passes of a run stream into the strip buffer, in the order of use.
//
//   gather_walker ─► spike, image or current memory ─► lane_aligner ─► strip buffer: a word a cycle, and its flag
//                                                 └──► bit_transposer ──┘
//
// The strip buffer has room for the chunks of one strip; a chunk is begun when the one that lay in its place has been
// streamed for the last time (`release`). Words, pixels and rows of currents are read once for a strip, whatever the
// number of output tiles.
//
// Ports:
//   clock               in   1                   rising edge
//   reset               in   1                   synchronous
//   start               in   1                   a run begins
//   row                 in   GATHER_BITS         its configuration, see gather_fields
//   released            in   1                   a chunk has been streamed for the last time
//   taken               in   1                   a pass takes the oldest chunk that is ready
//   ready               out  1                   there is such a chunk
//   gathering           out  1                   a cycle of the walk
//   read_spikes         out  1                   a word of spike memory is read
//   read_image          out  1                   a pixel is read
//   read_currents       out  1                   a row of current memory is read
//   read_address        out  ADDRESS_BITS        of any of them
//   spike_word          in   ROWS                the word read two cycles before
//   image_row           in   PIXEL_BITS          the pixel read two cycles before
//   current_row         in   COLUMNS*CURRENT_BITS  the row read two cycles before
//   word_write_enable   out  1                   a word goes to the strip buffer
//   word_write_address  out  WORD_ADDRESS_BITS
//   word_write_row      out  ROWS
//   flag_write_enable   out  1                   the flags of a group go to the strip buffer
//   flag_write_address  out  FLAG_ADDRESS_BITS
//   flag_write_row      out  GROUP
//
// Latency: a word whose last row is read in cycle n is written in n + 4, and can be streamed from n + 6 on; words of
// pixels and of current rows come plane by plane from n + 4 on.
module word_gatherer #(
    parameter ROWS = 16,
    parameter COLUMNS = 16,
    parameter GROUP = 4,
    parameter TIME_STEPS = 4,
    parameter GATHER_BITS = 8,
    parameter POSITION_BITS = 6,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter SIZE_BITS = 6,
    parameter ADDRESS_BITS = 12,
    parameter WORD_ADDRESS_BITS = 10,
    parameter FLAG_ADDRESS_BITS = 8,
    parameter PIXEL_CHANNELS = 3,
    parameter PIXEL_PLANES = 8,
    parameter CURRENT_BITS = 24,
    parameter ELEMENT_PLANES = 8,
    parameter TURNED_LANES = 16,
    parameter ROW_BITS = $clog2(ROWS + 1),
    parameter PIXEL_BITS = PIXEL_CHANNELS*PIXEL_PLANES
) (
    input  wire                            clock,
    input  wire                            reset,
    input  wire                            start,
    input  wire [GATHER_BITS-1:0]          row,
    input  wire                            released,
    input  wire                            taken,
    output wire                            ready,
    output wire                            gathering,
    output wire                            read_spikes,
    output wire                            read_image,
    output wire                            read_currents,
    output wire [ADDRESS_BITS-1:0]         read_address,
    input  wire [ROWS-1:0]                 spike_word,
    input  wire [PIXEL_BITS-1:0]           image_row,
    input  wire [COLUMNS*CURRENT_BITS-1:0] current_row,
    output reg                             word_write_enable,
    output reg  [WORD_ADDRESS_BITS-1:0]    word_write_address,
    output reg  [ROWS-1:0]                 word_write_row,
    output reg                             flag_write_enable,
    output reg  [FLAG_ADDRESS_BITS-1:0]    flag_write_address,
    output reg  [GROUP-1:0]                flag_write_row
);
    // ---- configuration
    wire [1:0] mode;
    wire outer, together, bounded;
    wire [TIME_STEPS-1:0] slot_steps, stored_steps;
    wire [POSITION_BITS-1:0] strips, positions_full, positions_last;
    wire [COUNT_BITS-1:0] chunks, tiles, slices, pieces, offsets;
    wire [PLANE_BITS-1:0] planes;
    wire [ROW_BITS-1:0] lanes_full, lanes_last, piece_lanes, first_lane, strip_lanes;
    wire [SIZE_BITS-1:0] output_width, input_width, input_height, stride, padding, kernel_width;
    wire [ADDRESS_BITS-1:0] first_address, position_step, row_step, slice_step, offset_step, offset_row_step, plane_step;
    wire [WORD_ADDRESS_BITS-1:0] chunk_words;
    wire [FLAG_ADDRESS_BITS-1:0] chunk_groups;
    wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases;
    wire [PIXEL_BITS-1:0] pad_row;
    gather_fields #(
        .GATHER_BITS(GATHER_BITS), .TIME_STEPS(TIME_STEPS), .POSITION_BITS(POSITION_BITS), .COUNT_BITS(COUNT_BITS),
        .PLANE_BITS(PLANE_BITS), .ROW_BITS(ROW_BITS), .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS),
        .WORD_ADDRESS_BITS(WORD_ADDRESS_BITS), .FLAG_ADDRESS_BITS(FLAG_ADDRESS_BITS), .PIXEL_BITS(PIXEL_BITS)
    ) configuration (
        .row(row), .mode(mode), .outer(outer), .together(together), .slot_steps(slot_steps),
        .stored_steps(stored_steps), .strips(strips),
        .positions_full(positions_full), .positions_last(positions_last), .chunks(chunks), .tiles(tiles),
        .slices(slices), .pieces(pieces), .offsets(offsets), .planes(planes), .lanes_full(lanes_full),
        .lanes_last(lanes_last), .piece_lanes(piece_lanes), .first_lane(first_lane), .strip_lanes(strip_lanes),
        .bounded(bounded), .output_width(output_width), .input_width(input_width), .input_height(input_height),
        .stride(stride), .padding(padding), .kernel_width(kernel_width), .first_address(first_address),
        .position_step(position_step), .row_step(row_step), .slice_step(slice_step), .offset_step(offset_step),
        .offset_row_step(offset_row_step), .plane_step(plane_step), .chunk_words(chunk_words),
        .chunk_groups(chunk_groups), .step_bases(step_bases), .pad_row(pad_row)
    );
    wire turned = mode == 2'd3;
    wire by_element = (mode == 2'd1) || (mode == 2'd2);

    // ---- room for chunks, and chunks that wait for their pass
    reg  [COUNT_BITS:0] room, waiting;
    reg                 chunk_written;
    wire                begins;
    assign ready = waiting != {(COUNT_BITS+1){1'b0}};
    always @(posedge clock)
        if (reset || start) begin
            room <= {1'b0, chunks};
            waiting <= {(COUNT_BITS+1){1'b0}};
        end else begin
            room <= room + {{COUNT_BITS{1'b0}}, released} - {{COUNT_BITS{1'b0}}, begins};
            waiting <= waiting + {{COUNT_BITS{1'b0}}, chunk_written} - {{COUNT_BITS{1'b0}}, taken};
        end

    // ---- cycle n: a row is read
    wire read, outside, absent, piece, first_piece, last_piece, chunk_end, strip_end;
    wire [ROW_BITS-1:0] place, lanes, tile_lanes, turn, column;
    gather_walker #(
        .ROWS(ROWS), .TIME_STEPS(TIME_STEPS), .POSITION_BITS(POSITION_BITS), .COUNT_BITS(COUNT_BITS),
        .PLANE_BITS(PLANE_BITS), .ROW_BITS(ROW_BITS), .SIZE_BITS(SIZE_BITS), .ADDRESS_BITS(ADDRESS_BITS)
    ) walker (
        .clock(clock), .reset(reset), .start(start), .may_begin(room != {(COUNT_BITS+1){1'b0}}), .mode(mode),
        .outer(outer), .together(together), .slot_steps(slot_steps), .stored_steps(stored_steps), .strips(strips),
        .positions_full(positions_full),
        .positions_last(positions_last), .tiles(tiles), .slices(slices), .pieces(pieces), .offsets(offsets),
        .planes(planes), .lanes_full(lanes_full), .lanes_last(lanes_last), .piece_lanes(piece_lanes),
        .first_lane(first_lane), .strip_lanes(strip_lanes), .bounded(bounded), .output_width(output_width),
        .input_width(input_width), .input_height(input_height), .stride(stride), .padding(padding),
        .kernel_width(kernel_width), .first_address(first_address), .position_step(position_step),
        .row_step(row_step), .slice_step(slice_step), .offset_step(offset_step), .offset_row_step(offset_row_step),
        .plane_step(plane_step), .step_bases(step_bases), .issue(gathering), .begins(begins), .read(read),
        .address(read_address), .outside(outside), .absent(absent), .piece(piece), .first_piece(first_piece), .last_piece(last_piece),
        .place(place), .lanes(lanes), .tile_lanes(tile_lanes), .turn(turn), .column(column), .chunk_end(chunk_end),
        .strip_end(strip_end)
    );
    assign read_spikes = read && !by_element;
    assign read_image = read && (mode == 2'd1);
    assign read_currents = read && (mode == 2'd2);

    // ---- cycle n + 1: the memory looks it up
    reg asked_issue, asked, asked_outside, asked_absent, asked_first, asked_last, asked_begins, asked_chunk_end, asked_strip_end;
    reg [ROW_BITS-1:0] asked_place, asked_lanes, asked_tile_lanes, asked_turn, asked_column;
    always @(posedge clock) begin
        asked_issue <= gathering && !reset;
        asked <= piece && !reset;
        asked_outside <= outside;
        asked_absent <= absent;
        asked_first <= first_piece;
        asked_last <= last_piece && !reset;
        asked_begins <= begins;
        asked_chunk_end <= chunk_end && !reset;
        asked_strip_end <= strip_end;
        asked_place <= place;
        asked_lanes <= lanes;
        asked_tile_lanes <= tile_lanes;
        asked_turn <= turn;
        asked_column <= column;
    end

    // ---- cycle n + 2: its bits go to their lanes
    reg here_issue, here, here_zero, here_outside, here_first, here_last, here_token, here_begins, here_chunk_end, here_strip_end;
    reg [ROW_BITS-1:0] here_place, here_lanes, here_tile_lanes, here_turn, here_column, here_index;
    always @(posedge clock) begin
        here_issue <= asked_issue && !reset;
        here <= asked && !reset;
        here_zero <= asked_outside || asked_absent;
        here_outside <= asked_outside;
        here_first <= asked_first;
        here_last <= asked_last && !reset;
        here_token <= turned && asked;
        here_begins <= asked_begins;
        here_chunk_end <= asked_chunk_end && !reset;
        here_strip_end <= asked_strip_end;
        here_place <= asked_place;
        here_lanes <= asked_lanes;
        here_tile_lanes <= asked_tile_lanes;
        here_turn <= asked_turn;
        here_column <= asked_column;
        here_index <= asked_begins ? {ROW_BITS{1'b0}} : here_index + 1;
    end

    wire [ROWS-1:0] aligned;
    lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) aligner (
        .row(here && !here_zero ? spike_word : {ROWS{1'b0}}), .turn(here_turn), .first(here_place),
        .count(turned ? ROWS[ROW_BITS-1:0] : here_lanes), .limit(turned ? ROWS[ROW_BITS-1:0] : here_tile_lanes),
        .lanes(aligned)
    );
    reg  [ROWS-1:0] held_word;
    wire [ROWS-1:0] joined = (here_first ? {ROWS{1'b0}} : held_word) | aligned;
    always @(posedge clock)
        if (here)
            held_word <= joined;

    wire [ROWS-1:0] turned_word;
    bit_transposer #(.HEIGHT(ROWS), .WIDTH(TURNED_LANES), .INDEX_BITS(ROW_BITS)) transposer (
        .clock(clock), .clear(here_begins), .write(here_token), .index(here_index),
        .row(aligned[TURNED_LANES-1:0]), .column(here_column), .bits(turned_word)
    );

    // Pixels and current rows: every plane at once; the planes of a position leave while the next one is read.
    wire [ELEMENT_PLANES*ROWS-1:0] joined_planes;
    reg  [ELEMENT_PLANES*ROWS-1:0] held_planes, leaving_planes;
    genvar plane, element;
    generate
        for (plane = 0; plane < ELEMENT_PLANES; plane = plane + 1) begin : element_planes
            wire [ROWS-1:0] pixel_bits, current_bits, plane_lanes;
            for (element = 0; element < ROWS; element = element + 1) begin : elements
                if (element < PIXEL_CHANNELS && plane < PIXEL_PLANES) begin : pixel
                    assign pixel_bits[element] = here_outside
                        ? pad_row[element*PIXEL_PLANES + plane] : image_row[element*PIXEL_PLANES + plane];
                end else begin : no_pixel
                    assign pixel_bits[element] = 1'b0;
                end
                if (element < COLUMNS && plane < CURRENT_BITS) begin : current
                    assign current_bits[element] = current_row[element*CURRENT_BITS + plane] && !here_zero;
                end else begin : no_current
                    assign current_bits[element] = 1'b0;
                end
            end
            lane_aligner #(.ROWS(ROWS), .ROW_BITS(ROW_BITS)) plane_aligner (
                .row(mode == 2'd1 ? pixel_bits : current_bits), .turn(here_turn), .first(here_place),
                .count(here_lanes), .limit(here_tile_lanes), .lanes(plane_lanes)
            );
            assign joined_planes[plane*ROWS +: ROWS] =
                (here_first ? {ROWS{1'b0}} : held_planes[plane*ROWS +: ROWS]) | (here ? plane_lanes : {ROWS{1'b0}});
        end
    endgenerate
    reg [PLANE_BITS-1:0] planes_leaving;
    reg                  leaving_chunk_end, leaving_strip_end;
    always @(posedge clock) begin
        if (here)
            held_planes <= joined_planes;
        if (reset)
            planes_leaving <= {PLANE_BITS{1'b0}};
        else if (here_last && by_element) begin
            planes_leaving <= planes;
            leaving_planes <= joined_planes;
            leaving_chunk_end <= here_chunk_end;
            leaving_strip_end <= here_strip_end;
        end else if (planes_leaving != 0) begin
            planes_leaving <= planes_leaving - 1;
            leaving_planes <= leaving_planes >> ROWS;
        end
    end

    // ---- cycle n + 3: the word is complete, and looked at: is it zero
    wire element_word = planes_leaving != 0;
    wire last_element_word = planes_leaving == 1;
    reg word_complete, word_ends_chunk, word_ends_strip;
    reg [ROWS-1:0] word;
    always @(posedge clock) begin
        word_complete <= (by_element ? element_word : turned ? here_issue && !here_token : here_last) && !reset;
        word <= by_element ? leaving_planes[ROWS-1:0] : turned ? turned_word : joined;
        word_ends_chunk <= by_element ? last_element_word && leaving_chunk_end : here_chunk_end;
        word_ends_strip <= by_element ? leaving_strip_end : here_strip_end;
    end

    localparam LANE_BITS = (GROUP > 1) ? $clog2(GROUP) : 1;
    localparam LAST_LANE = GROUP - 1;
    reg  [WORD_ADDRESS_BITS-1:0] chunk_word, next_word;
    reg  [FLAG_ADDRESS_BITS-1:0] chunk_group, next_group;
    reg  [LANE_BITS-1:0]         flag_lane;
    reg  [GROUP-1:0]             flags;
    wire [GROUP-1:0]             lane_flag = {{(GROUP-1){1'b0}}, |word} << flag_lane;
    wire [WORD_ADDRESS_BITS-1:0] following_word = word_ends_strip ? {WORD_ADDRESS_BITS{1'b0}} : chunk_word + chunk_words;
    wire [FLAG_ADDRESS_BITS-1:0] following_group = word_ends_strip ? {FLAG_ADDRESS_BITS{1'b0}} : chunk_group + chunk_groups;
    wire                         group_ends = flag_lane == LAST_LANE[LANE_BITS-1:0] || word_ends_chunk;
    always @(posedge clock) begin
        word_write_enable <= word_complete && !reset;
        word_write_address <= next_word;
        word_write_row <= word;
        flag_write_enable <= word_complete && group_ends && !reset;
        flag_write_address <= next_group;
        flag_write_row <= flags | lane_flag;
        if (start) begin
            chunk_word <= {WORD_ADDRESS_BITS{1'b0}};
            next_word <= {WORD_ADDRESS_BITS{1'b0}};
            chunk_group <= {FLAG_ADDRESS_BITS{1'b0}};
            next_group <= {FLAG_ADDRESS_BITS{1'b0}};
            flag_lane <= {LANE_BITS{1'b0}};
            flags <= {GROUP{1'b0}};
        end else if (word_complete) begin
            next_word <= word_ends_chunk ? following_word : next_word + 1;
            flag_lane <= group_ends ? {LANE_BITS{1'b0}} : flag_lane + 1;
            flags <= group_ends ? {GROUP{1'b0}} : flags | lane_flag;
            if (word_ends_chunk) begin
                chunk_word <= following_word;
                chunk_group <= following_group;
                next_group <= following_group;
            end else if (group_ends)
                next_group <= next_group + 1;
        end
    end
    always @(posedge clock)
        chunk_written <= word_complete && word_ends_chunk && !reset;

`ifdef FORMAL
    // Each chunk that was begun is in one place: being read, on its way, written and waiting, or taken by a pass.
    // What gather_walker promises is assumed here and proved there; a pass takes only what waits and gives back only
    // what it took, which strip_engine and pass_sequencer prove.
    localparam HELD_BITS = COUNT_BITS + 2;
    reg                  started = 1'b0;
    reg                  open;              // a chunk has begun and has not ended
    reg                  running = 1'b0;    // a run has started since the reset
    reg [COUNT_BITS-1:0] places;            // chunks that the strip buffer holds
    reg [HELD_BITS-1:0]  taken_chunks;      // and not released
    reg [PLANE_BITS:0]   position_cycles;   // since the last position of elements ended, as far as it matters
    reg [PLANE_BITS:0]   here_cycles;       // the same of the position whose bits go to their lanes
    localparam [PLANE_BITS:0] MANY = {(PLANE_BITS+1){1'b1}};
    wire                 last_piece_leaves = leaving_chunk_end && planes_leaving != 0;
    wire                 word_ends = word_complete && word_ends_chunk;
    wire [HELD_BITS-1:0] on_the_way =
        open + asked_chunk_end + here_chunk_end + last_piece_leaves + word_ends + chunk_written;
    // The words and flags as the strip buffer gets them.
    reg [LANE_BITS-1:0]  written_lane;      // words since the last flags
    reg [GROUP-1:0]      written_flags;     // those of them that are not zero
    reg [WORD_ADDRESS_BITS-1:0] written_word;
    wire [GROUP-1:0]     written_now = written_flags | ({{(GROUP-1){1'b0}}, |word_write_row} << written_lane);
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else begin
            assume (!running || start || $stable(row));
            if (start)  // the run before it has ended
                assume (!open && !asked_issue && !asked_chunk_end && !here_issue && !here_chunk_end && planes_leaving == 0
                    && !word_complete && !word_write_enable && !chunk_written);
            if (start)
                assume (!taken && !released && !gathering);
            if (!running)
                assume (!gathering && !released);
        end
        assume (!taken || (ready && !start));
        assume (!released || taken_chunks != 0);
        assume (planes != 0);
        assume (!gathering || (begins == !open));
        assume (!begins || gathering);
        assume (!chunk_end || last_piece);
        assume (!last_piece || gathering);
        assume (!piece || gathering);
        assume (!turned || ((last_piece == chunk_end) && (!chunk_end || !piece)));
        assume (!(last_piece && by_element) || position_cycles >= planes);
        open <= !reset && !start && (gathering ? !chunk_end : open);
        if (reset)
            running <= 1'b0;
        else if (start)
            running <= 1'b1;
        if (start)
            places <= chunks;
        if (reset || start)
            taken_chunks <= 0;
        else
            taken_chunks <= taken_chunks + taken - released;
        if (reset || start)
            position_cycles <= MANY;
        else if (last_piece)
            position_cycles <= 1;
        else if (position_cycles != MANY)
            position_cycles <= position_cycles + 1'b1;
        here_cycles <= reset || start ? MANY : position_cycles;
        if (reset || start || flag_write_enable) begin
            written_lane <= 0;
            written_flags <= 0;
        end else if (word_write_enable) begin
            written_lane <= written_lane + 1'b1;
            written_flags <= written_now;
        end
        if (word_write_enable)
            written_word <= word_write_address;
        if (started && !reset && !running)
            assert (!open && !asked_issue && !asked_last && !here_issue && !here_last && planes_leaving == 0
                && !word_complete && on_the_way == 0 && waiting == 0);
        if (started && !reset && running && !start) begin
            // The credits: no chunk is begun without room, and the strip buffer never has more than it holds.
            assert (room + waiting + taken_chunks + on_the_way == places);
            assert (room <= places && waiting <= places && taken_chunks <= places);
            if (begins)
                assert (waiting + taken_chunks + on_the_way < places);
            // A chunk counts as complete with its last word and its last flags.
            if (chunk_written)
                assert (word_write_enable && flag_write_enable);
            // Each flag says whether its word is zero, a word that follows in its group follows in the memory too, and
            // no group has more than its flags.
            if (flag_write_enable)
                assert (word_write_enable && flag_write_row == written_now);
            if (word_write_enable && written_lane != 0)
                assert (word_write_address == written_word + 1'b1);
            if (word_write_enable && written_lane == LAST_LANE)
                assert (flag_write_enable);
            // How the words get there.
            assert (flag_lane == (flag_write_enable ? 0 : written_lane + word_write_enable));
            assert (flags == (flag_write_enable ? 0 : word_write_enable ? written_now : written_flags));
            assert ((flags >> flag_lane) == 0 && flag_lane <= LAST_LANE && written_lane <= LAST_LANE);
            if (flag_lane != 0)
                assert (next_word == (word_write_enable ? word_write_address : written_word) + 1'b1);
            assert (!asked_chunk_end || asked_last);
            assert (!asked_last || asked_issue);
            assert (!here_chunk_end || here_last);
            assert (!here_last || here_issue);
            assert (!here_token || here);
            assert (position_cycles != 0 && here_cycles != 0);
            if (turned)
                assert (asked_last == asked_chunk_end && (!asked_last || !asked));
            if (turned)
                assert (here_last == here_chunk_end && (!here_last || !here_token));
            if (by_element && here_last)
                assert (planes_leaving <= 1);
            if (by_element && here_cycles != 1)
                assert (planes_leaving == 0 || planes_leaving + here_cycles == planes + 2);
            if (by_element)
                assert (asked_last == (position_cycles == 1) && here_last == (here_cycles == 1));
            if (by_element)
                assert (position_cycles == 1 ? here_cycles >= planes
                    : position_cycles == (here_cycles == MANY ? MANY : here_cycles + 1'b1));
            if (!by_element)
                assert (planes_leaving == 0);
        end
    end
`endif
endmodule
