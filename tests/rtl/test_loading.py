"""How weights cross into the loader: the packing of rows, the table, and the cycle rule, apart from the Verilog."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dtss.rtl.loading import Loader, RowFormat, TransferRow, arrivals
from dtss.rtl.memory_image import integer_of_row, integers_of

FORMATS = st.builds(
    RowFormat, st.sampled_from([32, 64, 128, 512]), st.integers(1, 40), st.integers(1, 24)
)  # data bits, elements, element bits

LOADER = Loader(
    data_bits=64,
    columns=4,
    load_rows=1,
    weight_bits=8,
    narrow_bits=(4,),
    parameter_row_bits=384,
    weight_memory_rows=48,
    parameter_memory_rows=8,
    run_bits=5,
)
TRANSFER = TransferRow(
    after=3,
    byte_address=0x1234_5678,
    weight_rows=9,
    first_weight_row=47,
    narrow=1,
    parameter_rows=2,
    first_parameter_row=7,
)


@given(form=FORMATS, count=st.integers(0, 20), padding=st.integers(0, 1), seed=st.integers(0, 1000))
def test_rows_are_found_again_in_their_beats(form: RowFormat, count: int, padding: int, seed: int) -> None:
    limit = 1 << form.element_bits - 1
    rows = np.random.default_rng(seed).integers(-limit, limit, (count, form.elements))
    beats = form.pack(rows, padding)
    assert beats.shape == (form.beats(count), form.data_bits)
    assert form.rows_of_beat == 1 or form.beats_of_row == 1
    for index, row in enumerate(rows):
        beat, place = divmod(index, form.rows_of_beat)
        content = beats[beat * form.beats_of_row : (beat + 1) * form.beats_of_row].reshape(-1)
        found = content[place * form.data_bits // form.rows_of_beat :][: form.row_bits]
        assert integers_of(found.reshape(form.elements, form.element_bits), signed=True).tolist() == row.tolist()


@given(form=FORMATS)
def test_a_beat_holds_the_largest_power_of_two_of_rows_that_fits(form: RowFormat) -> None:
    rows = form.rows_of_beat
    assert rows & (rows - 1) == 0
    assert rows * form.row_bits <= form.data_bits or rows == 1
    assert 2 * rows * form.row_bits > form.data_bits


def test_a_table_row_has_the_fields_of_weight_loader() -> None:
    other = TransferRow(
        after=0, byte_address=0, weight_rows=0, first_weight_row=0, narrow=0, parameter_rows=1, first_parameter_row=0
    )
    first, second = (integer_of_row(row) for row in LOADER.table([TRANSFER, other]))
    assert LOADER.table_widths["first_weight_row"] == 6 and LOADER.table_widths["parameter_rows"] == 4
    expected = 0
    for width, value in ((1, 0), (5, 3), (32, 0x1234_5678), (7, 9), (6, 47), (1, 1), (4, 2), (3, 7)):
        expected = expected << width | value
    assert first == expected
    assert second == 1 << sum(LOADER.table_widths.values()) - 1 | 1 << 3


def test_a_transfer_takes_its_rows_and_the_latency() -> None:
    """Nine narrow rows of 16 bits, four a beat; two parameter rows of 384 bits, six beats each."""
    assert LOADER.transfer_bytes(TRANSFER) == (3 + 12) * 8
    assert LOADER.transfer_cycles(TRANSFER, latency=20) == 1 + 20 + 9 + 12


def test_a_transfer_begins_when_the_one_before_and_its_wait_are_over() -> None:
    assert list(arrivals(10, done=[0, 0, 100], cycles=[5, 7, 3])) == [16, 23, 103]
