"""Small word lists behind the rules of segmentation, end of turn, dictation and backchannels.

All lower case; English where nothing else is stated.
"""

from __future__ import annotations

import re


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- where a reply may be cut -------------------------------------------------------------------

# A full stop after these never ends a sentence.
ABBREVIATIONS = _set("""
    mr. mrs. ms. mx. dr. prof. rev. hon. st. mt. ft. jr. sr. gen. col. lt. sgt. capt. gov. sen. rep.
    pres. vs. e.g. i.e. cf. ca. al. approx. dept. univ. inc. ltd. co. corp. bros. ave. blvd. rd.
    tel. ext. assn. jan. feb. aug. sept. oct. nov. hr. hrn. fr. bzw. z.b. d.h. nr. mme. mlle. sra.
    srta. ph.d. u.s. u.k.
    evtl. ggf. inkl. zzgl. vgl. hr. mio. mrd. std. sog. bspw. mind. okt. dez. jän.
    dra. ud. uds. vd. av. avda. gral. lic. ing. aprox. abr. dic. profa. exmo. env. chap. tél. janv.
    févr. juil. déc. sig. sigg. dott. avv. ott. giu. lug. ee. डॉ. प्रो. पृ. क्र. नं. रु. सं. ई.पू.
""")
# only when a number follows
BEFORE_NUMBERS = _set(
    "no. nos. vol. fig. eq. p. pp. ch. sec. art. op. dec. mar. apr. pág. págs. núm. kap. abb. nrn. "
    "ziff. pag. pagg. rs."
)
# German words before an ordinal, which is written with a full stop: "am 3. Oktober"
BEFORE_ORDINALS = _set("""
    am im zum zur beim vom dem den des der die das ein eine einen einem einer eines mein meine
    meinen meinem sein seine seinen seinem ihr ihre ihren ihrem unser unsere unseren jeder jede
    jedes jeden dieser diese dieses diesen diesem ab seit bis und oder montag, dienstag,
    mittwoch, donnerstag, freitag, samstag, sonntag,
""")
# a year may follow
MONTHS = _set(
    "january february march april may june july august september october november december"
)
CONJUNCTIONS = _set(
    "and but or because while although though if unless until when whereas which who where so"
)
# a clause follows
CLAUSE_STARTS = _set("but because while although though unless until when whereas which who where")
# no break inside "Romeo and Juliet", "Bank for International Settlements"
LINKS = _set("and or for with on over about under")
PHRASE_STARTS = _set(
    "in at from by between during through into after before without including such"
)
FINITE = _set("is are was were can could will would should may might must has have had does did")
DEGREES = _set("a an both very too so quite rather more most less")
# Words that lean on what follows them: no breath after these.
LEANING = _set("""
    the a an my your his her our their its this that these those some any no every each both many
    few all i you he she it we they there who which what where when how why and or but because if
    than as so too very more most less such not of to in on at for with from by about into over
    under up out off down between during without within through is are was were am be been being do
    does did have has had will would can could should may might must look looks looking depend
    depends based think talk wait waiting ask deal deals known responsible used good bad similar
    different according due prior close next able ready way want wants need needs going try trying
    like likes so said says think know interested
""")
# With a comma or dash after them, these may open a reply alone.
OPENERS = frozenset(
    tuple(line.split())
    for line in """
    yes|no|sure|certainly|absolutely|definitely|of course|well|okay|ok|alright|all right|great
    hello|hi|hey|hi there|hello there|thanks|thank you|sorry|im sorry|i am sorry|yeah|yep|nope
    oh|ah|right|exactly|good question|great question|sure thing|no problem|its okay
    actually|honestly|indeed|unfortunately|great idea|nice|interesting|im afraid
""".replace("\n", "|").split("|")
    if line.strip()
)

# --- what a listener says without wanting the turn -----------------------------------------------

# One word, or two or three in a row; hyphens are dropped and letters undoubled before comparing.
# By language: English, German, Dutch, French, Spanish, Italian, Portuguese, Polish, Russian,
# Japanese, Chinese, Korean. A word of one that asks or stops in another is in none of them.
BACKCHANNELS = _set("""
    m mm hm hmm mhm mmhmm uh uhhuh um ah aha oh ha huh yeah yep yup yes right ok okay sure cool nice
    great wow true exactly really good alright indeed fine interesting absolutely totally definitely
    perfect lovely awesome wonderful amazing haha hehe
    thanks hi please
    danke ja jaja genau klar stimmt achso ach gut schön verstehe tja naja jo
    juist precies inderdaad mooi
    merci oui ouais exactement voilà daccord entendu bien super
    gracias si sí claro vale bueno ajá ya exacto entiendo perfecto
    grazie sì certo già esatto capisco ecco bene
    obrigado obrigada sim certo entendi pois exatamente tá
    tak jasne dobrze rozumiem aha
    спасибо да ага угу понятно ясно хорошо точно конечно
    ありがとう はい うん ええ そう そうですね そうなんですか なるほど へえ
    谢谢 嗯 嗯嗯 好 好的 对 对对 对对对 是 是的 明白 哦
    감사합니다 네 예 응 그래 그렇구나 그렇죠 맞아 맞아요
""") | {
    "alles klar",
    "ach so",
    "je vois",
    "bien sûr",
    "de acuerdo",
    "muy bien",
    "va bene",
    "ho capito",
    "tá bom",
    "ik snap het",
    "very good",
    "very nice",
    "sounds good",
    "that makes sense",
    "oh my god",
    "hi there",
    "bye bye",
    "i see",
    "oh i see",
    "go on",
    "got it",
    "of course",
    "all right",
    "thank you",
    "makes sense",
    "i understand",
}
# never mere echo
COMMANDS = _set(
    "stop wait no hold pause quiet enough hey hello sorry excuse cancel shush silence but what"
)
# those that are about the reply, and never the rest of what was said before it
STOPS = _set("stop quiet enough cancel shush silence")

# --- ends that ask for more ----------------------------------------------------------------------

FILLERS = _set("um umm uh uhh uhm er erm ehm")
OPEN_WORDS = _set(
    "the an and but or because if although unless than my your our their its whose every"
)
PREPOSITIONS = _set("of to in on at for with from by about into onto between during without as")
AUXILIARIES = _set("""
    is are was were am be do does did have has had will would can could should shall must might
    isn't aren't wasn't weren't don't doesn't didn't haven't hasn't hadn't won't wouldn't can't
    couldn't shouldn't
""")
# with a subject after them, they want a verb
ASKING = _set("do does did can could would will should")
CONTRACTIONS = _set("""
    i'm you're we're they're it's that's what's where's who's how's when's there's here's he's she's
    let's i'll you'll we'll they'll he'll she'll it'll i'd you'd we'd they'd he'd she'd i've you've
    we've they've
""")
SUBJECTS = _set("i you he she it we they me him her us them")
DETERMINERS = SUBJECTS | _set("the a an my your his our their this that these those")
WH_WORDS = _set("what who whom whose which where when why how")
PARTICLE_VERBS = SUBJECTS | _set(
    "turn switch come go log sign carry hold hang move keep plug going coming lights light"
)

# --- dictation (patterns meet lower-case words joined by single spaces) --------------------------

DIGITS = _set("zero oh o one two three four five six seven eight nine double triple")
DICTATION_SIGNS = _set("dot dash hyphen slash underscore double triple hashtag")
NATO = _set("""
    alpha alfa bravo charlie delta echo foxtrot golf hotel india juliet juliett kilo lima mike
    november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu
""")
# Symbols after these go on until they are long enough, even a single one.
DICTATION_CUE = re.compile(r"""(?x)
    \b(?: (?:my|her|his|our|their|the|its) \s (?:\w+\s){0,3}
          (?:number|code|pin|zip|postcode|id|address|plate|password|extension|name) \s is
        | (?:number|code|pin|zip|id|plate|password) (?:'s | \s is | \s it's)
        | it's \s (?:number|code) | (?:spelled|spelt|spell \s it | spells)
        | area \s code | street \s number
        | (?:reach|call) \s (?:me|him|her|us|them) (?:\s back)? \s (?:at|on) | dial )\b
""")
DICTATION_OPEN = re.compile(r"""(?x)
    (?<!the\s)(?<!your\s)(?<!an\s)(?<!a\s)
    \b(?: (?:area|zip|country|postal) \s code | street \s number) $
    | \b\w \s as \s in \s \w+$ | ^(?!how) .* \b(?:spelled|spelt)$
""")
EMAIL_BEGUN = re.compile(
    r"\be ?mail (?:(?:address )?(?:is|it's)|(?:me|us|him|her) at) (?:\S+ ){0,7}\S+$"
)
EMAIL_ENDED = re.compile(r"[\w-]\.[a-z]+$|\bdot [a-z]{2,}$")
STREET_BEGUN = re.compile(
    r"\b(?:address is|live at|lives at|located at|deliver (?:it|this) to) \d+\w? \w+$"
)
DATE_OR_TIME = re.compile(r"""(?x)
    \b(?:january|february|march|april|may|june|july|august|september|october|november|december)
    (?:\s\d+(?:st|nd|rd|th)?){1,2}$
    | \b(?:at|for|by|until|till|to|from|it's) \s (?:1?\d \s [0-5]\d | (?:\w+) \s oh \s \w+)$
""")
STREETS = _set(
    "street road avenue lane drive court square place boulevard way st rd ave blvd ln dr close "
    "hill park terrace"
)
# digits; a telephone number has ten
NUMBER_LENGTHS = {"zip": 5, "postcode": 5, "pin": 4, "card": 16}

# --- finished questions --------------------------------------------------------------------------

LEAD_INS = (
    _set(
        "so and but well okay ok hey hi hello oh um uh yeah yes no please now then sorry thanks "
        "alexa computer actually"
    )
    | FILLERS
)
ARTICLES = _set("the a an every another any some no")
POSSESSIVES = _set("my your his her our their its")
ASKED_SUBJECTS = _set(
    "i you he she it we they there the a an my your his her our their this that these those"
)
# after an auxiliary they make a statement: "has never been surpassed"
NO_SUBJECTS = _set("never been not always just to no yes")
# may ask in the middle of a sentence; "who" and "which" refer to the word before
ADVERBIAL_WH = _set("what how why where when")
WHAT_VERBS = _set("happened happens makes made causes caused comes goes means")
# With these at their end, questions go on: "is the population", "can you tell", "is it very".
RELATIONAL = _set("""
    capital meaning difference population distance number kind sort type way reason purpose length
    depth size cost price history recipe definition currency president name cause result role rest
    part point thing
""")
TRANSITIVE = _set("""
    tell give show want like need get make find say think take use put explain know bring send help
    let mean recommend suggest describe see hear try keep buy call set turn play
""")
TELLING = _set("tell give show explain say let help")
MODIFIERS = _set("""
    best worst most least very really too quite pretty more less other same next last first second
    third new good great big small long old high different possible real natural artificial average
    main own only just also not always never ever still
""")
# but not after "the"
PREDICATES = _set(
    "new good more same second first last next great small big long old different possible real "
    "high"
)
OBJECTS = _set("it that this the a an some me him her us them not")
TAG = re.compile(
    r", ?(?:(?:is|are|was|were|do|does|did|can|could|would|will|have|has)(?:n't)? "
    r"(?:i|you|he|she|it|we|they|there)|right)\W*$"
)
NOUNS_IN_EST = _set(
    "forest interest request guest harvest conquest contest protest chest west east test"
)

# --- requests ------------------------------------------------------------------------------------

REQUESTS = _set("""
    add answer ask book bring buy call cancel change check choose close compare continue convert
    correct count create decrease define describe dim drop explain find finish follow forget get
    give go help increase lower make mute open order pause pick play please put raise read recommend
    remind remove repeat reset resume say search send set show shuffle skip snooze spell start stop
    suggest summarize switch take talk tell translate try turn unlock lock use wake write
""")

# --- answers to a question of the assistant (words without "'", joined by single spaces) ---------

_DID = "do|does|did|am|is|are|was|were|can|could|will|would|have|has|should"
_DID_NOT = (
    "dont|doesnt|didnt|isnt|arent|wasnt|werent|cant|couldnt|wont|wouldnt|havent|hasnt|do not|am not"
)
_WHOM = "i|we|it|they|he|she|that|you|there"

_YES = """
    yes|yeah|yep|yup|sure|sure thing|okay|ok|alright|all right|right|correct|exactly|absolutely
    definitely|certainly|of course|please|please do|do it|do that|go ahead|go on|go for it|thanks
    thank you|lets do it|thats right|thats correct|sounds good|that works|why not|fine|perfect|great
    good|id love to|(?:i|we) (?:think|guess|hope|suppose) so
""".strip().replace("\n    ", "|")
_NO = """
    no|nope|nah|not really|not yet|not now|not today|not at all|never|no way|no thanks|no thank you
    thanks|thank you|thats all|thats it|im good|im fine|nothing|nothing else|i dont think so
    i dont know|dont know|i dont care|it doesnt matter|not sure|im not sure|no idea|i have no idea
""".strip().replace("\n    ", "|")
# up to three in a row; "I do" and "I'm not" alone may be begun
YES_ANSWER = re.compile(rf"(?:{_YES})(?: (?:{_YES}|(?:{_WHOM}) (?:{_DID}))){{0,2}}")
# complete after every question
NO_ANSWER = re.compile(rf"(?:{_NO})(?: (?:{_NO}|(?:{_WHOM}) (?:{_DID_NOT})|im not|its not)){{0,2}}")
# "yes" to a question with one of these is only its beginning: "Is there anything else?"
ANYTHING = _set("anything any anyone anybody else something someone question questions")
# so it is to these: "Could you spell that?"
ASKS_TO_BE_TOLD = re.compile(
    r"\byou (?:please )?(?:tell|say|spell|repeat|describe|explain|clarify|specify|provide|share)\b"
)
ASKS_INDIRECTLY = re.compile(
    r"\b(?:(?:tell|give|show) me|(?:may|can|could) i (?:have|get|ask)) (.+)"
)
AMOUNTS = _set("many much old long far often big tall high deep fast heavy")
# what is asked for in words that are dictated
DICTATED = _set("""
    number code zip pin postcode postal address email mail password id account card phone telephone
    extension plate license serial birth birthday birthdate date spell spelled last full surname
""")
# what is asked for in more than a few words
OPEN_MATTERS = _set("""
    question questions problem problems issue issues concern matter opinion story reason idea plan
    plans thoughts view experience advice mind
""")
# the last word of what names nothing yet: "maybe", "San"
ANSWER_BEGINNINGS = _set("""
    maybe perhaps probably possibly like around approximately almost nearly between mister mr mrs ms
    doctor dr saint san los las el new north south let see hi hello hey um uh well yes no every some
    several first also think want guess say each next last new
""")
CHOSEN = _set("both neither either any former latter")
# "yes" after these is the beginning of something: German, Dutch, French, Spanish, Italian,
# Portuguese, Polish, Russian
WH_WORDS_ELSEWHERE = _set("""
    was wer wen wem wo wohin woher wann wie warum wieso weshalb welche welcher welches
    wat wie waar wanneer hoe waarom welk
    que quoi qui où quand comment pourquoi quel quelle quels quelles combien
    qué quién quiénes dónde cuándo cómo cuál cuáles cuánto cuántos cuántas adónde
    che chi cosa dove quando come perché quale quali quanto quanti
    quem onde qual quais quantos quantas
    co kto gdzie kiedy jak dlaczego jaki jaka jakie ile który która
    что кто где куда когда как почему какой какая какие сколько
""")
NO_ELSEWHERE = _set("""
    nein nee doch bitte gerne nicht jetzt danke ja
    nee graag liever niet bedankt
    non pas merci volontiers
    no gracias ahora
    no grazie volentieri
    não obrigado obrigada
    nie dziękuję proszę
    нет спасибо
""")
