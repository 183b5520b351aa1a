"""The five programs. A wheel has them in this folder; in a checkout they are the files at its root,
which are then found there.
"""

from pathlib import Path

if not (Path(__file__).parent / "main.py").is_file():
    __path__.append(str(Path(__file__).absolute().parents[2]))
