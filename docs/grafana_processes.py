"""The panels about processes and what stands behind them: chains, tools, batches, stores."""

from __future__ import annotations

from docs.grafana_panels import Panel, per_minute, rate, states

PROCESSES = (
    states(
        "Processes that are ready",
        "bool_yes_no",
        {"{{stage}} {{instance}}": "whisperfusion_stage_up{STAGE}"},
        "Red: it starts or is down.",
        "WhisperFusionStageDown",
    ),
    Panel(
        "Restarts",
        "none",
        (("whisperfusion_stage_restarts{STAGE}", "{{stage}} {{instance}}"),),
        "Since main.py was started.",
        "WhisperFusionStageRestarting",
    ),
    Panel(
        "Oldest job",
        "s",
        (("whisperfusion_queue_oldest_job_seconds{STAGE}", "{{stage}} {{instance}}"),),
        "How long the oldest job has waited for an engine.",
        "WhisperFusionQueueOld",
        limits=((5, "red"),),
    ),
    Panel(
        "Jobs that wait",
        "none",
        (("whisperfusion_queue_jobs{STAGE}", "{{stage}} {{instance}}"),),
        "Jobs that wait for an engine.",
        "WhisperFusionQueueOld",
    ),
    Panel(
        "Event loop lag",
        "s",
        (("whisperfusion_event_loop_lag_seconds{STAGE}", "{{stage}} {{instance}}"),),
        "The longest time of 15 s for which nothing was answered.",
        "WhisperFusionEventLoopBlocked",
        limits=((0.25, "red"),),
    ),
    Panel(
        "Processors",
        "none",
        (
            (
                rate("process_cpu_seconds_total", "instance, stage", "STAGE"),
                "{{stage}} {{instance}}",
            ),
        ),
        "Cores that the process uses, without its child processes.",
    ),
    Panel(
        "Memory",
        "bytes",
        (("whisperfusion_process_resident_memory_bytes{STAGE}", "{{stage}} {{instance}}"),),
        "Resident memory.",
        "WhisperFusionMemoryGrows",
    ),
    Panel(
        "File descriptors",
        "percentunit",
        (
            (
                "whisperfusion_process_open_fds{STAGE} / whisperfusion_process_max_fds{STAGE}",
                "{{stage}} {{instance}}",
            ),
        ),
        "Open ones, of those that the process may open.",
        "WhisperFusionDescriptorsShort",
        limits=((0.8, "red"),),
    ),
    Panel(
        "Threads",
        "none",
        (("whisperfusion_process_threads{STAGE}", "{{stage}} {{instance}}"),),
        "They should fall when calls end.",
    ),
)

BEHIND = (
    states(
        "Links of chains that are left alone",
        "short",
        {
            f"{stage} {{{{link}}}} {{{{instance}}}}": f"whisperfusion_{stage}_link_open{{CELL}}"
            for stage in ("asr", "llm", "tts")
        },
        "Red: the link failed, and the next one answers. Links named ray are the cluster.",
        "WhisperFusionLinkOpen",
    ),
    Panel(
        "Failures of links per minute",
        "none",
        (
            (per_minute("asr_link_failures_total", "link"), "asr {{link}}"),
            (per_minute("llm_link_failures_total", "link, reason"), "llm {{link}} {{reason}}"),
            (per_minute("tts_link_failures_total", "link"), "tts {{link}}"),
        ),
        "Times that a link failed and the next one was asked.",
        "WhisperFusionLinkOpen",
    ),
    Panel(
        "The voice behind the voice",
        "none",
        (
            (per_minute("tts_fallback_jobs_total", "instance"), "instead {{instance}}"),
            (per_minute("tts_underruns_total", "instance"), "gaps {{instance}}"),
        ),
        "Per minute: what another voice spoke for the chosen one, and gaps in replies because a "
        "sentence was not ready.",
        "WhisperFusionFallbackVoice",
    ),
    states(
        "MCP servers, and the store of sessions",
        "bool_yes_no",
        {
            "{{server}} {{instance}}": "whisperfusion_mcp_server_up{CELL}",
            "sessions {{instance}}": "whisperfusion_session_store_up{CELL}",
        },
        "Red: it cannot be reached.",
        "WhisperFusionMcpServerDown",
    ),
    Panel(
        "Tools per minute",
        "none",
        (
            (per_minute("tool_calls_total", "tool"), "{{tool}}"),
            (per_minute("tool_failures_total", "tool"), "{{tool}} without a result"),
        ),
        "Uses of the server's own tools.",
        "WhisperFusionMcpServerDown",
    ),
    Panel(
        "Duration of tools",
        "s",
        (
            (
                f"{rate('tool_seconds_total', 'tool')} / {rate('tool_calls_total', 'tool')}",
                "{{tool}}",
            ),
        ),
        "The mean of each tool.",
    ),
    Panel(
        "Batches",
        "none",
        (
            ("whisperfusion_active_batches{CELL}", "active {{instance}}"),
            (per_minute("batch_requests_total", "instance"), "requests per minute {{instance}}"),
            (per_minute("batch_requests_failed_total", "instance"), "failed {{instance}}"),
        ),
        "Batches yield to callers.",
        "WhisperFusionBatchesStuck",
    ),
    Panel(
        "Disk",
        "bytes",
        (
            ("whisperfusion_disk_free_bytes{CELL}", "free {{instance}}"),
            ("whisperfusion_batch_files_bytes{CELL}", "files of batches {{instance}}"),
        ),
        "Free space where sessions and batches are kept.",
        "WhisperFusionDiskFull",
    ),
    Panel(
        "Spans per minute",
        "none",
        (
            (per_minute("spans_sent_total", "instance"), "sent {{instance}}"),
            (per_minute("spans_dropped_total", "instance"), "dropped {{instance}}"),
        ),
        "Where tracing is on.",
        "WhisperFusionSpansDropped",
    ),
)
