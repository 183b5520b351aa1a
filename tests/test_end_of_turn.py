"""What the user's words say about the turn, on phrases of the kind that people say to
assistants.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisperfusion.text.backchannel import is_backchannel
from whisperfusion.text.dictation import is_dictation
from whisperfusion.text.echo import LIKELY, is_echo
from whisperfusion.text.end_of_turn import Ending, ending, unfinished

OPEN = """
    What is the | I'd like to book a table for | Can you | I was thinking, uh | My name is | So I went to the | and
    We could go on Friday or | I'm | Because | If | The thing is, it's | Remind me to | Could you please turn off the | How do you
    I want to know whether my | Put it on the list with the | She told me that they're | Well, I | What's the | It depends on
    I think that the | Tell me about | Give me a recipe with | On the other hand, um | Are there any flights from | I need a ticket to
    He said ... | I was going to -- | Is it safe to | Where is my | Let's | i'm looking for a | what's the best way to
    how much is the | i want to fly from boston to | set an alarm for | and then we | i would like to | it's because
    tell him i'll be | the restaurant on the | there's | could you | play the song by | what kind of | i need to know when the
    my brother and | turn off the lights in the
"""
SPELLING = """
    My number is five five five | My phone number is 555 | it's area code | The zip code is 9 4 1 | My e-mail is john dot
    john dot smith at | It's J O H | S-M-I-T | my email address is anna | You can reach me at 0 1 7 0 | My address is 42 Baker
    street number | My address is 221 B | call me back at 555 12 | double five three double | The code is 4 4 | my license plate is B
    Reference number is X Y 7 | alpha bravo | B as in Boy | my name is spelled | it's m a r dash | 4 9 1 7
    the card number is 4111 1111 | My pin is one two | write to info at example dot | five five five one two one two
    john_smith@gmail | underscore | my zip is nine four | Her number's 020 7946 | www dot example dot | my postcode is s w 1
    dial zero zero four nine | I live at 12 Abbey | the confirmation number is Q 7 R | my account number is 88 21 | it's four one five
    my number is zero seven seven double | k a t h | area code four one five | it's 415 555 | the serial number is 7 8 B
    that's r o b e r t | you can email me at bob | b as in bravo | it's anna dot | my social is 0 7 8 | my account number is 4
    the gate code is 7 | tango foxtrot | order number 8 8 1 2 | vin is w b a | p as in peter | my extension is 4
"""
QUESTION = """
    What time is it | How old is the Brooklyn Bridge | What's the weather like | What is natural language processing.
    Should I get a dog or a cat | Who wrote Romeo and Juliet | Where are you from? | Can you help me with my homework
    Is it going to rain tomorrow | How many planets are there | Why is the sky blue. | Do you like music? | What's your name
    How are you doing today? | Could you tell me a joke | When does the next train leave | So what do you think
    Hey, what can I do about a headache | Did you see that | Are you there | Where is the station | What is the capital of France
    How do I cook rice? | Which one do you like | What happened in 1969 | Who is the president of the United States
    It's nice, isn't it? | I'm bored, what should I do | How far away is the moon | Would you like some tea?
    What about tomorrow morning | You're coming too? | My cat doesn't eat anymore. What can I do? | Is coffee bad for you
    Why do cats purr | What does it mean | How long does it take to boil an egg | Who can help me with this
    Have you ever been to Paris | is there a pharmacy near me | what movies are playing tonight | how do you spell necessary
    will it be sunny this weekend | what's fifteen percent of eighty | who's the singer of this song | can you turn the volume down
    how much does it cost to fly to Rome | when is Easter this year | what's on my calendar today | do i need an umbrella
    where can i buy fresh fish | why did you say that | are you kidding me | is that right | how long is the movie | am i late
    what year was he born | has the mail arrived | isn't that a bit expensive | how can i get to the airport | what color is it
    would you mind repeating that | does this bus go downtown | what do i need for a pancake | whose book is this
    how come you never called | could i speak to a manager please | did my package ship yet | should we leave now
    what time do you close
"""
REQUEST = """
    Set a timer for ten minutes | Turn on the lamp. | Tell me a story about a dragon | drop the two when you add the figures
    Play the Beatles | set the volume to 5 | show me the cheapest flights to Denver | book a table for two at eight | remind me at nine
    add milk to my shopping list | play something by Queen | wake me up at six thirty | turn it up a bit | skip this song
    Go forward ten meters. | please stop the music | Okay, read my messages | Give me a recipe for pancakes | Hey computer, open the window
    call 0 1 7 0 5 5 5 1 2 3 4 | Set an alarm for seven | describe the moon in one sentence | stop the timer please | lock the front door
    pick a number between one and ten | Call my sister | translate good morning into French | Take me home now | Find a good restaurant
"""
PLAIN = """
    Two people | This is a test | I have two cats | It costs 20 dollars | in 1969
    Two plus two is four | At seven thirty | I was born on May 5 1990 | The meeting is at 7 30 | I live at 42 Baker Street
    My email is john at gmail dot com | My name is Smith, S M I T H | My zip code is 9 4 1 0 7
    vitamin C | plan B | I'll take number five | The best of times | When I was young we had a dog | What I want is a holiday
    Thank you very much | Good morning! | Stop | Yes, I do | I don't know what that is | Two people?
    What is the best? | What kind of music? | Can you tell? | Is it very? | The lamp? | I know how it works | Which is why I asked
    I would like a pizza please | What is the capital? | How many people? | What does a software? | I can dance
    john.smith@gmail.com | when churchyards yawn | I got an A
    i'd like two coffees | call mom | never mind
    it's about five miles | i'm twenty five years old | what i meant was the other one | i don't know | my room number is fine
    the answer is forty two | do it again | do that please | have a nice day | is good | that's what i thought
    i saw him in 2019 | he is six foot two | i need it for four people | it was on channel four | next one
    the number of people is five | i give it a ten | gate B | it starts at 8 | can do | will do | let me think
    i bought 3 apples and 4 pears | flight 370 was delayed | chapter two | from nine to five
"""


def phrases(table: str) -> list[str]:
    return [phrase.strip() for line in table.strip().splitlines() for phrase in line.split(" | ")]


TABLES = zip(Ending, (OPEN, SPELLING, QUESTION, REQUEST, PLAIN), strict=True)
TABLE = [(phrase, kind) for kind, table in TABLES for phrase in phrases(table)]


def test_the_table_is_as_large_as_promised() -> None:
    assert all(sum(1 for _, other in TABLE if other is kind) >= 25 for kind in Ending)


@pytest.mark.parametrize(("text", "kind"), TABLE)
def test_ending(text: str, kind: Ending) -> None:
    assert ending(text) is kind


def test_nothing_said_tells_nothing() -> None:
    assert ending("") is ending(" . ") is ending("?") is Ending.PLAIN


def test_other_languages_have_only_their_marks() -> None:
    assert ending("Wie spät ist es?", "de") is Ending.QUESTION
    assert ending("今天天气怎么样？", "zh") is Ending.QUESTION
    assert (
        ending("Ich möchte gern …", "de") is Ending.OPEN
        and ending("Und dann -", "de") is Ending.OPEN
    )
    for plain in ("Wie?", "Wie spät ist es", "Meine Nummer ist 0 1 7", "was is the"):
        assert ending(plain, "de") is Ending.PLAIN


def test_half_a_question_is_seldom_a_finished_one() -> None:
    """ "Could I speak" can be one."""
    halves = [whole.split()[: len(whole.split()) // 2] for whole in phrases(QUESTION)]
    assert sum(ending(" ".join(half)) is Ending.QUESTION for half in halves) <= 0.1 * len(halves)


def test_how_often_a_recording_is_mistaken(recordings) -> None:
    """Bounds that the rules keep on real speech: 81 utterances, 1213 beginnings of them."""
    texts = [entry["text"] for entry in recordings.values() if entry["lang"] == "en"]
    begun = [" ".join(text.split()[:end]) for text in texts for end in range(1, len(text.split()))]
    assert sum(ending(text) is Ending.OPEN for text in texts) <= 2 and not any(
        map(is_dictation, texts)
    )
    assert sum(ending(text) is Ending.QUESTION for text in begun) <= 0.01 * len(begun)
    assert sum(ending(text) is Ending.DICTATION for text in begun) <= 0.002 * len(begun)


WORDS = "what is the a 5 five dot at J my number can you who . ? , - area code it's when as in"


@given(st.lists(st.sampled_from(WORDS.split()), max_size=7))
def test_any_words_have_an_ending(texts: list[str]) -> None:
    assert ending(" ".join(texts)) in Ending


@pytest.mark.parametrize(
    "text",
    [
        "mm-hmm",
        "Uh-huh.",
        "Mmmm.",
        "Yeah, right, okay.",
        "yeahhh",
        "I see.",
        "Got it!",
        "うん",
        "そうですね。",
        "Alles klar.",
        "D'accord.",
        "嗯嗯。",
        "Good.",
        "Bye bye.",
        "Yeah, yeah, yeah, yeah.",
    ],
)
def test_backchannels(text: str) -> None:
    assert is_backchannel(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "stop",
        "No.",
        "wait",
        "yeah but",
        "right stop",
        "okay yeah right yes",
        "see",
        "What?",
    ],
)
def test_no_backchannels(text: str) -> None:
    assert not is_backchannel(text)


def test_echo() -> None:
    spoken = (
        "The capital of France is Paris. It has two million people, so please do not stop there."
    )
    for echo in (
        "the capital of France",
        "capitol of france is paris",
        "it had two million",
        "Paris it has",
        "people",
    ):
        assert is_echo(echo, spoken), echo
    for own in (
        "",
        "stop",
        "please stop",
        "what is the capital of Spain",
        "two questions about the people",
        "no wait a second",
    ):
        assert not is_echo(own, spoken), own
    assert not is_echo("the capital", "")


def test_two_words_that_open_our_answer_may_be_ours_though_people_command_with_them() -> None:
    assert is_echo("Hello there.", "Hello there, how can I help?") and is_backchannel(
        "Yeah. I see."
    )
    assert not is_echo("hello", "Hello there, how can I help?") and not is_echo(
        "stop there", "Do not stop there."
    )


def test_the_last_word_of_an_echo_may_be_cut() -> None:
    texts = "The capital of France is Paris."
    assert is_echo("The cap.", texts) and is_echo("capital of fra", texts)
    assert not is_echo("cap", texts) and not is_echo("what cap", texts)


def test_the_first_word_of_an_echo_may_be_cut() -> None:
    assert is_echo("rightly.", "It shines brightly.") and is_echo(
        "ance is Paris", "The capital of France is Paris."
    )
    assert not is_echo("ris", "The capital of France is Paris.")


def test_where_an_echo_begins_letters_are_enough() -> None:
    texts = "The capital of France is Paris."
    for echo in ("But all of France is pay.", "the apple of trance"):
        assert is_echo(echo, texts, LIKELY) and not is_echo(echo, texts), echo
    for own in (
        "what about Spain",
        "no, tell me about dogs",
        "how many people live there",
        "why",
        "wait",
        "stop",
    ):
        assert not is_echo(own, texts, LIKELY), own


@pytest.mark.parametrize(
    "text",
    [
        "What is the",
        "What is the …",
        "How old is",
        "How old is?",
        "Is it safe to.",
        "Um",
        "I was thinking, uh",
        "I went to...",
        "Tell me about",
        "and",
        "My",
        "What's",
        "Where is",
        "My name is",
        "The capital of France is",
        "This is",
        "What is the meaning of",
        "How do I get to",
        "Who are you going to",
        "I would like a",
        "Can you",
        "How do you",
        "Why don't",
        "I like it, and so",
        "What do you want to —",
        "Do you like tea or",
    ],
)
def test_unfinished(text: str) -> None:
    assert unfinished(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "What is it?",
        "Who are you?",
        "I can",
        "Yes, I do.",
        "No, I don't",
        "What do you have?",
        "What does the store have?",
        "Tell me where the station is",
        "I don't know what that is",
        "What are you looking for?",
        "Where are you from?",
        "Who are you talking to?",
        "Turn it on",
        "turn the lights on",
        "Come in",
        "vitamin A",
        "at 10 am",
        "for a while",
        "I think so",
        "You saw it, did you?",
        "What time is it",
        "Stop.",
        "How are you doing today?",
    ],
)
def test_finished(text: str) -> None:
    assert not unfinished(text)


def test_unfinished_knows_only_english_words() -> None:
    assert not unfinished("Mach das Licht an", "de") and unfinished("Mach das Licht an")
    assert unfinished("Ich möchte ...", "de")
