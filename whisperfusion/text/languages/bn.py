"""Bengali."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

WORDS = words(
    "(বাংলায় উত্তর দাও।)",
    "এক মুহূর্ত।",
    hesitations="উম মানে ইয়ে",
    open_words="এবং আর কিন্তু কারণ যে যদি বা অথবা তবে যখন যাতে কেননা তাই",
    backchannels="""
        হ্যাঁ, হুম, আচ্ছা, ঠিক আছে, ঠিক, বুঝেছি, বুঝলাম, অবশ্যই, জি, জ্বি, ও, ওকে, সত্যি, তাই নাকি
    """,
    commands="না, কিন্তু, শোনো, শুনুন, হ্যালো, দুঃখিত",
    stops="থামো, থামুন, দাঁড়াও, দাঁড়ান, চুপ, বন্ধ করো, বন্ধ করুন, যথেষ্ট, এক মিনিট",
)
