// elementwise_fields: names for the bits of an elementwise operation's configuration, the last field in the lowest bits.
//
// Where a field holds several elements, the first (input 0, step 0) is in the lowest bits. A jump is the distance from
// the last read of something to the first read of the next, modulo 2^ADDRESS_BITS; with W = input_width, K = kernel_height,
// k = kernel_width, L = slices, B = planes of the input, and span = ((K − 1)·W + k)·B·L − L, from a window's first read of a
// slice to its last.
//
// Ports:
//   configuration    in   CONFIGURATION_BITS              one operation, constant while it runs
//   maximum          out  1                               the result is the maximum of the taps, else their sum
//   currents         out  1                               on rows of current memory, else on words of spike memory
//   active_steps     out  TIME_STEPS                      steps that are computed, at least one; bit t = step t
//   planes_out       out  PLANE_BITS                      planes of the result; 1 for currents
//   result_bases     out  TIME_STEPS*ADDRESS_BITS         for each step: first row of the result
//   result_jump      out  ADDRESS_BITS                    planes_out·L − L + 1: last slice to the next position
//   available_steps  out  INPUTS*TIME_STEPS               for each input: steps at which it is read
//   planes           out  INPUTS*PLANE_BITS               for each input: its planes; 1 for currents
//   step_bases       out  INPUTS*TIME_STEPS*ADDRESS_BITS  for each input and step: its row 0 less padding·(W + 1)·B·L
//   row_jumps        out  INPUTS*ADDRESS_BITS             to the next row of the window: (W − k)·B·L + L
//   slice_jumps      out  INPUTS*ADDRESS_BITS             to the next slice: 1 − span
//   column_jumps     out  INPUTS*ADDRESS_BITS             to the next output: stride·B·L − L + 1 − span
//   line_jumps       out  INPUTS*ADDRESS_BITS             to the next line of outputs:
//                                                         (W − output_width + 1)·stride·B·L − L + 1 − span
//   kernel_height    out  SIZE_BITS                       rows of the window: all of the input's for a token sum, 1 for
//                                                         an addition
//   kernel_width     out  SIZE_BITS                       its columns, likewise
//   stride           out  SIZE_BITS                       of both axes
//   padding          out  SIZE_BITS                       of both axes
//   input_height     out  SIZE_BITS                       of every input
//   input_width      out  SIZE_BITS                       of every input
//   output_height    out  SIZE_BITS                       of the result
//   output_width     out  SIZE_BITS                       of the result
//   slices           out  SIZE_BITS                       L: words or rows that hold the channels of a position
//
// Latency: none, wires only.
module elementwise_fields #(
    parameter CONFIGURATION_BITS = 8,
    parameter TIME_STEPS = 4,
    parameter INPUTS = 2,
    parameter PLANE_BITS = 5,
    parameter SIZE_BITS = 8,
    parameter ADDRESS_BITS = 12
) (
    input  wire [CONFIGURATION_BITS-1:0]             configuration,
    output wire                                      maximum,
    output wire                                      currents,
    output wire [TIME_STEPS-1:0]                     active_steps,
    output wire [PLANE_BITS-1:0]                     planes_out,
    output wire [TIME_STEPS*ADDRESS_BITS-1:0]        result_bases,
    output wire [ADDRESS_BITS-1:0]                   result_jump,
    output wire [INPUTS*TIME_STEPS-1:0]              available_steps,
    output wire [INPUTS*PLANE_BITS-1:0]              planes,
    output wire [INPUTS*TIME_STEPS*ADDRESS_BITS-1:0] step_bases,
    output wire [INPUTS*ADDRESS_BITS-1:0]            row_jumps,
    output wire [INPUTS*ADDRESS_BITS-1:0]            slice_jumps,
    output wire [INPUTS*ADDRESS_BITS-1:0]            column_jumps,
    output wire [INPUTS*ADDRESS_BITS-1:0]            line_jumps,
    output wire [SIZE_BITS-1:0]                      kernel_height,
    output wire [SIZE_BITS-1:0]                      kernel_width,
    output wire [SIZE_BITS-1:0]                      stride,
    output wire [SIZE_BITS-1:0]                      padding,
    output wire [SIZE_BITS-1:0]                      input_height,
    output wire [SIZE_BITS-1:0]                      input_width,
    output wire [SIZE_BITS-1:0]                      output_height,
    output wire [SIZE_BITS-1:0]                      output_width,
    output wire [SIZE_BITS-1:0]                      slices
);
    assign {
        maximum, currents, active_steps, planes_out, result_bases, result_jump, available_steps, planes, step_bases,
        row_jumps, slice_jumps, column_jumps, line_jumps, kernel_height, kernel_width, stride, padding, input_height,
        input_width, output_height, output_width, slices
    } = configuration;
endmodule
