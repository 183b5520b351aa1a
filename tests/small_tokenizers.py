"""Small real tokenizers of the two kinds that language models use, with any control tokens.

Nothing is fetched.
"""

from __future__ import annotations

import json

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = [
    (
        "hello world, the capital of France is Paris and of Italy it is Rome. What is the capital "
        "of Japan? It is Tokyo, of Egypt Cairo."
    ),
    (
        "Instruct: tell me a story. Output: once upon a time there was a user, an assistant and a "
        "system\nand a very small vocabulary"
    ),
    (
        "zero one two three four five six seven eight nine ten 0 1 2 3 4 5 6 7 8 9 ([INST] "
        "question [/INST]) answer"
    ),
] * 3
CONTROL = {
    "phi-2": ["<|endoftext|>"],
    "phi-3": ["<|endoftext|>", "<|assistant|>", "<|end|>", "<|system|>", "<|user|>"],
    "chatml": ["<|im_end|>", "<|im_start|>"],
    "mistral": [],
}


def sentencepiece_like(
    control: list[str], *, rstrip: bool = False, begin: bool = True
) -> Tokenizer:
    """As of Phi-3 and Mistral: a space before the text, unknown characters as bytes, `<s>` in
    front where `begin`.
    """
    made = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        show_progress=False,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
    )
    made.train_from_iterator(TEXT, trainer)
    data = json.loads(made.to_str())
    data["added_tokens"] = data["added_tokens"][:3]  # bytes are ordinary tokens in the real ones
    made = Tokenizer.from_str(json.dumps(data))
    made.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    made.add_special_tokens([AddedToken(name, normalized=False, rstrip=rstrip) for name in control])
    if begin:
        made.post_processor = processors.TemplateProcessing(
            "<s> $A", None, [("<s>", made.token_to_id("<s>"))]
        )
    return made


def byte_level(control: list[str]) -> Tokenizer:
    """As of Phi-2: bytes from the start, nothing in front, and added tokens that are runs of
    spaces.
    """
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT, trainers.BpeTrainer(vocab_size=700, show_progress=False, initial_alphabet=alphabet)
    )
    made.add_special_tokens(control[:1])
    # dolphin's <|im_start|> is added without being special
    made.add_tokens([*control[1:], " " * 8])
    return made


def tokenizer_for(template: str) -> Tokenizer:
    if template == "phi-2":
        return byte_level(CONTROL[template])
    return sentencepiece_like(CONTROL[template], rstrip=template == "phi-3")
