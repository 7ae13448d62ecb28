"""What every room of the models speaks of: methods, predictive distributions, batches, hypotheses, overlap."""
