"""Chinese (Mandarin)."""

from __future__ import annotations

from whisperfusion.text.languages.words import words

# not "的" or "在": "是的", "我在"
WORDS = words(
    "(请用中文回答。)",
    "请稍等。",
    failed="抱歉，出了点问题。请再试一次。",
    interrupted="抱歉，刚才中断了。",
    hesitations="呃 那个那个 嗯那个",
    open_words="""
        和 跟 与 或者 还是 因为 但是 可是 不过 所以 如果 而且 虽然 把 被 对于 关于 从 比如 例如 然后
        以及 并且 为了 我想 请帮我
    """,
    backchannels="""
        嗯, 嗯嗯, 好, 好的, 对, 对对, 对对对, 是, 是的, 明白, 哦, 行, 可以, 没错, 知道了,
        好吧, 当然, 了解, 原来如此, 这样啊
    """,
    commands="不, 喂, 你好, 不对, 对不起",
    stops="停, 停下, 停止, 等等, 等一下, 别说了, 安静, 够了, 闭嘴, 取消",
)
