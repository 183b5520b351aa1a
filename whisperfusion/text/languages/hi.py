"""Hindi."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# postpositions end answers ("दिल्ली में"), so they are not here
WORDS = words(
    "(हिंदी में जवाब दो।)",
    "एक क्षण।",
    failed="माफ़ कीजिए, कुछ गड़बड़ हो गई। कृपया फिर से कहिए।",
    interrupted="माफ़ कीजिए, बीच में रुकावट आ गई।",
    hesitations="अं उम मतलब",
    open_words="और लेकिन मगर परंतु क्योंकि कि अगर या ताकि जब जो बल्कि चूँकि इसलिए तथा एवं",
    backchannels="""
        हाँ, हां, जी, जी हाँ, हम्म, अच्छा, ठीक है, ठीक, सही, बिल्कुल, समझ गया, समझ गई, सही बात, ओके,
        वाह, ज़रूर, हाँ हाँ
    """,
    commands="नहीं, लेकिन, सुनो, सुनिए, नमस्ते, माफ़ कीजिए",
    stops="रुको, रुकिए, रुक जाओ, बस, ठहरो, चुप, बंद करो, रद्द करो, एक मिनट",
)
