"""Exit status 0 when the server says that all of its processes are ready; for HEALTHCHECK, where
no curl is needed.
"""

from __future__ import annotations

import os
import sys
import urllib.request


def main() -> int:
    port = os.environ.get("HTTP_PORT", "").strip() or os.environ.get("PORT", "").strip() or "8000"
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return 0 if answer.status == 200 else 1
    # urllib.error.HTTPError among them: 503 while a process starts or is down
    except OSError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
