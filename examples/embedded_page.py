"""A conversation in a web page of your own: serves one page at http://localhost:8080.

    CORS_ORIGINS=http://localhost:8080 python main.py  # the server allows the page's origin
    python examples/embedded_page.py

The page loads the module from the server; web/whisperfusion.d.ts has every option, event and
method. WHISPERFUSION_URL names another server (https, because browsers allow the microphone only
there), PORT another port.
"""

import os
from http.server import BaseHTTPRequestHandler, HTTPServer

URL = os.environ.get("WHISPERFUSION_URL", "http://localhost:8000")
PORT = int(os.environ.get("PORT", "8080"))
PAGE = f"""<!doctype html>
<meta charset="utf-8">
<title>My assistant</title>
<button id="talk">Talk</button> <output id="state">idle</output>
<form id="form"><input id="line" aria-label="Type instead"></form>
<ol id="lines"></ol>
<script type="module">
  import {{ Conversation }} from "{URL}/static/whisperfusion.js";
  const talk = new Conversation("{URL}", {{ instructions: "You sell shoes. Be brief." }});
  const items = new Map(); // the same entry comes again as often as it changes
  talk.on("state", (state) => (document.getElementById("state").value = state));
  talk.on("notice", (code, text) => text && alert(text));
  talk.on("entry", (entry) => {{
    if (!items.has(entry)) items.set(entry, lines.appendChild(document.createElement("li")));
    items.get(entry).textContent = `${{entry.role}}: ${{entry.text}}`;
  }});
  talk.on("remove", (entry) => items.get(entry)?.remove());
  const lines = document.getElementById("lines");
  document.getElementById("talk").onclick = () =>
    talk.state === "idle" ? talk.start() : talk.stop();
  document.getElementById("form").onsubmit = (event) => {{
    event.preventDefault();
    talk.say(document.getElementById("line").value);
    event.target.reset();
  }};
</script>
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(PAGE.encode())


if __name__ == "__main__":
    print(f"open http://localhost:{PORT}", flush=True)
    HTTPServer(("127.0.0.1", PORT), Page).serve_forever()
