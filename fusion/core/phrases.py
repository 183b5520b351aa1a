"""Small word lists behind the rules of `text`. All lower case; English unless said otherwise."""

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
NATURAL_BREAKS = _set("in on at for with from by about between during through into over under after before without")

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
