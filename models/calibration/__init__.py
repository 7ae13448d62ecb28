"""Calibrating a trained run: fitting the correction of its weights to validation readers, and judging it on other cases."""
