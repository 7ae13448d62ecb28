"""Whole lesions: a model's weighted volumes against readers' volumes, and how still they stand."""
