"""The command line: a module for each command, named in `registry`. Nothing else in bertfast imports this."""
