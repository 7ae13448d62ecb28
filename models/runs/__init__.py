"""A run: its configuration, its folder, its weights, and the machine that it computes on."""
