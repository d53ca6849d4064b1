// pass_controller: runs the passes of a run back to back while the next weight tile loads.
//
//   start[i+1] = max(end[i], start[i] + load[i+1], words ready[i+1]),   end[i] = start[i] + busy[i]
//
// `counting` lasts from the first load cycle of the run to the last cycle of the last walk; the cycle before it fetches
// the first pass.
//
// Ports:
//   clock           in   1            rising edge
//   reset           in   1            synchronous
//   start           in   1            a run begins; seen in the idle state
//   current_last    in   1            the running pass is the run's last
//   current_walks   in   1            the strip is walked after it
//   next_streams    in   1            the pass after it has words
//   next_rows       in   ROW_BITS     weight rows of that pass
//   next_ready      in   1            its words are in the strip buffer
//   stream_last     in   1            the skipper is done with the running pass in this cycle
//   walk_last       in   1            the walk's last visit is in this cycle
//   idle            out  1            no run
//   fetching        out  1            the run's first pass arrives
//   advance         out  1            the next pass starts in the next cycle
//   waiting         out  1            nothing to do but load, or wait for words
//   streaming       out  1            the skipper looks at words
//   draining        out  1            the pipeline empties before the walk
//   walking         out  1            the strip is walked
//   begin_walk      out  1            first of the draining cycles
//   loading         out  1            a beat of the next weight tile is read
//   load_beat       out  BEAT_BITS    its number
//   load_rows       out  ROW_BITS     rows of the tile in it
//   ends            out  1            the run's last cycle
//
// Latency: `start` in cycle n: the first load cycle (or the first walk, if nothing is to load) is n + 2.
module pass_controller #(
    parameter LOAD_ROWS = 1,
    parameter ROW_BITS = 5,
    parameter BEAT_BITS = 4
) (
    input  wire                 clock,
    input  wire                 reset,
    input  wire                 start,
    input  wire                 current_last,
    input  wire                 current_walks,
    input  wire                 next_streams,
    input  wire [ROW_BITS-1:0]  next_rows,
    input  wire                 next_ready,
    input  wire                 stream_last,
    input  wire                 walk_last,
    output wire                 idle,
    output wire                 fetching,
    output wire                 advance,
    output wire                 waiting,
    output wire                 streaming,
    output wire                 draining,
    output wire                 walking,
    output wire                 begin_walk,
    output wire                 loading,
    output reg  [BEAT_BITS-1:0] load_beat,
    output wire [ROW_BITS-1:0]  load_rows,
    output wire                 ends
);
    localparam IDLE = 3'd0, FETCH = 3'd1, WAIT = 3'd2, STREAM = 3'd3, DRAIN_FIRST = 3'd4, DRAIN_SECOND = 3'd5,
        DRAIN_THIRD = 3'd6, WALK = 3'd7;

    reg [2:0]          state;
    reg                running;    // a pass of this run has started
    reg [ROW_BITS-1:0] rows_left;  // of the next tile, after the beats read before this cycle
    reg                first_beat; // rows_left is not valid yet: the next pass has just arrived

    assign idle = state == IDLE;
    assign fetching = state == FETCH;
    assign waiting = state == WAIT;
    assign streaming = state == STREAM;
    assign draining = (state == DRAIN_FIRST) || (state == DRAIN_SECOND) || (state == DRAIN_THIRD);
    assign walking = state == WALK;
    assign begin_walk = state == DRAIN_FIRST;
    wire counting = !idle && !fetching;

    // The load of the next tile, at the same time as the pass.
    localparam [ROW_BITS-1:0] BEAT_ROWS = LOAD_ROWS[ROW_BITS-1:0];
    wire                has_next = !(running && current_last);
    wire [ROW_BITS-1:0] rows_to_load = first_beat ? next_rows : rows_left;
    wire                last_beat = rows_to_load <= BEAT_ROWS;
    assign loading = counting && has_next && (rows_to_load != {ROW_BITS{1'b0}});
    assign load_rows = last_beat ? rows_to_load : BEAT_ROWS;

    // A pass may end in this cycle, and the next one may start in the next cycle.
    wire pass_ends = waiting || (streaming && stream_last && !current_walks) || (walking && walk_last);
    wire nothing_to_load = fetching && (next_rows == {ROW_BITS{1'b0}});
    assign ends = pass_ends && !has_next;
    assign advance = nothing_to_load || (pass_ends && has_next && last_beat && next_ready);

    always @(posedge clock)
        if (reset || idle || fetching || advance) begin
            first_beat <= 1'b1;
            load_beat <= {BEAT_BITS{1'b0}};
        end else if (loading) begin
            first_beat <= 1'b0;
            rows_left <= rows_to_load - load_rows;
            load_beat <= load_beat + 1;
        end

    always @(posedge clock)
        if (reset || idle)
            running <= 1'b0;
        else if (advance)
            running <= 1'b1;

    always @(posedge clock)
        if (reset)
            state <= IDLE;
        else if (advance)
            state <= next_streams ? STREAM : DRAIN_FIRST;
        else
            case (state)
                IDLE: state <= start ? FETCH : IDLE;
                FETCH: state <= WAIT;
                STREAM: state <= !stream_last ? STREAM : current_walks ? DRAIN_FIRST : ends ? IDLE : WAIT;
                DRAIN_FIRST: state <= DRAIN_SECOND;
                DRAIN_SECOND: state <= DRAIN_THIRD;
                DRAIN_THIRD: state <= WALK;
                WALK: state <= !walk_last ? WALK : ends ? IDLE : WAIT;
                default: state <= WAIT;
            endcase

endmodule
