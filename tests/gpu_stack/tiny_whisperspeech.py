"""Models for WhisperSpeech with random weights, a thousandth of the real size, where its own
loaders look for the real ones.

All are made with the package's own classes and saved with its own functions, then laid into a hub
cache and a torch cache. So the package runs unchanged, offline, from its default names. What it
says is noise.
"""

from __future__ import annotations

from pathlib import Path

import torch
from encodec import EncodecModel
from torch.nn import Module
from vocos import Vocos
from whisperspeech.s2a_delar_mup_wds_mlang import SADelARTransformer
from whisperspeech.s2a_delar_mup_wds_mlang import Tunables as S2ATunables
from whisperspeech.t2s_up_wds_mlang_enclm import TSARTransformer
from whisperspeech.t2s_up_wds_mlang_enclm import Tunables as T2STunables

# bytes of text as in the published models; 2.4 s of speech at 25 a second; vocabulary
TTOKS, STOKS, CODES = 550, 60, 64
VOCOS = """
feature_extractor:
  class_path: vocos.feature_extractors.EncodecFeatures
  init_args: {encodec_model: encodec_24khz, bandwidths: [1.5, 3.0, 6.0, 12.0]}
backbone:
  class_path: vocos.models.VocosBackbone
  init_args: {input_channels: 128, dim: 32, intermediate_dim: 64, num_layers: 2, adanorm_num_embeddings: 4}
head:
  class_path: vocos.heads.ISTFTHead
  init_args: {dim: 32, n_fft: 1280, hop_length: 320, padding: same}
"""
ECAPA = """
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
  {input_size: 80, channels: [16, 16, 16, 16, 48], kernel_sizes: [5, 3, 3, 3, 1], dilations: [1, 2, 3, 4, 1],
   attention_channels: 16, res2net_scale: 4, se_channels: 16, lin_neurons: 192}
modules:
  compute_features: !new:speechbrain.lobes.features.Fbank {n_mels: 80}
  mean_var_norm: !new:speechbrain.processing.features.InputNormalization {norm_type: sentence, std_norm: false}
  embedding_model: !ref <embedding_model>
  classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier {input_size: 192, out_neurons: 7}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables: {embedding_model: !ref <embedding_model>}
"""


def random(model: Module, spread: float = 0.3) -> Module:
    """All weights random: the package starts its heads at zero, and the answer would not depend
    on the question.
    """
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=spread)
    return model


def t2s() -> Module:
    return random(
        TSARTransformer(
            depth=2,
            n_head=2,
            head_width=16,
            ffn_mult=1,
            ttoks_len=TTOKS,
            stoks_len=STOKS,
            stoks_codes=CODES,
            stoks_width=32,
            ttoks_width=32,
            tunables=T2STunables(causal_encoder=False),
        )
    )


def s2a() -> Module:
    return random(
        SADelARTransformer(
            depth=2,
            n_head=2,
            head_width=16,
            ffn_mult=1,
            ctx_n=3 * STOKS,
            stoks_len=STOKS,
            stoks_codes=CODES + 1,
            stoks_width=32,
            spk_width=192,
            quantizers=4,
            tunables=S2ATunables(),
        )
    )


def caches(folder: Path) -> None:
    """Fill `folder`/hub, as HF_HOME has it, and `folder`/torch, which TORCH_HOME has to name."""
    torch.manual_seed(1)
    speech = in_hub(folder, "collabora/whisperspeech")
    t2s().save_model(str(speech / "t2s-small-en+pl.model"))
    s2a().save_model(str(speech / "s2a-q4-tiny-en+pl.model"))
    checkpoints = folder / "torch" / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    encodec = EncodecModel.encodec_model_24khz(pretrained=False).state_dict()
    for name in [name for name in encodec if name.endswith("_codebook.embed")]:
        torch.nn.init.normal_(encodec[name])  # zero until it is trained
    torch.save(encodec, checkpoints / "encodec_24khz-d7cc33bc.th")
    vocoder = in_hub(folder, "charactr/vocos-encodec-24khz")
    (vocoder / "config.yaml").write_text(VOCOS)
    weights = random(Vocos.from_hparams(str(vocoder / "config.yaml")), 0.1).state_dict()
    torch.save(
        {
            name: value
            for name, value in weights.items()
            if not name.startswith("feature_extractor.encodec.")
        },
        vocoder / "pytorch_model.bin",
    )
    speakers = in_hub(folder, "speechbrain/spkrec-ecapa-voxceleb")
    (speakers / "hyperparams.yaml").write_text(ECAPA)
    from hyperpyyaml import load_hyperpyyaml

    torch.save(
        load_hyperpyyaml(ECAPA)["embedding_model"].state_dict(), speakers / "embedding_model.ckpt"
    )


def in_hub(folder: Path, repo: str) -> Path:
    """The folder of the only revision of `repo` in a hub cache."""
    place = folder / "hub" / f"models--{repo.replace('/', '--')}"
    revision = "0" * 40
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    (place / "snapshots" / revision).mkdir(parents=True)
    return place / "snapshots" / revision
