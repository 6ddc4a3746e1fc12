"""What bertfast costs, measured. The scripts here run by their path; benchmarks.gpu is run by ``make gpu``."""
