"""cocotb benches and their Verilog harnesses; the modules here run inside the simulator."""
