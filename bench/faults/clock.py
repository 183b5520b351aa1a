"""The time of day of a server, which can jump: what a client of NTP does, or an operator.

A shared object that is loaded before the C library adds an offset to `CLOCK_REALTIME`, read from a
file in memory, so that it changes for all processes at once. Monotonic clocks are left alone, as a
jump leaves them. (libfaketime 0.9.10 makes `time.sleep` of Python 3.11 fail; a time namespace of
Linux shifts the monotonic clocks alone, once.) A pause of the machine is another fault, `Paused`.
"""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>
static volatile int64_t *offset;
__attribute__((constructor)) static void start(void) {
  const char *path = getenv("CLOCK_OFFSET_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *found = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (found != MAP_FAILED) offset = found;
}
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int result = real(id, t);
  if (!result && offset && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
    t->tv_sec += *offset;
  return result;
}
time_t time(time_t *out) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  if (out) *out = t.tv_sec;
  return t.tv_sec;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  t->tv_sec = now.tv_sec;
  t->tv_usec = now.tv_nsec / 1000;
  return 0;
}
"""


class ShiftedClock:
    """`environment` is for the processes whose time `shift` changes."""

    def __init__(self, folder: Path) -> None:
        """Needs a C compiler (`possible`). Raises subprocess.CalledProcessError."""
        folder.mkdir(parents=True, exist_ok=True)
        library, source, offset = (folder / name for name in ("clock.so", "clock.c", "offset"))
        source.write_text(SOURCE)
        command = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
        offset.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET_FILE": str(offset)}
        with offset.open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)

    @staticmethod
    def possible() -> bool:
        return shutil.which("cc") is not None

    def shift(self, seconds: float) -> None:
        self._offset[:8] = struct.pack("<q", int(seconds))
