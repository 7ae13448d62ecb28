"""The made and public data sets of the papers: known readers, the MNIST guessing game, Cityscapes."""
