// result_writer: writes the planes of an elementwise result, one a cycle, while the taps of the next output are read.
//
// The walker sees to it that an output ends planes_out cycles after the one before at the earliest.
//
// Ports:
//   clock         in   1                        rising edge
//   reset         in   1                        synchronous
//   begin_step    in   1                        this and the next four: as in window_walker
//   next_step     in   TIME_STEPS
//   output_ends   in   1
//   last_slice    in   1
//   run_ends      in   1
//   planes_out    in   PLANE_BITS               this and the next three: as in elementwise_fields
//   result_bases  in   TIME_STEPS*ADDRESS_BITS
//   result_jump   in   ADDRESS_BITS
//   slices        in   SIZE_BITS
//   finish        out  1                        the last plane of the output's last tap is at the lanes
//   enable        out  1                        a plane is written in this cycle
//   address       out  ADDRESS_BITS             where
//   done          out  1                        it is the last of the run
//
// SIZE_BITS is at most ADDRESS_BITS. Latency: `output_ends` in cycle n, `finish` in n + 1, the first plane in n + 2.
module result_writer #(
    parameter TIME_STEPS = 4,
    parameter PLANE_BITS = 5,
    parameter SIZE_BITS = 8,
    parameter ADDRESS_BITS = 12
) (
    input  wire                               clock,
    input  wire                               reset,
    input  wire                               begin_step,
    input  wire [TIME_STEPS-1:0]              next_step,
    input  wire                               output_ends,
    input  wire                               last_slice,
    input  wire                               run_ends,
    input  wire [PLANE_BITS-1:0]              planes_out,
    input  wire [TIME_STEPS*ADDRESS_BITS-1:0] result_bases,
    input  wire [ADDRESS_BITS-1:0]            result_jump,
    input  wire [SIZE_BITS-1:0]               slices,
    output reg                                finish,
    output reg                                enable,
    output reg  [ADDRESS_BITS-1:0]            address,
    output wire                               done
);
    // Plane 0 of the output whose taps are read, and a cycle later of the one that is finished.
    reg  [ADDRESS_BITS-1:0] walked_address;
    reg  [ADDRESS_BITS-1:0] finished_address;
    reg                     finished_run;

    wire [ADDRESS_BITS-1:0] base;
    one_hot_select #(.CHOICES(TIME_STEPS), .WIDTH(ADDRESS_BITS)) base_of_step (
        .choice(next_step), .values(result_bases), .value(base)
    );

    always @(posedge clock)
        if (begin_step)
            walked_address <= base;
        else if (output_ends)
            walked_address <= walked_address + (last_slice ? result_jump : {{(ADDRESS_BITS-1){1'b0}}, 1'b1});

    always @(posedge clock) begin
        finish <= output_ends && !reset;
        if (output_ends) begin
            finished_address <= walked_address;
            finished_run <= run_ends;
        end
    end

    reg  [PLANE_BITS-1:0] plane;
    reg                   writes_last;
    wire [PLANE_BITS-1:0] following_plane = plane + 1;
    wire                  last_plane = following_plane == planes_out;
    assign done = enable && last_plane && writes_last;

    reg [ADDRESS_BITS-1:0] plane_stride;
    always @* begin
        plane_stride = {ADDRESS_BITS{1'b0}};
        plane_stride[SIZE_BITS-1:0] = slices;
    end

    always @(posedge clock)
        if (reset)
            enable <= 1'b0;
        else if (finish)
            enable <= 1'b1;
        else if (last_plane)
            enable <= 1'b0;

    always @(posedge clock)
        if (finish) begin
            plane <= {PLANE_BITS{1'b0}};
            address <= finished_address;
            writes_last <= finished_run;
        end else if (enable) begin
            plane <= following_plane;
            address <= address + plane_stride;
        end
endmodule
