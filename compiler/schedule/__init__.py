"""The schedule: the one format, arithmetic and set of cycle rules shared by compiler, simulator and RTL."""
