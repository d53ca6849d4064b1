"""A liberty file of a few cells with round numbers, so that energies can be worked out by hand.

1 V; every input 1 fF, so a net with n input pins on it costs n · 0.5 fJ a transition; internal energies and delays
below. ABC, which maps logic to the cells, takes tables of delays with two axes only.
"""

from __future__ import annotations

HEAD = """library (tiny) {
  technology (cmos); /* a comment, with a brace { */
  time_unit : "1ns";
  voltage_unit : "1V";
  leakage_power_unit : "1nW";
  capacitive_load_unit (1, ff);
  nom_voltage : 1.0;
  nom_temperature : 25.0;
  power_lut_template (energy) { variable_1 : input_transition_time; variable_2 : total_output_net_capacitance;
    index_1 ("0, 1"); index_2 ("0, 10"); }
  lu_table_template (delay) { variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;
    index_1 ("0, 1"); index_2 ("0, 10"); }
"""

# name: function, inputs, area, internal energy of a rise and of a fall in fJ at any load and slew, delay in ps.
GATES = {
    "INV": ("!A", "A", 1.0, (3.0, 1.0), 10),
    "BUF": ("A", "A", 1.5, (4.0, 2.0), 20),
    "NAND2": ("!(A & B)", "AB", 2.0, (5.0, 2.0), 20),
    "NOR2": ("(A + B)'", "AB", 2.0, (5.0, 2.0), 30),
    "AND2": ("A B", "AB", 3.0, (6.0, 3.0), 30),
    "XOR2": ("A ^ B", "AB", 4.0, (8.0, 8.0), 40),
    "MUX2": ("(A * !S) | (B * S)", "ABS", 5.0, (9.0, 9.0), 50),
}
LEAKAGE_NW = 2.0
DELAYS = """timing () {{ related_pin : "{related}"; {kind}
      cell_rise (delay) {{ values ("{rise}, {rise}", "{rise}, {rise}"); }}
      cell_fall (delay) {{ values ("{fall}, {fall}", "{fall}, {fall}"); }}
      rise_transition (delay) {{ values ("0.1, 0.1", "0.1, 0.1"); }}
      fall_transition (delay) {{ values ("0.1, 0.1", "0.1, 0.1"); }} }}"""
POWER = """internal_power () {{ {related}
      rise_power (energy) {{ values ("{rise}, {rise}", "{rise}, {rise}"); }}
      fall_power (energy) {{ values ("{fall}, {fall}", "{fall}, {fall}"); }} }}"""
CLOCK_PJ = 0.020 + 0.001  # of a flip-flop's pin, 12 and 8 fJ inside, and 1 fF up and down
FLIP_FLOP = f"""
  cell (DFF) {{ area : 8.0; cell_leakage_power : 4.0;
    ff (IQ, IQN) {{ clocked_on : "CK"; next_state : "D"; }}
    pin (CK) {{ direction : input; clock : true; capacitance : 1.0; {POWER.format(related="", rise=12, fall=8)} }}
    pin (D) {{ direction : input; capacitance : 1.0; {POWER.format(related="", rise=1, fall=1)} }}
    pin (Q) {{ direction : output; function : "IQ"; {POWER.format(related='related_pin : "CK";', rise=10, fall=6)}
      {DELAYS.format(related="CK", kind="timing_type : rising_edge;", rise=0.1, fall=0.12)} }}
  }}
"""
CLOCK_GATE = f"""
  cell (CLKGATE) {{ area : 6.0; cell_leakage_power : 3.0; clock_gating_integrated_cell : "latch_posedge";
    statetable ("CK E", "L") {{ table : "L L : - : L, L H : - : H, H - : - : N"; }}
    pin (L) {{ direction : internal; internal_node : "L"; }}
    pin (CK) {{ direction : input; clock_gate_clock_pin : true; capacitance : 1.0;
      {POWER.format(related="", rise=3, fall=2)} }}
    pin (E) {{ direction : input; clock_gate_enable_pin : true; capacitance : 1.0;
      {POWER.format(related="", rise=1, fall=1)} }}
    pin (GCK) {{ direction : output; clock_gate_out_pin : true; state_function : "CK * L";
      {POWER.format(related='related_pin : "CK";', rise=4, fall=3)}
      {DELAYS.format(related="CK", kind="", rise=0.05, fall=0.05)} }}
  }}
"""


def gate(name: str) -> str:
    """One combinational cell."""
    function, inputs, area, (rise, fall), picoseconds = GATES[name]
    pins = "\n".join(f"    pin ({pin}) {{ direction : input; capacitance : 1.0; }}" for pin in inputs)
    related = f'related_pin : "{" ".join(inputs)}";'
    return f"""
  cell ({name}) {{ area : {area}; cell_leakage_power : {LEAKAGE_NW};
{pins}
    pin (Y) {{ direction : output; function : "{function}"; {POWER.format(related=related, rise=rise, fall=fall)}
      {DELAYS.format(related=" ".join(inputs), kind="", rise=picoseconds / 1000, fall=picoseconds / 1000)} }}
  }}
"""


def liberty(*, clock_gate: bool = True) -> str:
    """The whole file."""
    return HEAD + "".join(map(gate, GATES)) + FLIP_FLOP + CLOCK_GATE * clock_gate + "}\n"
