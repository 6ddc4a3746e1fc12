"""bertfast beside other engines: models, workloads, candidates, timing. Only ``bertfast bench`` and the scripts of
the repository's ``benchmarks`` import this.
"""
