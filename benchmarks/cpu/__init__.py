"""bertfast beside its peers on a CPU: what the scripts compare_cpu.py, compare_minilm.py and plot.py share."""
