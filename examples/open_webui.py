"""Open WebUI: WhisperFusion as its speech to text and text to speech.

    docker run -d -p 3000:8080 --add-host host.docker.internal:host-gateway \\
        --env-file open_webui.env ghcr.io/open-webui/open-webui

with these lines in open_webui.env, or the same in Admin Panel, Settings, Audio:

    AUDIO_STT_ENGINE=openai
    AUDIO_STT_OPENAI_API_BASE_URL=http://host.docker.internal:8000/v1
    AUDIO_STT_OPENAI_API_KEY=none
    AUDIO_STT_MODEL=whisper-1
    AUDIO_TTS_ENGINE=openai
    AUDIO_TTS_OPENAI_API_BASE_URL=http://host.docker.internal:8000/v1
    AUDIO_TTS_OPENAI_API_KEY=none
    AUDIO_TTS_MODEL=tts-1
    AUDIO_TTS_VOICE=alloy

The server has to be reachable from the container, and called by that name:

    HOST=0.0.0.0 SHARED_SECRET=KEY python main.py  # then KEY in place of none, twice

Check it with the requests that Open WebUI makes: python examples/open_webui.py [open_webui.env]
"""

import io
import re
import sys
from pathlib import Path

import httpx


def main(text: str) -> None:
    values = dict(re.findall(r"^ *(AUDIO_\w+)=(\S+)$", text, re.M))
    with httpx.Client(timeout=60) as http:
        base, key = values["AUDIO_TTS_OPENAI_API_BASE_URL"], values["AUDIO_TTS_OPENAI_API_KEY"]
        wanted = {"model": values["AUDIO_TTS_MODEL"], "voice": values["AUDIO_TTS_VOICE"]}
        speech = http.post(
            f"{base}/audio/speech",
            json={**wanted, "input": "it works"},
            headers={"Authorization": f"Bearer {key}"},
        ).raise_for_status()
        print(f"text to speech: {len(speech.content)} bytes of {speech.headers['content-type']}")
        base, key = values["AUDIO_STT_OPENAI_API_BASE_URL"], values["AUDIO_STT_OPENAI_API_KEY"]
        transcript = http.post(
            f"{base}/audio/transcriptions",
            data={"model": values["AUDIO_STT_MODEL"]},
            files={"file": ("speech.mp3", io.BytesIO(speech.content), "audio/mpeg")},
            headers={"Authorization": f"Bearer {key}"},
        ).raise_for_status()
        print("speech to text:", transcript.json()["text"])


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text() if len(sys.argv) > 1 else __doc__)
