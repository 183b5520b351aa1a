"""Small word lists behind the rules of `text` and `witness`. All lower case; English unless said otherwise."""

from __future__ import annotations


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- where a reply may be cut -----------------------------------------------------------------------------

# A full stop after these never ends a sentence.
ABBREVIATIONS = _set("""
    mr. mrs. ms. mx. dr. prof. rev. hon. st. mt. ft. jr. sr. gen. col. lt. sgt. capt. gov. sen. rep. pres.
    vs. e.g. i.e. cf. ca. al. approx. dept. univ. inc. ltd. co. corp. bros. ave. blvd. rd. tel. ext. assn.
    jan. feb. aug. sept. oct. nov. hr. hrn. fr. bzw. z.b. d.h. nr. mme. mlle. sra. srta. ph.d. u.s. u.k.
""")
BEFORE_NUMBERS = _set("no. nos. vol. fig. eq. p. pp. ch. sec. art. op. dec. mar. apr.")  # only when a number follows
CONJUNCTIONS = _set("and but or because while although though if unless until when whereas which who where so")
CLAUSE_STARTS = _set("but because while although though unless until when whereas which who where")  # a clause follows
LINKS = _set("and or for with on over about under")  # no break inside "Romeo and Juliet", "Bank for International Settlements"
PHRASE_STARTS = _set("in at from by between during through into after before without including such")
FINITE = _set("is are was were can could will would should may might must has have had does did")
DEGREES = _set("a an both very too so quite rather more most less")
# Words that lean on what follows them: no breath after these.
LEANING = _set("""
    the a an my your his her our their its this that these those some any no every each both many few all
    i you he she it we they there who which what where when how why and or but because if than as so too very more most less such not
    of to in on at for with from by about into over under up out off down between during without within through
    is are was were am be been being do does did have has had will would can could should may might must
    look looks looking depend depends based think talk wait waiting ask deal deals known responsible used good bad similar different
    according due prior close next able ready way want wants need needs going try trying like likes so said says think know interested
""")
# With a comma or dash after them, these may open a reply alone.
OPENERS = frozenset(tuple(line.split()) for line in """
    yes|no|sure|certainly|absolutely|definitely|of course|well|okay|ok|alright|all right|great|hello|hi|hey|hi there|hello there|thanks
    thank you|sorry|im sorry|i am sorry|yeah|yep|nope|oh|ah|right|exactly|good question|great question|sure thing|no problem|its okay
    actually|honestly|indeed|unfortunately|great idea|nice|interesting|im afraid
""".replace("\n", "|").split("|") if line.strip())

# --- what a listener says without wanting the turn ----------------------------------------------------------

# One word, or two or three in a row; hyphens are dropped and letters undoubled before comparing. The last line is not English.
BACKCHANNELS = _set("""
    m mm hm hmm mhm mmhmm uh uhhuh um ah aha oh ha huh yeah yep yup yes right ok okay sure cool nice great wow true exactly
    really good alright indeed fine interesting absolutely totally definitely
    ja genau oui ouais si claro vale bueno sim はい うん ええ 嗯 好 对 是
""") | {"i see", "oh i see", "go on", "got it", "of course", "all right", "thank you", "makes sense", "i understand"}
COMMANDS = _set("stop wait no hold pause quiet enough hey hello sorry excuse cancel shush silence but what")  # never mere echo

# --- ends that ask for more ---------------------------------------------------------------------------------

FILLERS = _set("um umm uh uhh uhm er erm ehm")
OPEN_WORDS = _set("the an and but or because if although unless than my your our their its whose every")
PREPOSITIONS = _set("of to in on at for with from by about into onto between during without as")
AUXILIARIES = _set("""
    is are was were am be do does did have has had will would can could should shall must might
    isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't wouldn't can't couldn't shouldn't
""")
ASKING = _set("do does did can could would will should")  # with a subject after them, they want a verb
CONTRACTIONS = _set("""
    i'm you're we're they're it's that's what's where's who's how's when's there's here's he's she's let's
    i'll you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd he'd she'd i've you've we've they've
""")
SUBJECTS = _set("i you he she it we they me him her us them")
DETERMINERS = SUBJECTS | _set("the a an my your his our their this that these those")
WH_WORDS = _set("what who whom whose which where when why how")
PARTICLE_VERBS = SUBJECTS | _set("turn switch come go log sign carry hold hang move keep plug going coming lights light")

# --- dictation (patterns meet lower-case words joined by single spaces) ---------------------------------------

DIGITS = _set("zero oh o one two three four five six seven eight nine double triple")
DICTATION_SIGNS = _set("dot dash hyphen slash underscore double triple hashtag")
NATO = _set("""
    alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike november oscar papa quebec romeo sierra
    tango uniform victor whiskey xray yankee zulu
""")
# Symbols after these go on until they are long enough, even a single one.
DICTATION_CUE = r"""(?x)
    \b(?: (?:my|her|his|our|their|the|its) \s (?:\w+\s){0,3} (?:number|code|pin|zip|postcode|id|address|plate|password|extension|name) \s is
        | (?:number|code|pin|zip|id|plate|password) (?:'s | \s is | \s it's)
        | it's \s (?:number|code) | (?:spelled|spelt|spell \s it | spells) | area \s code | street \s number
        | (?:reach|call) \s (?:me|him|her|us|them) (?:\s back)? \s (?:at|on) | dial )\b
"""
DICTATION_OPEN = r"""(?x)
    (?<!the\s)(?<!your\s)(?<!an\s)(?<!a\s) \b(?: (?:area|zip|country|postal) \s code | street \s number) $
    | \b\w \s as \s in \s \w+$ | ^(?!how) .* \b(?:spelled|spelt)$
"""
EMAIL_BEGUN = r"\be ?mail (?:(?:address )?(?:is|it's)|(?:me|us|him|her) at) (?:\S+ ?){1,8}$"
STREET_BEGUN = r"\b(?:address is|live at|lives at|located at|deliver (?:it|this) to) \d+\w? \w+$"
DATE_OR_TIME = r"""(?x)
    \b(?:january|february|march|april|may|june|july|august|september|october|november|december) (?:\s\d+(?:st|nd|rd|th)?){1,2}$
    | \b(?:at|for|by|until|till|to|from|it's) \s (?:1?\d \s [0-5]\d | (?:\w+) \s oh \s \w+)$
"""
STREETS = _set("street road avenue lane drive court square place boulevard way st rd ave blvd ln dr close hill park terrace")
NUMBER_LENGTHS = {"zip": 5, "postcode": 5, "pin": 4, "card": 16}  # digits; a telephone number has ten

# --- finished questions ---------------------------------------------------------------------------------------

LEAD_INS = _set("so and but well okay ok hey hi hello oh um uh yeah yes no please now then sorry thanks alexa computer actually") | FILLERS
ARTICLES = _set("the a an every another any some no")
POSSESSIVES = _set("my your his her our their its")
ASKED_SUBJECTS = _set("i you he she it we they there the a an my your his her our their this that these those")
NO_SUBJECTS = _set("never been not always just to no yes")  # after an auxiliary they make a statement: "has never been surpassed"
ADVERBIAL_WH = _set("what how why where when")  # may ask in the middle of a sentence; "who" and "which" tell about the word before
WHAT_VERBS = _set("happened happens makes made causes caused comes goes means")
# With these at their end, questions go on: "is the population", "can you tell", "is it very".
RELATIONAL = _set("""
    capital meaning difference population distance number kind sort type way reason purpose length depth size cost price history recipe
    definition currency president name cause result role rest part point thing
""")
TRANSITIVE = _set("""
    tell give show want like need get make find say think take use put explain know bring send help let mean recommend suggest
    describe see hear try keep buy call set turn play
""")
TELLING = _set("tell give show explain say let help")
MODIFIERS = _set("""
    best worst most least very really too quite pretty more less other same next last first second third new good great big small long old
    high different possible real natural artificial average main own only just also not always never ever still
""")
PREDICATES = _set("new good more same second first last next great small big long old different possible real high")  # but not after "the"
OBJECTS = _set("it that this the a an some me him her us them not")
TAG = r", ?(?:(?:is|are|was|were|do|does|did|can|could|would|will|have|has)(?:n't)? (?:i|you|he|she|it|we|they|there)|right)\W*$"
NOUNS_IN_EST = _set("forest interest request guest harvest conquest contest protest chest west east test")

# --- requests ---------------------------------------------------------------------------------------------------

REQUESTS = _set("""
    add answer ask book bring buy call cancel change check choose close compare continue convert correct count create decrease define
    describe dim drop explain find finish follow forget get give go help increase lower make mute open order pause pick play please put
    raise read recommend remind remove repeat reset resume say search send set show shuffle skip snooze spell start stop suggest summarize
    switch take talk tell translate try turn unlock lock use wake write
""")
