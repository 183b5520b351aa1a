"""Text of users and replies. Pure: no clock, no I/O.

`thoughts` and `stage_directions` filter a streamed reply, `markup` removes what only a screen can
show, and `normalization` writes numbers, dates, units and addresses as words for the voice.
`end_of_turn`, `backchannel`, `echo` and `dictation` classify the user's words.
"""
