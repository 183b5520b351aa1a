"""What `bench/hostile.py` does to a server: one file for each kind of attack, all bounded and on
this machine only.
"""
