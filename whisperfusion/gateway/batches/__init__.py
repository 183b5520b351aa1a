"""Files and batches in OpenAI's form: many requests in one upload, worked off when callers leave
the server time.

    routes, file_routes ──► store (files, batches and their results on disk)
                                ▲
         runner ────────────────┘   which request is next (`rotation`), and when
            └──► requests           one line of the input to its answer, through the same
                                    functions as /v1/audio/…

`state`, `lines`, `sources` and `rotation` are pure: no clock, no input or output. A batch's results
are two files that only grow, one line for each request; they are the record of what was done. So
whatever ends the process, the next one reads them and goes on with the lines that are missing.
"""
