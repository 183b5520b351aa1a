"""The panels about what callers notice: latencies, turns, load, objectives."""

from __future__ import annotations

from docs.grafana_panels import Panel, per_minute, quantiles, share, stat, states

FIRST_AUDIO = "time_to_first_audio_seconds"
LATE = (
    f'1 - sum(rate(whisperfusion_{FIRST_AUDIO}_bucket{{CELL, le="2.0"}}[1h])) '
    f"/ sum(rate(whisperfusion_{FIRST_AUDIO}_count{{CELL}}[1h]))"
)
LOST = (
    "sum(increase(whisperfusion_failed_turns_total{CELL}[1h])) "
    "/ sum(increase(whisperfusion_user_turns_total{CELL}[1h]))"
)
READY = "sum(min by (instance) (whisperfusion_stage_up{CELL}))"
PART = "Percentiles from the end of speech, over all cells."

NOW = (
    stat(
        "Calls now",
        "none",
        "sum(whisperfusion_active_calls{CELL})",
        "Calls that are connected now.",
        "",
    ),
    stat(
        "Cells that are ready",
        "none",
        READY,
        "Cells of which all four processes are ready.",
        "WhisperFusionNoCellReady",
    ),
    stat(
        "Replies later than 2 s",
        "percentunit",
        LATE,
        "Of the last hour. The objective is 5 % at most.",
        "WhisperFusionRepliesLate",
        (0.05, "orange"),
        (0.3, "red"),
    ),
    stat(
        "Median of an hour",
        "s",
        f"histogram_quantile(0.5, sum by (le) "
        f"(rate(whisperfusion_{FIRST_AUDIO}_bucket{{CELL}}[1h])))",
        "From the end of speech to the first audio. The bound of its alert is 1 s.",
        "WhisperFusionMedianSlow",
        (1, "orange"),
    ),
    stat(
        "Lost turns",
        "percentunit",
        LOST,
        "Of the last hour. The objective is 0.5 % at most.",
        "WhisperFusionTurnsLost",
        (0.005, "orange"),
        (0.03, "red"),
    ),
    stat(
        "Load of the fullest cell",
        "percentunit",
        "max(whisperfusion_load{CELL})",
        "At 100 % the next call is asked to wait.",
        "WhisperFusionLoadHigh",
        (0.9, "orange"),
        (1, "red"),
    ),
)

VOICE_TO_VOICE = (
    Panel(
        "Voice to voice",
        "none",
        (
            (
                "sum by (le) "
                f"(increase(whisperfusion_{FIRST_AUDIO}_bucket{{CELL}}[$__rate_interval]))",
                "{{le}}",
            ),
        ),
        "Replies by the time from the end of speech to their first audio.",
        "WhisperFusionRepliesLate",
        "heatmap",
        12,
        9,
    ),
    Panel(
        "Voice to voice by cell",
        "s",
        quantiles(FIRST_AUDIO, "instance"),
        "50th and 95th percentile. The objective is 2 s for the 95th.",
        "WhisperFusionRepliesLate",
        width=12,
        height=9,
        limits=((2, "red"),),
    ),
)

PARTS = (
    Panel(
        "Final transcript",
        "s",
        quantiles("transcription_delay_seconds"),
        f"{PART} Late: the recognizer.",
        "WhisperFusionRepliesLate",
        width=6,
    ),
    Panel(
        "End of turn decided",
        "s",
        quantiles("end_of_turn_delay_seconds"),
        f"{PART} Late, and the transcript is not: turn detection waits for more words.",
        "WhisperFusionRepliesLate",
        width=6,
    ),
    Panel(
        "First token",
        "s",
        quantiles("time_to_first_token_seconds"),
        f"{PART} Before the decision where generation was preemptive. Late: the language model.",
        "WhisperFusionRepliesLate",
        width=6,
    ),
    Panel(
        "First audio",
        "s",
        quantiles(FIRST_AUDIO),
        f"{PART} Late, and the first token is not: the voice.",
        "WhisperFusionRepliesLate",
        width=6,
    ),
)

TURNS = (
    Panel(
        "Turns per minute",
        "none",
        ((per_minute("user_turns_total", "instance"), "{{instance}}"),),
        "User turns that ended with a transcript.",
        width=6,
    ),
    Panel(
        "Failed turns per minute",
        "none",
        ((per_minute("failed_turns_total", "instance, stage", "STAGE"), "{{stage}} {{instance}}"),),
        "By the stage that failed them.",
        "WhisperFusionTurnsLost",
        width=6,
    ),
    Panel(
        "Overlaps per turn",
        "percentunit",
        (
            (share("interruptions_total", "user_turns_total"), "interruptions"),
            (share("false_interruptions_total", "user_turns_total"), "false, resumed"),
            (share("premature_turn_ends_total", "user_turns_total"), "turns cut off"),
        ),
        "Interruptions of a reply; pauses of it for other sounds; turns that the user continued "
        "after their end was decided.",
        width=6,
    ),
    Panel(
        "Preemptive generation",
        "percentunit",
        (
            (
                share("preemptive_generations_used_total", "preemptive_generations_total"),
                "became the reply",
            ),
            (share("llm_chunks_wasted_total", "llm_chunks_total"), "text wasted"),
            (
                share("tts_audio_wasted_seconds_total", "tts_audio_seconds_total"),
                "speech wasted",
            ),
        ),
        "Replies that were begun before the end of the turn was decided, and the share of text and "
        "speech that was made for nothing.",
        width=6,
    ),
)

LOAD = (
    Panel(
        "Load",
        "percentunit",
        (("whisperfusion_load{CELL}", "{{instance}}"),),
        "At 100 % the next call is asked to wait.",
        "WhisperFusionLoadHigh",
        limits=((0.9, "red"),),
    ),
    Panel(
        "Calls",
        "none",
        (("whisperfusion_active_calls{CELL}", "{{instance}}"),),
        "Calls that are connected.",
    ),
    Panel(
        "New calls per minute",
        "none",
        (
            (per_minute("calls_total", "instance"), "admitted {{instance}}"),
            (per_minute("calls_refused_total", "instance"), "refused {{instance}}"),
        ),
        "Calls that were admitted, and clients that were asked to wait.",
        "WhisperFusionCallsRefused",
    ),
    Panel(
        "Degradation level",
        "none",
        (("whisperfusion_degradation_level{CELL}", "{{instance}}"),),
        "1 = fewer interim transcripts, 2 = smaller recognizer, 3 = shorter replies.",
        "WhisperFusionDegraded",
    ),
    Panel(
        "Wait of the next call",
        "s",
        (("whisperfusion_admission_wait_seconds{CELL}", "{{instance}}"),),
        "For how long the next call would be asked to wait; 0 = it is admitted.",
        "WhisperFusionCallsRefused",
    ),
    states(
        "Draining",
        "short",
        {"{{instance}}": "whisperfusion_draining{CELL}"},
        "Red: the cell ends with the calls that it has.",
        "WhisperFusionDrainingLong",
    ),
)

WINDOWS = ("5m", "1h", "6h", "3d")
OBJECTIVES = tuple(
    Panel(
        title,
        "none",
        tuple(
            (f'job:whisperfusion_{record}{window}{{job="whisperfusion"}} / {budget}', window)
            for window in WINDOWS
        ),
        "1 = the budget is spent in exactly 30 days. Recorded by deploy/prometheus/alerts.yaml.",
        alert,
        limits=((1, "orange"), (6, "red")),
    )
    for title, record, budget, alert in (
        ("Burn rate: late replies", "slow_turns:ratio_rate", 0.05, "WhisperFusionRepliesLate"),
        ("Burn rate: lost turns", "lost_turns:ratio_rate", 0.005, "WhisperFusionTurnsLost"),
        ("Burn rate: no cell", "unavailable:ratio_avg", 0.005, "WhisperFusionUnavailable"),
    )
)
