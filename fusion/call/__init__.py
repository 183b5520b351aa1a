"""One caller on 6006: what is heard (`ear`), what is decided and sent (`caller`), in which dialect (`views`)."""
