"""What `bench/soak.py` and `bench/chaos.py` share: servers with processes that can be hit, callers
that check their answers, faults, samples of every process and their slopes.
"""
