"""The child process that decodes uploads; its one argument is a descriptor.

`pool` starts it and talks to it over one Unix socket. It receives lines of JSON: a job, with the
file's descriptor beside it, or a cancellation. It sends frames: a kind, a length and the payload.
The first frame of a job is an empty PIECE, by which the gateway knows that the child has taken it;
then comes PCM, or the reason why the file is refused; the last one is END. A second thread reads
the socket, so that the child exits at once when the gateway is gone, even while FFmpeg is busy.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import socket
import struct
import sys
import threading
from contextlib import suppress
from typing import Any

PIECE, REFUSED, END = b"P", b"R", b"E"  # s16 mono; text: why the file is refused; nothing
HEAD = struct.Struct("<cI")
MEMORY_BYTES = 1 << 30  # of address space; PyAV uses 120 MB of it
JOB_CPU_S = 600  # twelve hours of MP3 take a fifth of it
LONGEST_LINE = 4096


class Jobs:
    """The jobs that the gateway sends, read in a thread of its own."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._waiting: queue.SimpleQueue[tuple[dict[str, Any], int]] = queue.SimpleQueue()
        self.cancelled = -1  # number of the job
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> tuple[dict[str, Any], int]:
        """A job and the descriptor of its file."""
        return self._waiting.get()

    def _read(self) -> None:
        held, files = b"", []
        while True:
            try:
                data, came, _, _ = socket.recv_fds(self._channel, LONGEST_LINE, 4)
            except OSError:  # it died before it had read all frames
                data = b""
            if not data:
                os._exit(0)  # the gateway is gone
            held += data
            files += came
            *lines, held = held.split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "cancel" in message:
                    self.cancelled = message["cancel"]
                else:
                    self._waiting.put((message, files.pop(0)))


def limit() -> None:
    """Limits for hostile files: address space, core dumps and descriptors. `limit_cpu` limits
    processor time per job.
    """
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        hard = resource.getrlimit(kind)[1]
        with suppress(ValueError, OSError):  # macOS has no limit of address space
            resource.setrlimit(
                kind, (most, most) if hard == resource.RLIM_INFINITY else (min(most, hard),) * 2
            )


def limit_cpu() -> None:
    """For the job that starts: the kernel ends the process at the limit."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + JOB_CPU_S
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(
        resource.RLIMIT_CPU, (until if hard == resource.RLIM_INFINITY else min(until, hard), hard)
    )


def work(channel: socket.socket, jobs: Jobs) -> None:
    from whisperfusion.gateway.decoding.decode import Undecodable, pieces

    while True:
        job, file = jobs.next()
        limit_cpu()
        channel.sendall(HEAD.pack(PIECE, 0))
        with open(file, "rb") as opened:
            try:
                rate, offset_s, length_s = job["span"]
                for piece in pieces(opened, rate, offset_s, length_s, job["language"]):
                    if jobs.cancelled == job["number"]:
                        break
                    channel.sendall(HEAD.pack(PIECE, len(piece)) + piece)
            except Undecodable as problem:
                text = str(problem).encode()
                channel.sendall(HEAD.pack(REFUSED, len(text)) + text)
        channel.sendall(HEAD.pack(END, 0))


if __name__ == "__main__":
    limit()
    ours = socket.socket(fileno=int(sys.argv[1]))
    try:
        work(ours, Jobs(ours))
    except (BrokenPipeError, ConnectionError):  # the gateway is gone
        os._exit(0)
