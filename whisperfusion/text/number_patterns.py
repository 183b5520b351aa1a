"""Patterns of numbers that the rules of text normalization share."""

from __future__ import annotations

NUM = r"[0-9]{1,3}(?:,[0-9]{3}){1,9}(?:\.[0-9]{1,20})?|[0-9]{1,40}(?:\.[0-9]{1,20})?|\.[0-9]{1,20}"
ALONE = r"(?<![\w.,])"  # not the continuation of a number
SIGN = r"(?:(?<=[\s(\[=,:])|^)-"  # a minus, not the hyphen of a word or a range
DASH = r"\s?[-–—]\s?"
MANY = r"hundred|thousand|million|billion|trillion"
