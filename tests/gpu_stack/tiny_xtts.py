"""A model of XTTS's form with random weights: two narrow layers of the language model, a vocoder of
a thirtieth of the width. The encoder of speakers has the only size that the package knows.

Made with the package's own classes and laid into a folder as coqui/XTTS-v2 has it. It always takes
the likeliest token, so the same text in the same language and voice is the same noise.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
from TTS.tts.models import xtts

# no configuration has it; at its full width a sentence takes eight seconds of a processor
xtts.HifiDecoder = partial(xtts.HifiDecoder, upsample_initial_channel_decoder=16)

SPEAKERS = ("Ana Florence", "Craig Gutsy")
WIDTH, CODES = 32, 64
LONGEST = 35  # tokens of a sentence: 1.6 s
MARKS = ["[STOP]", "[UNK]", "[SPACE]", "[START]"]


def config() -> XttsConfig:
    made = XttsConfig(
        model_args=XttsArgs(
            gpt_layers=2,
            gpt_n_model_channels=WIDTH,
            gpt_n_heads=2,
            gpt_max_audio_tokens=LONGEST,
            gpt_num_audio_tokens=CODES + 2,
            gpt_start_audio_token=CODES,
            gpt_stop_audio_token=CODES + 1,
            gpt_use_perceiver_resampler=True,
            decoder_input_dim=WIDTH,
        )
    )
    made.top_k, made.repetition_penalty = 1, 5.0
    made.gpt_cond_len, made.max_ref_len = 30, 30  # as the published one has them
    return made


def write_vocabulary(file: Path, languages: list[str]) -> None:
    letters = [chr(code) for code in (*range(33, 127), *range(0xE0, 0x100))]
    words = [*MARKS, *(f"[{code}]" for code in languages), *letters]
    made = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, [], unk_token="[UNK]"))
    made.add_special_tokens([word for word in words if len(word) > 1])
    made.save(str(file))


def make_model(folder: Path) -> Path:
    torch.manual_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    made = config()
    write_vocabulary(folder / "vocab.json", made.languages)
    model = xtts.Xtts(made)
    model.tokenizer = VoiceBpeTokenizer(folder / "vocab.json")
    model.init_models()
    for weights in model.gpt.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    model.eval = lambda: model  # it would add the weights of the streaming form
    torch.save({"model": model.state_dict(), "config": {}}, folder / "model.pth")
    # as the package writes it, but for fields that it does not read back
    (folder / "config.json").write_text(json.dumps(made.to_dict()))
    voices = {
        name: {
            "gpt_cond_latent": torch.randn(1, 32, WIDTH),
            "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
        }
        for name in SPEAKERS
    }
    torch.save(voices, folder / "speakers_xtts.pth")
    return folder
