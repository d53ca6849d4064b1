// gather_walker: which row is read next, and where its bits go, for all chunks of a run.
//
//   for [step, if time runs outermost]:  for strip:  for [step, if each has chunks of its own]:  for tile:   one chunk
//     words, pixels' words:  for position:  for [step]:  for plane:  for piece:                              a row a cycle
//     pixels, current rows:  for position:  for piece: a row a cycle, and at least a cycle for each plane
//     turned words:          for token: a row a cycle;  for position: a cycle
//
// A chunk begins when `may_begin`; a chunk once begun goes on to its end, and the next one may follow without a bubble.
//
// Ports:
//   clock           in   1                         rising edge
//   reset           in   1                         synchronous
//   start           in   1                         a run begins: the walk goes to its first chunk
//   may_begin       in   1                         the strip buffer has room for another chunk
//   mode            in   2                         as in gather_fields, and so are the next
//   outer           in   1
//   together        in   1
//   slot_steps      in   TIME_STEPS
//   stored_steps    in   TIME_STEPS
//   strips          in   POSITION_BITS
//   positions_full  in   POSITION_BITS
//   positions_last  in   POSITION_BITS
//   tiles           in   COUNT_BITS
//   slices          in   COUNT_BITS
//   pieces          in   COUNT_BITS
//   offsets         in   COUNT_BITS
//   planes          in   PLANE_BITS
//   lanes_full      in   ROW_BITS
//   lanes_last      in   ROW_BITS
//   piece_lanes     in   ROW_BITS
//   first_lane      in   ROW_BITS
//   strip_lanes     in   ROW_BITS
//   bounded         in   1
//   output_width    in   SIZE_BITS
//   input_width     in   SIZE_BITS
//   input_height    in   SIZE_BITS
//   stride          in   SIZE_BITS
//   padding         in   SIZE_BITS
//   kernel_width    in   SIZE_BITS
//   first_address   in   ADDRESS_BITS
//   position_step   in   ADDRESS_BITS
//   row_step        in   ADDRESS_BITS
//   slice_step      in   ADDRESS_BITS
//   offset_step     in   ADDRESS_BITS
//   offset_row_step in   ADDRESS_BITS
//   plane_step      in   ADDRESS_BITS
//   step_bases      in   TIME_STEPS*ADDRESS_BITS
//   issue           out  1                         this cycle belongs to a chunk
//   begins          out  1                         it is a chunk's first
//   read            out  1                         a row is read: `address`
//   address         out  ADDRESS_BITS              of the memory that `mode` names
//   outside         out  1                         a piece outside the value: nothing is read
//   absent          out  1                         the value is 0 at this step and not stored: what is read counts as 0
//   piece           out  1                         a piece, read or outside: goes to lanes `place` and up
//   first_piece     out  1                         the word's (or the position's) first
//   last_piece      out  1                         this cycle is the word's (or the position's) last
//   place           out  ROW_BITS                  first lane of the piece
//   lanes           out  ROW_BITS                  lanes of the piece
//   tile_lanes      out  ROW_BITS                  lanes of the tile
//   turn            out  ROW_BITS                  turned words: from a source lane to lane 0; else from it to `place`
//   column          out  ROW_BITS                  turned words: the word that is written, counted from the strip's first
//   chunk_end       out  1                         the chunk's last cycle
//   strip_end       out  1                         the same, and the chunk is the last of its strip
//
// Latency: combinational from the registers that walk.
module gather_walker #(
    parameter ROWS = 16,
    parameter TIME_STEPS = 4,
    parameter POSITION_BITS = 6,
    parameter COUNT_BITS = 8,
    parameter PLANE_BITS = 5,
    parameter ROW_BITS = 5,
    parameter SIZE_BITS = 6,
    parameter ADDRESS_BITS = 12
) (
    input  wire                               clock,
    input  wire                               reset,
    input  wire                               start,
    input  wire                               may_begin,
    input  wire [1:0]                         mode,
    input  wire                               outer,
    input  wire                               together,
    input  wire [TIME_STEPS-1:0]              slot_steps,
    input  wire [TIME_STEPS-1:0]              stored_steps,
    input  wire [POSITION_BITS-1:0]           strips,
    input  wire [POSITION_BITS-1:0]           positions_full,
    input  wire [POSITION_BITS-1:0]           positions_last,
    input  wire [COUNT_BITS-1:0]              tiles,
    input  wire [COUNT_BITS-1:0]              slices,
    input  wire [COUNT_BITS-1:0]              pieces,
    input  wire [COUNT_BITS-1:0]              offsets,
    input  wire [PLANE_BITS-1:0]              planes,
    input  wire [ROW_BITS-1:0]                lanes_full,
    input  wire [ROW_BITS-1:0]                lanes_last,
    input  wire [ROW_BITS-1:0]                piece_lanes,
    input  wire [ROW_BITS-1:0]                first_lane,
    input  wire [ROW_BITS-1:0]                strip_lanes,
    input  wire                               bounded,
    input  wire [SIZE_BITS-1:0]               output_width,
    input  wire [SIZE_BITS-1:0]               input_width,
    input  wire [SIZE_BITS-1:0]               input_height,
    input  wire [SIZE_BITS-1:0]               stride,
    input  wire [SIZE_BITS-1:0]               padding,
    input  wire [SIZE_BITS-1:0]               kernel_width,
    input  wire [ADDRESS_BITS-1:0]            first_address,
    input  wire [ADDRESS_BITS-1:0]            position_step,
    input  wire [ADDRESS_BITS-1:0]            row_step,
    input  wire [ADDRESS_BITS-1:0]            slice_step,
    input  wire [ADDRESS_BITS-1:0]            offset_step,
    input  wire [ADDRESS_BITS-1:0]            offset_row_step,
    input  wire [ADDRESS_BITS-1:0]            plane_step,
    input  wire [TIME_STEPS*ADDRESS_BITS-1:0] step_bases,
    output wire                               issue,
    output wire                               begins,
    output wire                               read,
    output wire [ADDRESS_BITS-1:0]            address,
    output wire                               outside,
    output wire                               absent,
    output wire                               piece,
    output wire                               first_piece,
    output wire                               last_piece,
    output wire [ROW_BITS-1:0]                place,
    output wire [ROW_BITS-1:0]                lanes,
    output reg  [ROW_BITS-1:0]                tile_lanes,
    output wire [ROW_BITS-1:0]                turn,
    output wire [ROW_BITS-1:0]                column,
    output wire                               chunk_end,
    output wire                               strip_end
);
    localparam [ROW_BITS:0] ALL_ROWS = ROWS[ROW_BITS:0];
    localparam CYCLE_BITS = ((PLANE_BITS > ROW_BITS) ? PLANE_BITS : ROW_BITS) + 1;
    localparam [CYCLE_BITS-1:0] NO_CYCLE = {CYCLE_BITS{1'b0}};
    localparam MARGIN = 2;  // bits of a signed coordinate beyond SIZE_BITS
    localparam COORDINATE_BITS = SIZE_BITS + MARGIN;

    wire turned = mode == 2'd3;
    wire by_element = (mode == 2'd1) || (mode == 2'd2);

    // ---- the loops outside a chunk
    reg                     running;
    reg                     inside_chunk;       // a chunk has begun and has not ended
    reg [TIME_STEPS-1:0]    chunk_steps_left;  // one step is walked at a time, unless they are together
    reg [POSITION_BITS-1:0] strips_left;
    reg [COUNT_BITS-1:0]    tiles_left;
    wire [TIME_STEPS-1:0]   chunk_step = chunk_steps_left & -chunk_steps_left;
    reg                     last_tile, last_strip;
    wire                    last_chunk_step = together || (chunk_steps_left == chunk_step);
    wire [TIME_STEPS-1:0]   chunk_steps = together ? slot_steps : chunk_step;

    assign issue = running && (inside_chunk || may_begin);
    assign begins = issue && !inside_chunk;

    // ---- the loops inside a chunk
    reg [POSITION_BITS-1:0] positions_left;
    reg [TIME_STEPS-1:0]    steps_left;
    reg [PLANE_BITS-1:0]    planes_left;
    reg [CYCLE_BITS-1:0]    cycle;        // of the word, of the position, or of the whole chunk of turned words
    wire [TIME_STEPS-1:0]   step = steps_left & -steps_left;
    wire                    last_position = turned || positions_left == 1;
    wire                    last_step = turned || steps_left == step;
    wire                    last_plane = turned || by_element || planes_left == 1;

    // The pieces of this tile: fewer for the last one, if kernel offsets are left over.
    reg  [COUNT_BITS-1:0] offsets_left, pieces_now;
    reg  [CYCLE_BITS-1:0] final_cycle;
    wire [CYCLE_BITS-1:0] piece_cycles = {{(CYCLE_BITS-ROW_BITS){1'b0}}, pieces_now[ROW_BITS-1:0]};
    wire [CYCLE_BITS-1:0] token_cycles = {{(CYCLE_BITS-ROW_BITS){1'b0}}, tile_lanes};
    wire                  last_cycle = cycle == final_cycle;

    assign absent = (step & stored_steps) == {TIME_STEPS{1'b0}};
    assign first_piece = cycle == NO_CYCLE;
    assign last_piece = issue && last_cycle;
    assign piece = issue && (cycle < (turned ? token_cycles : piece_cycles));
    assign chunk_end = issue && last_cycle && last_plane && last_step && last_position;
    wire strips_move = last_tile && (outer || last_chunk_step);
    assign strip_end = chunk_end && strips_move;
    wire round_end = strip_end && last_strip;
    wire run_end = round_end && (!outer || last_chunk_step);

    // ---- kernel offset and slice of the piece, and of the tile's first piece
    reg [COUNT_BITS-1:0]   slice;
    reg [SIZE_BITS-1:0]    tile_kernel_x, tile_kernel_y, kernel_x, kernel_y;
    reg [ADDRESS_BITS-1:0] tile_address, piece_address;
    reg                    last_slice;
    wire                   last_kernel_x = kernel_x + 1 == kernel_width;
    wire [SIZE_BITS-1:0]   next_kernel_x = !last_slice ? kernel_x : last_kernel_x ? {SIZE_BITS{1'b0}} : kernel_x + 1;
    wire [SIZE_BITS-1:0]   next_kernel_y = last_slice && last_kernel_x ? kernel_y + 1 : kernel_y;
    wire [ADDRESS_BITS-1:0] next_piece_address =
        piece_address + (!last_slice ? slice_step : last_kernel_x ? offset_row_step : offset_step);
    wire                   more_pieces = piece && !turned && (cycle + 1 < piece_cycles);
    wire several = pieces > 1;
    assign lanes = several ? piece_lanes : tile_lanes;

    // ---- position of the output, and where its window begins
    reg [SIZE_BITS-1:0]       strip_x, x;
    reg [COORDINATE_BITS-1:0] strip_input_x, strip_input_y, input_x, input_y;
    reg [ADDRESS_BITS-1:0]    strip_address, position_address;
    wire                      row_end = x + 1 == output_width;
    wire [COORDINATE_BITS-1:0] left = -{{MARGIN{1'b0}}, padding};
    wire [COORDINATE_BITS-1:0] wide_stride = {{MARGIN{1'b0}}, stride};
    wire                      move = issue && last_cycle && last_plane && last_step;
    wire [SIZE_BITS-1:0]      next_x = row_end ? {SIZE_BITS{1'b0}} : x + 1;
    wire [COORDINATE_BITS-1:0] next_input_x = row_end ? left : input_x + wide_stride;
    wire [COORDINATE_BITS-1:0] next_input_y = row_end ? input_y + wide_stride : input_y;
    wire [ADDRESS_BITS-1:0]   next_position_address = position_address + (row_end ? row_step : position_step);

    wire [COORDINATE_BITS-1:0] tap_x = input_x + {{MARGIN{1'b0}}, kernel_x};
    wire [COORDINATE_BITS-1:0] tap_y = input_y + {{MARGIN{1'b0}}, kernel_y};
    wire inside_x = !tap_x[COORDINATE_BITS-1] && tap_x < {{MARGIN{1'b0}}, input_width};
    wire inside_y = !tap_y[COORDINATE_BITS-1] && tap_y < {{MARGIN{1'b0}}, input_height};
    assign outside = bounded && !(inside_x && inside_y);
    assign read = piece && !outside;

    // ---- lanes
    reg  [ROW_BITS-1:0] strip_lane, piece_place;
    wire [ROW_BITS:0]   next_strip_lane = {1'b0, strip_lane} + {1'b0, strip_lanes};
    wire                lane_wraps = next_strip_lane >= ALL_ROWS;
    wire [ROW_BITS:0]   wrapped_strip_lane = lane_wraps ? next_strip_lane - ALL_ROWS : next_strip_lane;
    wire [ROW_BITS:0]   turned_back = {1'b0, piece_place} - {1'b0, strip_lane};
    wire [ROW_BITS:0]   turn_forward = piece_place < strip_lane ? turned_back + ALL_ROWS : turned_back;
    assign place = piece_place;
    assign turn = turn_forward[ROW_BITS-1:0];
    wire [CYCLE_BITS-1:0] past_rows = cycle - token_cycles;
    assign column = past_rows[ROW_BITS-1:0];

    // ---- address
    reg [ADDRESS_BITS-1:0] plane_address;
    wire [ADDRESS_BITS-1:0] step_base;
    one_hot_select #(.CHOICES(TIME_STEPS), .WIDTH(ADDRESS_BITS)) base (
        .choice(step), .values(step_bases), .value(step_base)
    );
    assign address = step_base + position_address + piece_address + plane_address;

    // ---- walking: outside a chunk
    always @(posedge clock)
        if (reset) begin
            running <= 1'b0;
            inside_chunk <= 1'b0;
        end else if (start) begin
            running <= slot_steps != {TIME_STEPS{1'b0}};
            inside_chunk <= 1'b0;
        end else if (issue) begin
            inside_chunk <= !chunk_end;
            if (run_end)
                running <= 1'b0;
        end

    // What the next chunk will be is known while this one runs, and registered with its begin: from the registers of one
    // chunk to those of the next it is a long way. Between runs it is the first one of the next, so that it need not wait
    // for `start`, which comes late.
    wire                     first_chunk = !running;
    wire                     tiles_begin = first_chunk || last_tile;
    wire                     steps_move = outer ? strips_move && last_strip : last_tile;
    wire [TIME_STEPS-1:0]    next_chunk_steps_left =
        first_chunk || (strips_move && !outer) ? slot_steps : steps_move ? chunk_steps_left & ~chunk_step : chunk_steps_left;
    wire [TIME_STEPS-1:0]    next_chunk_step = next_chunk_steps_left & -next_chunk_steps_left;
    wire [POSITION_BITS-1:0] next_strips_left =
        first_chunk || (strips_move && last_strip) ? strips : strips_move ? strips_left - 1 : strips_left;
    wire [COUNT_BITS-1:0]    next_tiles_left = tiles_begin ? tiles : tiles_left - 1;
    wire [COUNT_BITS-1:0]    next_slice = tiles_begin || last_slice ? {COUNT_BITS{1'b0}} : slice + 1;
    wire [COUNT_BITS-1:0]    next_offsets_left =
        tiles_begin ? offsets : last_slice ? offsets_left - pieces_now : offsets_left;

    wire                     next_last_tile = next_tiles_left == 1;
    wire                     next_last_strip = next_strips_left == 1;
    wire                     next_last_slice = next_slice + 1 == slices;
    wire [ROW_BITS-1:0]      next_tile_lanes = (several ? next_last_tile : next_last_slice) ? lanes_last : lanes_full;
    wire [POSITION_BITS-1:0] next_positions = next_last_strip ? positions_last : positions_full;
    wire [COUNT_BITS-1:0]    next_pieces = next_offsets_left < pieces ? next_offsets_left : pieces;
    wire [CYCLE_BITS-1:0]    next_piece_cycles = {{(CYCLE_BITS-ROW_BITS){1'b0}}, next_pieces[ROW_BITS-1:0]};
    wire [CYCLE_BITS-1:0]    plane_cycles = {{(CYCLE_BITS-PLANE_BITS){1'b0}}, planes};
    wire [CYCLE_BITS-1:0]    turned_cycles = {{(CYCLE_BITS-ROW_BITS){1'b0}}, next_tile_lanes}
        + {{(CYCLE_BITS-ROW_BITS){1'b0}}, next_positions[ROW_BITS-1:0]};
    wire [CYCLE_BITS-1:0]    next_cycles = turned ? turned_cycles
        : by_element && plane_cycles > next_piece_cycles ? plane_cycles : next_piece_cycles;
    always @(posedge clock)
        if (start || chunk_end) begin
            chunk_steps_left <= next_chunk_steps_left;
            strips_left <= next_strips_left;
            tiles_left <= next_tiles_left;
            slice <= next_slice;
            offsets_left <= next_offsets_left;
            last_strip <= next_last_strip;
            last_tile <= next_last_tile;
            last_slice <= next_last_slice;
            tile_lanes <= next_tile_lanes;
            pieces_now <= next_pieces;
            final_cycle <= next_cycles - 1;
        end

    // ---- walking: inside a chunk
    always @(posedge clock)
        if (start || chunk_end) begin
            positions_left <= next_positions;
            steps_left <= together ? slot_steps : next_chunk_step;
            planes_left <= planes;
            plane_address <= {ADDRESS_BITS{1'b0}};
            cycle <= NO_CYCLE;
        end else if (issue) begin
            cycle <= last_cycle ? NO_CYCLE : cycle + 1;
            if (last_cycle) begin
                planes_left <= last_plane ? planes : planes_left - 1;
                plane_address <= last_plane ? {ADDRESS_BITS{1'b0}} : plane_address + plane_step;
                if (last_plane) begin
                    steps_left <= last_step ? chunk_steps : steps_left & ~step;
                    if (last_step)
                        positions_left <= positions_left - 1;
                end
            end
        end

    // ---- walking: kernel offsets
    wire tiles_again = start || (chunk_end && last_tile);
    always @(posedge clock)
        if (tiles_again) begin
            {tile_kernel_x, tile_kernel_y, kernel_x, kernel_y} <= 0;
            tile_address <= {ADDRESS_BITS{1'b0}};
            piece_address <= {ADDRESS_BITS{1'b0}};
            piece_place <= {ROW_BITS{1'b0}};
        end else if (chunk_end) begin
            {tile_kernel_x, kernel_x} <= {2{next_kernel_x}};
            {tile_kernel_y, kernel_y} <= {2{next_kernel_y}};
            tile_address <= next_piece_address;
            piece_address <= next_piece_address;
            piece_place <= {ROW_BITS{1'b0}};
        end else if (last_piece) begin
            kernel_x <= tile_kernel_x;
            kernel_y <= tile_kernel_y;
            piece_address <= tile_address;
            piece_place <= {ROW_BITS{1'b0}};
        end else if (more_pieces) begin
            kernel_x <= next_kernel_x;
            kernel_y <= next_kernel_y;
            piece_address <= next_piece_address;
            piece_place <= piece_place + piece_lanes;
        end

    // ---- walking: positions; turned words walk tokens instead, and strips are lanes
    wire first_position = start || round_end;
    always @(posedge clock)
        if (first_position) begin
            {strip_x, x} <= 0;
            {strip_input_x, input_x} <= {2{left}};
            {strip_input_y, input_y} <= {2{left}};
            {strip_address, position_address} <= {2{first_address}};
            strip_lane <= first_lane;
        end else if (strip_end) begin
            {strip_x, x} <= {2{next_x}};
            {strip_input_x, input_x} <= {2{next_input_x}};
            {strip_input_y, input_y} <= {2{next_input_y}};
            if (turned) begin
                {strip_address, position_address} <= {2{strip_address + {{(ADDRESS_BITS-1){1'b0}}, lane_wraps}}};
                strip_lane <= wrapped_strip_lane[ROW_BITS-1:0];
            end else
                {strip_address, position_address} <= {2{next_position_address}};
        end else if (chunk_end) begin
            x <= strip_x;
            input_x <= strip_input_x;
            input_y <= strip_input_y;
            position_address <= strip_address;
        end else if (turned) begin
            if (piece)
                position_address <= position_address + position_step;
        end else if (move) begin
            x <= next_x;
            input_x <= next_input_x;
            input_y <= next_input_y;
            position_address <= next_position_address;
        end

    wire unused = &{1'b0, turn_forward[ROW_BITS], wrapped_strip_lane[ROW_BITS], past_rows[ROW_BITS], next_positions};

`ifdef FORMAL
    // What the word_gatherer counts on: chunks begin and end in turn, the first one only with room for it, a position
    // of elements lasts as long as its planes take to leave, and a chunk of turned words ends with a word.
    reg                 started = 1'b0;
    reg                 open = 1'b0;        // a chunk has begun and has not ended
    reg [PLANE_BITS:0]  position_cycles;    // since the last position of elements ended, as far as it matters
    localparam [PLANE_BITS:0] MANY = {(PLANE_BITS+1){1'b1}};
    always @(posedge clock) begin
        started <= 1'b1;
        if (!started)
            assume (reset);
        else
            assume (start || (!running && !$past(running)) || $stable({mode, outer, together, slot_steps, strips,
                positions_full, positions_last, tiles, slices, pieces, offsets, planes, lanes_full, lanes_last}));
        assume (planes != 0);
        assume (positions_full != 0 && positions_last != 0);
        assume (!turned || (positions_full <= ROWS && positions_last <= ROWS));
        assume (lanes_full != 0 && lanes_full <= ROWS && lanes_last != 0 && lanes_last <= ROWS);
        assume (!(start && running));
        if (reset || start)
            open <= 1'b0;
        else if (issue)
            open <= !chunk_end;
        if (reset || start)
            position_cycles <= MANY;
        else if (last_piece)
            position_cycles <= 1;
        else if (position_cycles != MANY)
            position_cycles <= position_cycles + 1'b1;
        if (started && !reset && !start) begin
            assert (open == inside_chunk);
            assert (running || !inside_chunk);
            assert (position_cycles != 0 && position_cycles <= MANY);
            if (running) begin
                assert (last_tile == (tiles_left == 1) && last_strip == (strips_left == 1));
                assert (last_slice == (slice + 1 == slices));
                assert (pieces_now == (offsets_left < pieces ? offsets_left : pieces));
                assert (tile_lanes == ((several ? last_tile : last_slice) ? lanes_last : lanes_full));
                assert (final_cycle + 1'b1 == (turned
                    ? token_cycles + (last_strip ? positions_last[ROW_BITS-1:0] : positions_full[ROW_BITS-1:0])
                    : by_element && plane_cycles > piece_cycles ? plane_cycles : piece_cycles));
            end
            if (running)
                assert (position_cycles == MANY || position_cycles > cycle);
            if (running)
                assert (inside_chunk || cycle == 0);
            if (issue) begin
                assert (begins == !open);
                assert (!begins || may_begin);
            end
            assert (!begins || issue);
            if (chunk_end)
                assert (last_piece);
            if (last_piece)
                assert (issue);
            if (last_piece && by_element)
                assert (position_cycles >= planes);
            if (issue && turned) begin
                assert (!chunk_end || !piece);
                assert (last_piece == chunk_end);
            end
        end
    end
`endif
endmodule
