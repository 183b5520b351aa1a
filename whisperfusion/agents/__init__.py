"""Named agents: instructions, greeting, voice and more of a call, from the files in AGENTS_DIR."""

from whisperfusion.agents.agent import Agent
from whisperfusion.agents.folder import Agents, UnknownAgent, check_folder

__all__ = ["Agent", "Agents", "UnknownAgent", "check_folder"]
