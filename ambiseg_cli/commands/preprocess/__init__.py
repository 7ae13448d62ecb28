"""`ambiseg preprocess`: one file per kind of source."""
