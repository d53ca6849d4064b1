// one_hot_select: the value that a one-hot vector names; 0 if it names none.
//
// Ports:
//   choice  in   CHOICES        one-hot
//   values  in   CHOICES*WIDTH  value i in bits i*WIDTH and up
//   value   out  WIDTH          the chosen one
//
// Latency: combinational.
module one_hot_select #(
    parameter CHOICES = 4,
    parameter WIDTH = 12
) (
    input  wire [CHOICES-1:0]       choice,
    input  wire [CHOICES*WIDTH-1:0] values,
    output reg  [WIDTH-1:0]         value
);
    integer index;
    always @* begin
        value = {WIDTH{1'b0}};
        for (index = 0; index < CHOICES; index = index + 1)
            if (choice[index])
                value = value | values[index*WIDTH +: WIDTH];
    end
endmodule
