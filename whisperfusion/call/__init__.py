"""One caller on 6006: its audio (`audio_input`), commands carried out (`caller`), its frames
(`dialects`), the connection, load shedding (`degradation`), recordings of calls and whole files.
"""
