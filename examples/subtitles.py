"""Subtitles of a film or a recording, by the OpenAI SDK.

    pip install openai
    python examples/subtitles.py film.mp4  # writes film.srt

Any file that FFmpeg reads will do. WHISPERFUSION_URL names another server, OPENAI_API_KEY its key
if it has one.
"""

import os
import sys
from pathlib import Path

from openai import OpenAI

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000")


def main(path: Path) -> None:
    client = OpenAI(base_url=f"{URL}/v1", api_key=os.environ.get("OPENAI_API_KEY", "none"))
    with path.open("rb") as film:
        subtitles = client.audio.transcriptions.create(
            model="whisper-1", file=film, response_format="srt"
        )
    target = path.with_suffix(".srt")
    target.write_text(subtitles, encoding="utf-8")
    print(f"{target}: {subtitles.count(' --> ')} subtitles")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
