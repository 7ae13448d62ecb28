"""The dataset store: crops, readers' masks, and where each came from."""
