"""The doctor's findings and its verdict."""

from __future__ import annotations

import http.server
import os
import socket
import threading

import pytest
from fake_voice_server import FakeVoiceServer

from whisperfusion.cli import doctor
from whisperfusion.cli.doctor import network
from whisperfusion.engines import load
from whisperfusion.gateway.access.certificates.identity import TlsIdentity
from whisperfusion.gateway.access.certificates.x509 import fingerprint
from whisperfusion.settings import build

SCRIPTED = {f"{kind}_engine": "scripted" for kind in ("asr", "llm", "tts", "vad", "turn")}


@pytest.fixture
def chosen(tmp_path):
    """Settings with any free ports, scripted engines and an empty cache, plus what the test
    wants.
    """

    def make(**flags):
        ports = {"asr_port": "0", "tts_port": "0", "http_port": "0"}
        return build(
            {**SCRIPTED, **ports, "model_cache_dir": str(tmp_path / "cache"), **flags}, {}, {}
        )

    return make


def test_a_machine_that_can_run(chosen, capsys):
    assert doctor.run(chosen()) == 0
    report = capsys.readouterr().out
    assert (
        "Verdict: this can run." in report
        and "GB free for models" in report
        and "prediction" in report
    )


def test_a_busy_port_is_named_with_its_owner(chosen, capsys):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert doctor.run(chosen(asr_port=str(port))) == 1
    report = capsys.readouterr().out
    assert (
        f"port {port} is in use by process {os.getpid()} " in report
        and "ASR_PORT" in report
        and "cannot run yet" in report
    )
    assert network.check_port("127.0.0.1", port, "ASR_PORT").level == "good"


def test_an_address_that_is_not_ours_is_refused(chosen):
    [finding] = [
        found
        for found in doctor.check_ports(chosen(host="192.0.2.1", asr_port="6006"))
        if found.level == "bad"
    ]
    assert "192.0.2.1:6006" in finding.text and "HOST" in finding.advice


def test_missing_models_are_a_note_when_a_source_has_them_and_bad_when_none_has(chosen):
    [note] = doctor.check_models(chosen(asr_engine="faster-whisper"))
    assert (note.level, "148 MB" in note.text, "models fetch" in note.advice) == (
        "note",
        True,
        True,
    )
    [bad] = doctor.check_models(
        chosen(asr_engine="faster-whisper", asr_model="small", model_sources="packages")
    )
    assert bad.level == "bad" and "hub" in bad.advice
    [unknown] = doctor.check_models(chosen(asr_engine="faster-whisper", asr_model="bse"))
    assert unknown.level == "bad" and "Did you mean whisper-base" in unknown.text


def test_the_recognizer_for_a_rush_is_named_and_its_absence_is_nothing_bad(chosen):
    [small] = [
        found
        for found in doctor.check_engines(chosen(asr_engine="faster-whisper"))
        if "under load" in found.text
    ]
    assert (
        small.level == "good"
        and "whisper-tiny.en" in small.text
        and "main.py models fetch" in small.text
    )
    off = chosen(asr_engine="faster-whisper", asr_small_model="none")
    assert not [found for found in doctor.check_engines(off) if "under load" in found.text]


def test_gpu_engines_are_looked_for_where_they_are_built(chosen, tmp_path):
    asked = chosen(llm_engine="tensorrt-llm", llm_model="phi-3-mini", engines_dir=str(tmp_path))
    [missing] = doctor.check_models(asked)
    assert (
        missing.level,
        "phi-3-mini-4k-instruct" in missing.text,
        "build-models.sh" in missing.advice,
    ) == ("bad", True, True)
    [package] = [found for found in doctor.check_python(asked) if "tensorrt_llm" in found.text]
    assert "docs/gpu.md" in package.advice
    (tmp_path / "phi-3-mini-4k-instruct").mkdir()
    (tmp_path / "phi-3-mini-4k-instruct" / "rank0.engine").write_bytes(b"plan")
    assert [found.level for found in doctor.check_models(asked)] == ["good"]


def test_packages_of_another_interpreter_are_not_looked_for(chosen):
    asked = chosen(tts_engine="whisperspeech", tts_option="python=/opt/tts/bin/python")
    assert all(found.level == "good" for found in doctor.check_python(asked))


def test_a_library_that_does_not_load_is_told(chosen, tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text(
        "raise ImportError('libgomp.so.1: cannot open shared object file')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [bad] = [
        found
        for found in doctor.check_python(chosen(llm_engine="llama.cpp"))
        if found.level == "bad"
    ]
    assert "does not load" in bad.text and "libgomp1" in bad.advice


def test_own_models_are_here(chosen, tmp_path):
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    [finding] = doctor.check_models(
        chosen(llm_engine="llama.cpp", llm_model=str(tmp_path / "own.gguf"))
    )
    assert finding.level == "good" and "own.gguf" in finding.text


def test_the_choice_of_the_language_model_is_explained(chosen):
    [llm] = [
        found
        for found in doctor.check_engines(chosen(llm_engine="llama.cpp"))
        if found.text.startswith("llm")
    ]
    assert "was chosen" in llm.text


def test_an_unknown_engine_lists_the_known_ones(chosen):
    [bad] = [
        found for found in doctor.check_engines(chosen(tts_engine="parrot")) if found.level == "bad"
    ]
    assert "parrot" in bad.text and "hibari" in bad.advice and "TTS_ENGINE" in bad.advice


def test_an_llm_server_that_does_not_answer_is_a_note_with_the_fall_back(chosen):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    [note] = doctor.check_servers(chosen(llm_engine="ollama", llm_url=url))
    assert note.level == "note" and url in note.text and "answers in its place" in note.advice
    assert list(doctor.check_servers(chosen())) == []


@pytest.mark.parametrize("kind", ["asr", "tts"])
def test_a_server_that_speech_needs_ends_the_start_when_it_is_not_there(chosen, kind):
    [bad] = doctor.check_servers(
        chosen(**{f"{kind}_engine": "openai", f"{kind}_url": "http://127.0.0.1:1/v1"})
    )
    assert bad.level == "bad" and f"{kind.upper()}_URL" in bad.advice


@pytest.mark.parametrize(
    ("kind", "key", "level"),
    [("llm", "right", "good"), ("llm", "wrong", "note"), ("asr", "wrong", "bad")],
)
def test_a_server_that_answers(chosen, kind, key, level):
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(
                200
                if (self.path, self.headers["Authorization"]) == ("/v1/models", "Bearer right")
                else 401
            )
            self.end_headers()

        def log_message(self, *_): ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        given = {"engine": "openai", "url": url, "key": key}
        [finding] = doctor.check_servers(
            chosen(**{f"{kind}_{name}": value for name, value in given.items()})
        )
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert finding.level == level
    assert level == "good" or f"{kind.upper()}_KEY" in finding.advice


def test_a_missing_package_says_how_to_install_it(chosen):
    findings = list(doctor.check_python(chosen(tts_engine="piper")))
    bad = [finding for finding in findings if finding.level == "bad"]
    try:
        import piper  # noqa: F401  the optional extra may be installed

        assert bad == []
    except ImportError:
        assert [finding.text for finding in bad] == [
            "the package piper-tts is not installed"
        ] and "pip install piper-tts" in bad[0].advice


def test_speed_is_predicted_for_what_is_chosen(chosen):
    report = [
        found.text
        for found in doctor.check_speed(
            chosen(asr_engine="faster-whisper", llm_engine="llama.cpp", tts_engine="hibari")
        )
    ]
    assert [text.split(" ")[0] for text in report] == ["computing", "speech", "language", "text"]
    assert len(list(doctor.check_speed(chosen()))) == 1


def test_the_state_of_https_is_told_and_nothing_is_made(chosen, tmp_path):
    def texts(**flags):
        settings = chosen(**flags)
        return settings, [(found.level, found.text) for found in doctor.check_https(settings)]

    assert [level for level, _ in texts()[1]] == ["good"]
    assert [level for level, _ in texts(host="0.0.0.0", allow_open="true")[1]] == ["note"]
    settings, told = texts(https="auto", host="0.0.0.0", allowed_hosts="192.168.7.7")
    assert [level for level, _ in told] == ["good"] * 3 and "will be made" in told[0][1]
    assert "https://192.168.7.7:" in told[2][1] and not settings.https_dir.exists()
    made = TlsIdentity(settings).authority
    assert (
        fingerprint(made.der)
        in texts(https="auto", host="0.0.0.0", allowed_hosts="192.168.7.7")[1][0][1]
    )
    own = str(settings.https_dir / "server.pem")
    assert "is valid until" in texts(tls_cert=own, tls_key=own, host="0.0.0.0")[1][0][1]
    assert texts(tls_cert=own, tls_key=str(tmp_path / "none"))[1][0][0] == "bad"


def test_a_chain_is_shown_with_its_keys_and_nothing_is_asked(chosen):
    chain = (
        "groq/llama, gemini/flash?first_token_s=3, ollama/qwen, "
        "openai@http://127.0.0.1:9/v1/own?key=mine, embedded"
    )
    settings = chosen(
        llm_engine="llama.cpp", llm_chain=chain, groq_api_key="gsk-1", llm_keys="mine=sk-2"
    )
    found = [one for one in doctor.check_engines(settings) if one.text.startswith("llm")]
    assert [one.level for one in found] == ["good", "note", "good", "good", "good"]
    assert [one.text for one in found] == [
        "llm: link 1 of 5: groq/llama at https://api.groq.com/openai/v1, first token within 2 s, "
        "key GROQ_API_KEY is set",
        "llm: link 2 of 5: gemini/flash at https://generativelanguage.googleapis.com/v1beta/openai,"
        " first token within 3 s, without its key",
        "llm: link 3 of 5: ollama/qwen, first token within 5 s",
        "llm: link 4 of 5: openai/own at http://127.0.0.1:9/v1, first token within 5 s, key mine "
        "is set",
        "llm: link 5 of 5: embedded",
    ]
    assert "GEMINI_API_KEY" in found[1].advice
    assert not [one for one in doctor.check_servers(settings) if "LLM" in one.text]


@pytest.mark.parametrize("chain", ["grok/fast", "groq/llama", "groq/a?key=nothing"])
def test_a_chain_that_cannot_answer_is_bad(chosen, chain):
    found = list(doctor.check_engines(chosen(llm_chain=chain)))
    assert [one.level for one in found if one.level == "bad"] == ["bad"]


def test_chains_of_speech_are_shown_with_their_keys_and_nothing_is_asked(chosen):
    settings = chosen(
        asr_chain="deepgram/nova-3, groq/whisper?timeout_s=1, openai@http://127.0.0.1:9/v1/own, "
        "embedded",
        tts_chain="cartesia/sonic-3:ann, embedded",
        deepgram_api_key="dg-1",
    )
    found = [one for one in doctor.check_engines(settings) if " of " in one.text]
    able = "[streaming, batches, language detection, by URL]"
    assert [(one.level, one.text) for one in found] == [
        (
            "good",
            "asr: link 1 of 4: deepgram/nova-3 at https://api.deepgram.com/v1, 3 s at most " + able,
        ),
        (
            "note",
            "asr: link 2 of 4: groq/whisper at https://api.groq.com/openai/v1, 1 s at most "
            f"{able}, without its key",
        ),
        (
            "good",
            f"asr: link 3 of 4: openai/own at http://127.0.0.1:9/v1, 3 s at most {able}",
        ),
        (
            "good",
            "asr: link 4 of 4: embedded [streaming, batches, language detection, end of turn]",
        ),
        (
            "note",
            "tts: link 1 of 2: cartesia/sonic-3 at https://api.cartesia.ai, 3 s at most "
            "[streaming, by URL], without its key",
        ),
        ("good", "tts: link 2 of 2: embedded [streaming]"),
    ]
    assert "CARTESIA_API_KEY" in found[4].advice
    assert not list(doctor.check_servers(settings)) and list(doctor.check_python(settings))


@pytest.mark.parametrize(
    ("kind", "chain"),
    [("asr", "wisper"), ("asr", "deepgram"), ("tts", "cartesia"), ("tts", "hibari, hibari")],
)
def test_a_chain_of_speech_that_cannot_answer_is_bad(chosen, kind, chain):
    settings = chosen(**{f"{kind}_chain": chain})
    found = list(doctor.check_engines(settings))
    assert [one.level for one in found if one.level == "bad"] == ["bad"]
    assert list(doctor.check_python(settings))


@pytest.mark.parametrize(("kind", "engine"), [("asr", "deepgram"), ("tts", "cartesia")])
def test_a_provider_of_speech_is_asked_in_its_own_way(chosen, kind, engine):
    server = FakeVoiceServer()
    try:
        url = server.url if kind == "tts" else f"{server.url}/v1"
        given = {f"{kind}_engine": engine, f"{kind}_url": url, f"{engine}_api_key": "sesame"}
        (finding,) = doctor.check_servers(chosen(**given))
    finally:
        server.stop()
    assert "answers" in finding.text
    assert kind == "asr" or server.keys == ["Bearer sesame"]


def test_a_cluster_is_asked_by_its_own_address(chosen, serve):
    url = serve("asr", load("asr", "scripted"), key="sesame").url
    (bad,) = doctor.check_servers(chosen(asr_engine="ray"))
    assert (bad.level, "ASR_URL is not set" in bad.text) == ("bad", True)
    (bad,) = doctor.check_servers(chosen(asr_engine="ray", asr_url=url))
    assert (bad.level, "refuses the key" in bad.text) == ("bad", True)
    (fine,) = doctor.check_servers(chosen(asr_engine="ray", asr_url=url, asr_key="sesame"))
    assert (fine.level, "status 200" in fine.text) == ("good", True)
