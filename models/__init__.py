"""Generative segmentation models: methods, training, ranking, metrics, prediction."""
