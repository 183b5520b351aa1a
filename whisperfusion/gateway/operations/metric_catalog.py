"""Every metric that /metrics describes: its name, type and help, and the name that it had before.

Names follow Prometheus: a unit at the end, `_total` for counters. Those of before version 0.2 are
served beside the new ones for one release, with a HELP that says so. Prefix: `whisperfusion_`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "whisperfusion_"


@dataclass(frozen=True)
class Description:
    """`was`: the deprecated name, "" = there is none."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    was: str = ""


CATALOG = {
    # what became of turns and replies, counted by the process `asr`
    "user_turns_total": Description(
        "counter", "User turns that ended with a transcript", "turns_total"
    ),
    "preemptive_generations_total": Description(
        "counter", "Replies generated before the end of the turn was decided", "guesses_total"
    ),
    "preemptive_generations_used_total": Description(
        "counter", "Preemptive generations that became the reply", "guesses_used_total"
    ),
    "preemptive_generations_wasted_total": Description(
        "counter", "Preemptive generations that were discarded", "guesses_wasted_total"
    ),
    "interruptions_total": Description(
        "counter", "Replies that the user interrupted by speaking over them (barge-in)"
    ),
    "false_interruptions_total": Description(
        "counter", "Replies that were paused for overlapping sound and resumed"
    ),
    "premature_turn_ends_total": Description(
        "counter", "Turns that the user continued after their end was decided", "merged_turns_total"
    ),
    "failed_turns_total": Description(
        "counter", "Turns that failed, by the stage that failed them", "errors_total"
    ),
    "unexpected_events_total": Description(
        "counter", "Events that a call ignored because they do not belong in its state"
    ),
    "calls_total": Description("counter", "Calls that were admitted"),
    "calls_refused_total": Description(
        "counter", "Calls that were not admitted, and whose client was asked to wait"
    ),
    "session_store_up": Description(
        "gauge", "1 = sessions can be written to STORE_URL, 0 = they cannot; calls go on"
    ),
    "load": Description(
        "gauge", "How full the server is: 0 = idle, 1 = the next call would be asked to wait"
    ),
    "draining": Description(
        "gauge", "1 = the server ends with the calls that it has, and admits none"
    ),
    "admission_wait_seconds": Description(
        "gauge", "For how long the next call would be asked to wait; 0 = it is admitted"
    ),
    "active_calls": Description("gauge", "Calls that are connected now", "callers"),
    "degradation_level": Description(
        "gauge",
        "Load shedding: 0 = none, 1 = fewer interim transcripts, 2 = smaller recognizer, "
        "3 = shorter replies",
        "load_level",
    ),
    # latencies of a turn, all from the end of the user's speech
    "transcription_delay_seconds": Description(
        "histogram", "From the end of speech to its final transcript", "words_seconds"
    ),
    "end_of_turn_delay_seconds": Description(
        "histogram",
        "From the end of speech to the decision that the turn is over",
        "decided_seconds",
    ),
    "time_to_first_token_seconds": Description(
        "histogram", "From the end of speech to the first token of the reply", "first_token_seconds"
    ),
    "time_to_first_audio_seconds": Description(
        "histogram", "From the end of speech to the first audio of the reply", "first_sound_seconds"
    ),
    # what the engines did
    "interim_transcripts_total": Description(
        "counter", "Transcripts made while the user was speaking", "partial_decodes_total"
    ),
    "final_transcripts_total": Description(
        "counter", "Transcripts made for the end of a turn", "final_decodes_total"
    ),
    "asr_link_answers_total": Description(
        "counter", "Final transcripts and pieces of recordings of each link of ASR_CHAIN"
    ),
    "asr_link_failures_total": Description(
        "counter", "Times that a link of ASR_CHAIN failed, and the next one was asked"
    ),
    "asr_link_open": Description(
        "gauge", "1 = the link failed and is left alone for a while, 0 = it is asked"
    ),
    "tts_link_answers_total": Description(
        "counter", "Sentences, texts and fillers of each link of TTS_CHAIN"
    ),
    "tts_link_failures_total": Description(
        "counter", "Times that a link of TTS_CHAIN failed, and the next one spoke"
    ),
    "tts_link_open": Description(
        "gauge", "1 = the voice failed and is left alone for a while, 0 = it is asked"
    ),
    "llm_chunks_total": Description(
        "counter", "Chunks of text that the language model streamed", "llm_pieces_total"
    ),
    "llm_chunks_wasted_total": Description(
        "counter", "Chunks that belonged to a stale reply", "llm_pieces_wasted_total"
    ),
    # with the label `server`
    "mcp_server_up": Description("gauge", "1 = the MCP server can be reached now, 0 = it cannot"),
    "mcp_server_tools": Description("gauge", "Tools of the MCP server that may be used"),
    # with the label `tool`
    "tool_calls_total": Description("counter", "Uses of each of the server's own tools"),
    "tool_failures_total": Description("counter", "Uses of each tool that gave no result"),
    "tool_seconds_total": Description("counter", "Time that the uses of each tool took, together"),
    "llm_link_answers_total": Description(
        "counter", "Answers of each link of a chain of language models"
    ),
    "llm_link_failures_total": Description(
        "counter", "Times that a link of a chain of language models was skipped, and why"
    ),
    "llm_link_open": Description(
        "gauge", "1 = the link failed and is left alone for a while, 0 = it is asked"
    ),
    "answer_cache_hits_total": Description(
        "counter", "Questions answered from ANSWER_CACHE, without the language model"
    ),
    "answer_cache_misses_total": Description(
        "counter", "Questions that ANSWER_CACHE could have answered, and did not have"
    ),
    "audio_cache_hits_total": Description(
        "counter", "Sentences whose audio came from ANSWER_CACHE, without the voice"
    ),
    "audio_cache_misses_total": Description(
        "counter", "Sentences that ANSWER_CACHE did not have as audio"
    ),
    "tts_audio_seconds_total": Description("counter", "Seconds of speech synthesized"),
    "tts_audio_wasted_seconds_total": Description(
        "counter", "Seconds of synthesized speech that were discarded"
    ),
    "tts_underruns_total": Description(
        "counter", "Gaps in a reply because its next sentence was not ready", "tts_gaps_total"
    ),
    "tts_underrun_seconds_total": Description(
        "counter", "Seconds of these gaps", "tts_gap_seconds_total"
    ),
    "tts_fallback_jobs_total": Description(
        "counter", "Sentences, texts and fillers that the embedded voice spoke for the chosen one"
    ),
    "queue_jobs": Description("gauge", "Jobs that wait for the engine", "queue_waiting"),
    "queue_oldest_job_seconds": Description(
        "gauge", "How long the oldest waiting job has waited", "queue_oldest_seconds"
    ),
    # batches, counted by the gateway
    "active_batches": Description("gauge", "Batches that have not ended"),
    "batch_requests_total": Description("counter", "Requests of batches that have a result"),
    "batch_requests_failed_total": Description(
        "counter", "Requests of batches whose result is an error"
    ),
    "batch_files_bytes": Description("gauge", "Size of all files that are kept for batches"),
    "disk_free_bytes": Description("gauge", "Free space where sessions and batches are kept"),
    # of each process
    "event_loop_stalls_total": Description(
        "counter",
        "Iterations that blocked the event loop for more than 0.25 s",
        "loop_stalls_total",
    ),
    "event_loop_lag_seconds": Description(
        "gauge",
        "Longest time in the last 15 s for which an iteration blocked the event loop",
        "loop_lag_seconds",
    ),
    "process_resident_memory_bytes": Description(
        "gauge", "Resident memory of the process, where Linux reports it", "memory_bytes"
    ),
    "process_cpu_seconds_total": Description(
        "counter", "Processor time of the process, of all its threads"
    ),
    "process_open_fds": Description(
        "gauge", "Open file descriptors of the process, where Linux reports them"
    ),
    "process_max_fds": Description("gauge", "Most file descriptors that the process may open"),
    "process_threads": Description("gauge", "Threads of the process, where Linux reports them"),
    "process_uptime_seconds": Description(
        "gauge", "Seconds since the process started", "uptime_seconds"
    ),
    "spans_sent_total": Description(
        "counter", "Spans that the collector took, or that were written to TRACE_DIR"
    ),
    "spans_dropped_total": Description(
        "counter", "Spans that were lost, because the collector or the disk did not take them"
    ),
}
