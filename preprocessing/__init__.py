"""Files in, arrays with geometry and a dataset store out. Nothing here imports torch."""
