"""Parsing and printing colours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segkit.palette import color


@pytest.mark.parametrize(
    "text",
    [
        "#06E6E6", "06e6e6", "0x06E6E6", "0X06e6e6", "(6, 230, 230)", "[6,230,230]", "6,230,230", "6 230 230",
        " 6;230;230 ", "(006 ,0230, 230)", "rgb(6, 230, 230)", "RGB(6 230 230)", "6.0, 230.0, 230.00",
        "(6.0 230.0 230.0)", "6,0; 230,0; 230,0", "6,0 230,0 230,0",
    ],
)  # fmt: skip
def test_common_notations_are_equivalent(text: str) -> None:
    """Hex with or without #, triples with or without brackets, stray spaces, leading and trailing zeros agree."""
    assert color.parse(text) == (6, 230, 230)


@pytest.mark.parametrize(
    "text",
    [
        "", "red", "#06E6E", "#06E6E6FF", "0x06E6", "0F8", "#0F", "(1, 2)", "(1, 2, 3, 4)", "(256, 0, 0)", "(-1, 2, 3)",
        "(1.5, 2, 3)", "(1., 2, 3)", "1,0,2,0,3,0", "rgba(1, 2, 3, 1)", "rgb(1%, 2%, 3%)", "(1_0, 2, 3)",
        "\uff11,\uff12,\uff13", "=RGB(1,2,3)", "nan,nan,nan", "9" * 5000,
    ],
)  # fmt: skip
def test_other_texts_are_refused_with_the_expected_notation(text: str) -> None:
    """Anything else is refused in one short line that shows what a colour looks like."""
    with pytest.raises(ValueError, match="expected") as raised:
        color.parse(text)

    assert len(str(raised.value)) < 120


@pytest.mark.parametrize(
    "text",
    ["", "256", "-1", "+1", "1.5", "1,5", "1.", ".0", "1.0.0", "256.0", "1_0", "\uff11", "1e2", "0x1", "9" * 5000],
)
def test_a_channel_is_a_plain_number_up_to_255(text: str) -> None:
    """Spellings that Python's int() accepts, such as 1_0 and full-width digits, are refused."""
    with pytest.raises(ValueError, match="expected a whole number from 0 to 255"):
        color.channel(text)


def test_three_hex_digits_are_doubled_behind_a_hash() -> None:
    """As in CSS, #0F8 is #00FF88; without the hash the digits could be a number."""
    assert color.parse("#0F8") == color.parse("#0f8") == (0, 255, 136)


@given(st.integers(0, 255), st.sampled_from(".,"), st.integers(1, 20))
def test_a_fraction_of_zeros_does_not_change_a_channel(value: int, sign: str, zeros: int) -> None:
    """Spreadsheets write 120 as 120.0, or as 120,0 in countries with a decimal comma."""
    assert color.channel(f"{value}{sign}{'0' * zeros}") == value


@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_printed_colours_parse_back(rgb: color.RGB) -> None:
    """Every colour survives printing as hex and as a triple."""
    assert color.parse(color.to_hex(rgb)) == rgb
    assert color.parse(str(rgb)) == rgb
