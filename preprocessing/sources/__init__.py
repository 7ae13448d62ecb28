"""One file a source of crops: each turns files of one kind into a dataset store."""
