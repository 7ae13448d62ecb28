"""The terms that all of `models` shares: methods, predictive distributions, batches, hypotheses, overlap."""
