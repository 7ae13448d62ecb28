"""TOML files, one a preset: the settings of a training run for one purpose."""
