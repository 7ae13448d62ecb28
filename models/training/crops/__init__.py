"""Training crops: where they come from, whose masks they carry, and how they become batches."""
