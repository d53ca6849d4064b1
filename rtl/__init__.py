"""Verilog of a schedule, and the benches that hold it to the integer golden model."""
