"""The examples of docs/apis.md, each run as it stands there against a running server, with only
the address changed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from running import ROOT
from test_rest import speech_of, wav, words_in

DOCS = (ROOT / "docs" / "apis.md").read_text(encoding="utf-8")
EXAMPLES = {
    name: (language, text)
    for language, text, name in (
        (m[1], m[0].split("\n", 1)[1].rsplit("```", 1)[0], m[2])
        for m in re.finditer(r"```(python|sh)\n# (\S+)\n.*?```", DOCS, re.S)
    )
}
EXPECTED = {
    "openai-rest.py": "alpha beta",
    "batches.py": "question alpha beta",
    "subtitles.sh": "alpha beta",
    "words.sh": "[DONE]",
    "speech.sh": '"voices"',
    "custom-voice.py": "audio.voice.deleted",
    "custom-voice.sh": "audio.voice.deleted",
    "openai-realtime.py": "You said alpha beta. That is 2 words.",
    "client-secret.sh": "ek_",
    "bazarr.sh": "language_code",
    "interact.sh": "",
    "ws.py": "You said alpha beta",
    "wyoming-tts.py": "audio-chunk",
}
MADE = {
    "openai-rest.py": ("answer.mp3", "it works."),
    "speech.sh": ("answer.wav", None),
    "custom-voice.py": ("answer.wav", "it works."),
    "custom-voice.sh": ("answer.wav", "it works."),
    "interact.sh": ("answer.wav", "you said alpha beta.that is 2 words."),
    "ws.py": ("answer.wav", "you said alpha beta.that is 2 words."),
}


def test_every_example_is_run():
    assert set(EXAMPLES) == set(EXPECTED) and DOCS.count("```python") + DOCS.count("```sh") == len(
        EXAMPLES
    )


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_does_what_it_says(scripted_server, name, tmp_path):
    language, text = EXAMPLES[name]
    if language == "sh" and shutil.which("curl") is None:
        pytest.fail("curl is missing; .ci/run installs it")
    pcm = speech_of("alpha beta")
    upper = np.interp(np.arange(len(pcm) * 3 // 2) / 1.5, np.arange(len(pcm)), pcm)
    (tmp_path / "question.wav").write_bytes(wav(pcm))
    (tmp_path / "question-24k.wav").write_bytes(wav(upper, 24_000))
    (tmp_path / "question.raw").write_bytes((pcm * 32767).astype("<i2").tobytes())
    long = speech_of(*["alpha beta gamma delta"] * 6)
    for sample in ("sample.wav", "consent.wav"):
        (tmp_path / sample).write_bytes(wav(long))
    (tmp_path / name).write_text(
        text.replace("localhost:8000", f"127.0.0.1:{scripted_server.http_port}").replace(
            "localhost:10300", f"127.0.0.1:{scripted_server.wyoming_port}"
        )
    )
    command = [sys.executable, name] if language == "python" else ["bash", "-e", name]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"},
    )
    assert done.returncode == 0 and EXPECTED[name] in done.stdout, (
        done.stdout[-500:],
        done.stderr[-2000:],
    )
    if name in MADE:
        file, words = MADE[name]
        data = Path(tmp_path / file).read_bytes()
        assert words is None or words_in(data) == words
