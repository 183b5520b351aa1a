"""Is the user asking for something to be done in the world: a lamp, a message, an order?

An assistant without tools can only talk about it. Small models say that they have done it ("The
lamp is turned on"), whatever their instructions say; a word beside the request is what they follow
(generation/instructions.py). So this finds plain requests for what only a device or a service can
do. What a voice can do by talking (tell, explain, translate, play a game of words, draft a text) is
none of them.
"""

from __future__ import annotations

import re

_THING = (
    r"(?:lamps?|lights?|heating|heater|heat|thermostat|temperature|air conditioning|fan|oven|stove"
    r"|kettle|coffee(?: machine| maker)?|tv|television|telly|radio|stereo|speakers?|music|volume"
    r"|sound|alarm|clock|screen|computer|laptop|phone|printer|wi-?fi|vacuum(?: cleaner)?|robot"
    r"|washing machine|washer|dryer|dishwasher|microwave|shower|sprinklers?|doors?|windows?|blinds?"
    r"|curtains?|shutters?|garage(?: door)?|gate|car|camera|app|browser|timer|reminder|power)"
)
_A = r"(?:the|my|a|an|all|all the|our|that|this|some)"
_PLACE = r"(?: \w+){0,2}"
_DEEDS = (
    rf"(?:turn|switch|put) (?:on|off|up|down) (?:{_A} )?(?:\w+ ){{0,2}}{_THING}",
    rf"(?:turn|switch|put) (?:{_A} )?(?:\w+ ){{0,2}}{_THING}{_PLACE}(?: in the \w+)? "
    r"(?:on|off|up|down)",
    rf"(?:set|start|stop|run|dim|raise|lower|open|close|shut|lock|unlock|mute|unmute|pause|restart"
    rf"|reboot|cancel|charge) {_A} (?:\w+ ){{0,2}}{_THING}",
    r"(?:set|change|make) (?:the|my) (?:temperature|volume|brightness)",
    r"set (?:an|the|my) (?:alarm|timer|reminder)|set a (?:timer|reminder)",
    r"(?:play|put on|skip|pause) (?:some|the|a|my|this|that|another)? ?(?:\w+ ){0,2}"
    r"(?:music|songs?|radio|podcast|album|playlist|movie|film|video|jazz|track)",
    r"(?:send|forward) (?:a|an|the|my|this|him|her|them|\w+ an?) ?(?:\w+ ){0,2}"
    r"(?:message|e-?mail|text|letter|photo|picture|file|invitation|money)",
    r"(?:text|e-?mail|message) (?:my|the|him|her|them|mom|dad|\w+ that|\w+ to)\b",
    r"(?:write|compose) (?:an e-?mail|a (?:text )?message) to",
    r"(?:call|phone|ring|dial) (?:my|the|him|her|them|mom|mum|dad|a (?:taxi|cab|doctor|plumber)"
    r"|an ambulance|nine one one|911|112)\b",
    r"(?:order|buy|purchase|book|reserve|rent) (?:me |us )?(?:a|an|the|some|two|three|another|my"
    r"|our|tickets|groceries)\b",
    r"(?:make|cancel|move|change) (?:an|a|my|the|our) "
    r"(?:appointment|reservation|booking|order|meeting|phone call)",
    r"(?:schedule|arrange) (?:a|an|the|my|our)\b",
    r"wake (?:me|us) up|remind (?:me|us)\b",
    r"(?:add|put) .{1,60}? (?:to|on|in|into) (?:my|the|our) "
    r"(?:\w+ )?(?:list|cart|basket|calendar|diary|agenda)",
    r"(?:transfer|pay|wire|withdraw|deposit) (?:\w+ ){0,3}"
    r"(?:dollars?|euros?|pounds?|bucks|money|bill|rent|invoice)",
    r"(?:search|browse|look) (?:on |in |through )?(?:the )?(?:web|internet|online)"
    r"|google (?:for )?\w+",
    r"(?:take|snap) (?:a|another) (?:photo|picture|screenshot|selfie)",
    r"(?:print|download|upload|install|delete|save) (?:the|my|a|this|that|it)\b",
)
_POLITE = (
    r"(?:(?:please|hey|okay|ok|so|and|then|now|just|well|oh|yes|also|alright|right)[, ]+)*"
    r"(?:(?:can|could|would|will) you (?:please )?|(?:i(?:'d| would) like|i want|i need) you to "
    r"|please |go ahead and |you can )?(?:please )?(?:just )?"
)
_ASKED = re.compile(rf"(?:^|[.!?,;] *|\band |\bthen )(?:{_POLITE})(?:{'|'.join(_DEEDS)})", re.I)
LONGEST = 300  # characters at the end of what the user says that are looked at


def asks_for_deed(text: str) -> bool:
    return _ASKED.search(text[-LONGEST:].replace("’", "'").strip()) is not None
