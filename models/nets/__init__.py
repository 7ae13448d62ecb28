"""Networks and losses: torch modules that know no store, no run and no file."""
