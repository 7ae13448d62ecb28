"""Numbers as text, for tables of the command line and of pages."""

import math

from ..metrics.summary import Figure


def decimals(value: float) -> str:
    """Three decimals; a dash where the figure is not defined.

    >>> decimals(0.12345), decimals(float("nan"))
    ('0.123', '-')
    """
    return "-" if math.isnan(value) else f"{round(value, 3) + 0.0:.3f}"  # + 0.0: a value that rounds to 0 has no minus


def interval(figure: Figure) -> str:
    """The 95 % interval in words; a dash where there is none."""
    return "-" if math.isnan(figure.low) else f"{decimals(figure.low)} to {decimals(figure.high)}"


def signed(value: float) -> str:
    """A difference with its sign and four decimals, without the zero before the point; a dash where it is not defined.

    >>> signed(0.01234), signed(-1.5)
    ('+.0123', '-1.5000')
    """
    return "-" if math.isnan(value) else f"{round(value, 4) + 0.0:+.4f}".replace("0.", ".", 1)


def p_value(value: float) -> str:
    """A p-value with four decimals, without the zero before the point; a dash where it is not defined.

    >>> p_value(0.0312), p_value(1e-9)
    ('.0312', '< .0001')
    """
    if math.isnan(value):
        return "-"
    return "< .0001" if value < 0.0001 else f"{value:.4f}".replace("0.", ".", 1)


def true_minus(number: str) -> str:
    """A number's text with a minus where typing has a hyphen.

    >>> true_minus("-0.5")
    '−0.5'
    """
    return number.replace("-", "−")
