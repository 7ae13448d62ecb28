"""What steps and metrics cost, beside the least that the machine needs."""
