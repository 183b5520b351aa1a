"""Urdu."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# postpositions end answers ("لاہور میں"), so they are not here
WORDS = words(
    "(اردو میں جواب دیں۔)",
    "ایک لمحہ۔",
    failed="معذرت، کچھ غلط ہو گیا۔ براہ کرم دوبارہ کوشش کریں۔",
    interrupted="معذرت، درمیان میں رکاوٹ آ گئی۔",
    hesitations="امم آں مطلب",
    open_words="اور لیکن مگر کیونکہ کہ اگر یا تاکہ جب جو بلکہ چونکہ",
    backchannels="""
        ہاں, جی, جی ہاں, اچھا, ٹھیک ہے, ٹھیک, بالکل, سمجھ گیا, سمجھ گئی, ہمم, صحیح, ضرور, واہ
    """,
    commands="نہیں, لیکن, سنو, سنیں, معاف کیجیے",
    stops="رکو, رکیں, رکیے, بس, ٹھہرو, ٹھہریں, چپ, خاموش, بند کرو, ایک منٹ",
)
