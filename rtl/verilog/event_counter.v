// event_counter: adds `increment` to a count in every enabled cycle.
//
// Ports:
//   clock      in   1               rising edge
//   clear      in   1               back to 0
//   enable     in   1               add in this cycle
//   increment  in   INCREMENT_BITS  unsigned
//   count      out  COUNTER_BITS    the total so far
//
// Latency: 1 cycle.
module event_counter #(
    parameter COUNTER_BITS = 48,
    parameter INCREMENT_BITS = 1
) (
    input  wire                      clock,
    input  wire                      clear,
    input  wire                      enable,
    input  wire [INCREMENT_BITS-1:0] increment,
    output reg  [COUNTER_BITS-1:0]   count
);
    always @(posedge clock)
        if (clear)
            count <= {COUNTER_BITS{1'b0}};
        else if (enable)
            count <= count + {{(COUNTER_BITS-INCREMENT_BITS){1'b0}}, increment};
endmodule
