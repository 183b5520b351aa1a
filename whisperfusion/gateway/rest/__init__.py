"""OpenAI's REST audio interface: recordings to text, text to sound, voices and models, under a
prefix that may be chosen.

Every route is a translation onto the two sockets (`Upstream`); what the bodies look like stands in
`wire/openai_rest.py`.
"""
