"""The interactive part of the report: each lesion's hypotheses on its scan, without a network."""
