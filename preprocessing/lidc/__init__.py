"""LIDC-IDRI: annotations, contours, crops and the store made of them."""
