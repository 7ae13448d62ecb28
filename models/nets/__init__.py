"""Networks and losses: torch modules that depend on no store, run or file."""
