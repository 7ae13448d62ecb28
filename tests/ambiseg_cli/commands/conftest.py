"""Fixtures that the tests of commands share with those of the library."""

from tests.preprocessing.conftest import records, write_series

__all__ = ["records", "write_series"]
