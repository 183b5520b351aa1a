"""fast_tokenizer.py SOURCE FOLDER: write tokenizer.json for a model that was published only with
the slow form of its tokenizer.
"""

from __future__ import annotations

import sys


def main(source: str, folder: str) -> None:
    from transformers import AutoTokenizer

    AutoTokenizer.from_pretrained(source, use_fast=True).save_pretrained(folder)


if __name__ == "__main__":
    main(*sys.argv[1:])
