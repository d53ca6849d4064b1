"""Bit-exact execution of a schedule with exact activity, and its cycles, traffic and energy."""
