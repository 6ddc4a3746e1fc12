"""The candidates, one file for each library: what it takes to run a model in it."""
