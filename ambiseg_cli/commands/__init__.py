"""The commands, one file each, named as the command: parse, call one library function, report."""
