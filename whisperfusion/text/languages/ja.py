"""Japanese."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "は", "が", "の", "けど" or "でも", which end turns: "お名前は？", "すみませんが", "いつでも"
WORDS = words(
    "(日本語で答えてください。)",
    "少々お待ちください。",
    failed="すみません、問題が発生しました。もう一度お願いします。",
    interrupted="すみません、途中で途切れました。",
    hesitations="えっと えーと ええと あのー そのー うーん",
    open_words="を それで そして しかし つまり 例えば この あの その または それから",
    backchannels="""
        はい, うん, うんうん, ええ, そう, そうですね, そうなんですか, なるほど, へえ, そうですか,
        分かりました, わかりました, 了解, 確かに, もちろん, ほんとに, そっか
    """,
    commands="いいえ, いや, すみません, ねえ, こんにちは",
    stops="止めて, やめて, ストップ, 待って, ちょっと待って, 静かに, もういい, キャンセル",
)
