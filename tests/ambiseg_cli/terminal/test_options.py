"""Values of options, as text that a user types."""

import pytest

from ambiseg.preprocessing.errors import UsageError
from ambiseg.terminal.options import point


@pytest.mark.parametrize("text", ["1,2", "1,2,x", "1 2 3", "1,2,3,4", "nan,1,2", ""])
def test_points_need_three_numbers(text: str) -> None:
    with pytest.raises(UsageError, match="expected three"):
        point(text)
