"""One frozen settings object, built once and handed to every process."""

from whisperfusion.errors import SettingsError
from whisperfusion.settings.access import check_access, is_loopback, may_call
from whisperfusion.settings.chosen import Settings
from whisperfusion.settings.sources import add_flags, build, from_command_line, read_env_file
from whisperfusion.settings.values import engine_options, guessed, named_keys

__all__ = [
    "Settings",
    "SettingsError",
    "add_flags",
    "build",
    "check_access",
    "engine_options",
    "from_command_line",
    "guessed",
    "is_loopback",
    "may_call",
    "named_keys",
    "read_env_file",
]
