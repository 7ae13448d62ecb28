"""The baselines of the Probabilistic U-Net paper (Kohl et al. 2018, section 3.2)."""
