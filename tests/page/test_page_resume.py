"""A connection that dies takes nothing with it: what was being said is said again, what was
asked is answered.
"""

from __future__ import annotations

import pytest
from chromium import answering, bubble, opened, state, talking, type_line
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

FRAME_S = 0.05


async def heard(call, server, frames: int) -> None:
    await server.until(lambda: len(call.audio) >= frames)


async def test_what_was_being_said_is_said_again(page, server):
    call = await talking(page, server)
    await heard(call, server, 60)
    await call.event("speech_started", at=2.6)
    await call.event("caption", text="tell me about", final=False, start=2.6, end=3.0)
    await expect(bubble(page, "user")).to_have_count(1)
    await heard(call, server, 80)
    await call.die()
    again = await server.call(1)
    await heard(again, server, len(call.audio))
    before = b"".join(call.audio)
    first = b"".join(again.audio[:20])
    at = before.find(first)
    # from before the speech on: nothing of it is missing
    assert at >= 0 and at % 2 == 0 and at / 32_000 <= 2.6
    assert before[at:] == b"".join(again.audio)[: len(before) - at]


async def test_after_a_turn_only_what_followed_is_said_again(page, server):
    call = await talking(page, server)
    await heard(call, server, 40)
    await call.event("speech_started", at=0.2)
    await call.event("turn", turn=1, text="Hello")
    await call.event("reply", turn=1, index=0, text="Hi.", last=True)
    await expect(bubble(page, "assistant")).to_have_count(1)
    count = len(call.audio)
    await call.die()
    again = await server.call(1)
    await heard(again, server, 20)
    assert b"".join(call.audio[:count]).find(b"".join(again.audio[:8])) == -1
    assert not again.told("respond")  # it had its answer


async def test_what_was_said_into_a_dead_line_arrives(browser, address, server):
    """Also the end of a turn by hand."""
    async with opened(browser, address) as page:
        await page.check("#hold-to-talk")
        await page.focus("#scroller")
        await page.keyboard.down("Space")
        call = await server.call()
        await heard(call, server, 10)
        await server.stop()
        await state(page, "reconnecting")
        await page.evaluate("until(() => whisperfusion.call.early.length > 20)")
        await page.keyboard.up("Space")
        await page.evaluate(
            "until(() => whisperfusion.call.early.some((one) => typeof one === 'string'))"
        )
        await server.start()
        again = await server.call(len(server.calls))
        await server.until(lambda: again.told("commit"))
        assert len(again.audio) > 20 and again.handshake["turn_detection"] == "manual"


async def test_a_question_whose_answer_was_lost_is_answered(page, server):
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Tell me a story")
    await call.event("reply", turn=1, index=0, text="Once upon a time", last=False)
    await expect(bubble(page, "assistant")).to_have_count(1)
    await call.die()
    again = await server.call(1)
    await server.until(lambda: again.told("respond"))
    assert again.handshake["history"] == [{"role": "user", "text": "Tell me a story"}]
    await state(page, "thinking")
    await again.event("answering", turn=1, id="")
    await again.event("reply", turn=1, index=0, text="There was a king.", last=True)
    await expect(bubble(page, "assistant").locator(".text")).to_have_text(["There was a king."])


async def test_the_next_line_goes_on_with_the_session(page, server):
    """With the history for a server that does not know it any more."""
    server.ready_fields["session"] = "a-session"
    call = await talking(page, server)
    assert "session" not in call.handshake
    await call.event("turn", turn=1, text="Hello")
    await call.event("reply", turn=1, index=0, text="Hi.", last=True)
    await expect(bubble(page, "assistant")).to_have_count(1)
    await call.die()
    again = await server.call(1)
    assert again.handshake["session"] == "a-session"
    assert [line["text"] for line in again.handshake["history"]] == ["Hello", "Hi."]


async def test_an_answer_that_the_server_takes_up_is_not_asked_for(page, server):
    server.ready_fields |= {"session": "a-session"}
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Tell me a story")
    await expect(bubble(page, "user")).to_have_count(1)
    server.ready_fields |= {"resumed": True, "messages": 1, "pending": True}
    await call.die()
    again = await server.call(1)
    await state(page, "thinking")
    await again.event("reply", turn=1, index=0, text="Sorry, I was interrupted.", last=True)
    await again.event("reply", turn=2, index=0, text="Once upon a time.", last=True)
    await expect(bubble(page, "assistant")).to_have_count(2)
    await type_line(page, "Go on")
    await server.until(lambda: again.told("say"))
    assert not again.told("respond")


async def test_a_line_typed_while_nothing_works_is_sent_once(page, server):
    call = await talking(page, server)
    await server.stop()
    await state(page, "reconnecting")
    await type_line(page, "Are you there?")
    await server.start()
    again = await server.call(len(server.calls))
    await server.until(lambda: again.told("say"))
    await again.event("turn", turn=1, text="Are you there?")
    await answering(page, again, 1, 0.2)
    assert len(again.told("say")) == 1 and not again.told("respond") and not call.told("say")


async def test_a_machine_that_slept_makes_its_connection_anew(browser, address, server):
    clock = "{ const now = Date.now; window.slept = 0; Date.now = () => now() + window.slept; }"
    async with opened(browser, address, [clock]) as page:
        call = await talking(page, server)
        await call.event("turn", turn=1, text="Hello")
        await call.event("reply", turn=1, index=0, text="Hi.", last=True)
        await expect(bubble(page, "assistant")).to_have_count(1)
        await page.evaluate("window.slept = 3600_000")
        again = await server.call(1)
        assert [line["text"] for line in again.handshake["history"]] == ["Hello", "Hi."]
        await heard(again, server, 4)
        await state(page, "listening")


async def test_a_long_silence_of_the_network_takes_nothing_and_is_no_reason_to_give_up_again(
    page, server
):
    """12 s of speech go out at once on the new line, more than what a stalled network is told
    by.
    """
    call = await talking(page, server)
    await heard(call, server, 60)
    await call.event("speech_started", at=2.6)
    await server.stop()
    await state(page, "reconnecting")
    await page.evaluate("""
        const { call } = whisperfusion;  // as if so much had been said meanwhile
        for (let i = 0; i < 240; i += 1) call.sendAudio(new Int16Array(800).fill(i).buffer);
        call.send({ type: "commit" });
    """)
    await server.start()
    again = await server.call(len(server.calls))
    await server.until(lambda: again.told("commit"))
    await heard(again, server, 280)
    values = [
        int.from_bytes(frame[:2], "little", signed=True)
        for frame in again.audio
        if frame == frame[:2] * 800
    ]
    assert [value for value in values if value][:239] == list(range(1, 240)) and len(
        server.calls
    ) == 2
    await state(page, "listening")


async def test_hanging_up_keeps_what_was_heard_of_an_answer(page, server):
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Count")
    await call.event(
        "reply",
        turn=1,
        index=0,
        text="One two three four five six seven eight nine ten eleven twelve.",
        last=False,
    )
    await answering(page, call, 1, 30.0)
    await expect(bubble(page, "assistant").locator(".word.stable").nth(1)).to_be_visible()
    await page.click("#talk")
    await expect(bubble(page, "assistant").locator("s")).to_contain_text("twelve.")
    await page.click("#talk")
    again = await server.call(1)
    assert (
        again.handshake["history"][1]["text"].startswith("One")
        and "twelve" not in again.handshake["history"][1]["text"]
    )


async def test_two_clicks_open_one_microphone(browser, address, server):
    slow = """
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        window.streams = [];
        navigator.mediaDevices.getUserMedia = async (wanted) => {
          await new Promise((resolve) => (window.allow = resolve));
          streams.push(await ask(wanted));
          return streams.at(-1);
        };
    """
    async with opened(browser, address, [slow]) as page:
        for _ in range(3):  # start, stop, start while the browser asks
            await page.click("#talk")
        await page.evaluate("until(() => window.allow).then(() => allow())")
        call = await server.call()
        await heard(call, server, 20)
        assert await page.evaluate("streams.length") == 1 and len(server.calls) == 1
        await page.click("#talk")
        assert await page.evaluate(
            "streams[0].getTracks().every(({ readyState }) => readyState === 'ended')"
        )


# --- devices ------------------------------------------------------------------------------------

DEVICES = """
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    window.asked = [];
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      window.asked.push(wanted.audio.deviceId?.exact ?? "");
      if (window.gone) throw new DOMException("no", wanted.audio.deviceId ? "OverconstrainedError" : window.gone);
      if (window.unplugged && wanted.audio.deviceId) throw new DOMException("no", "OverconstrainedError");
      return ask(wanted);
    };
"""


async def test_a_microphone_is_chosen_and_another_takes_its_place_when_it_goes(
    browser, address, server
):
    async with opened(browser, address, [DEVICES]) as page:
        await talking(page, server)
        await page.click("#settings-open")
        chosen = page.locator('#settings [name="input"]')
        await expect(chosen.locator("option")).not_to_have_count(1)
        name = await chosen.locator("option").last.get_attribute("value")
        await chosen.select_option(name)
        await page.keyboard.press("Escape")
        await page.evaluate("until(() => asked.length === 2)")
        assert await page.evaluate("asked") == ["", name]
        await page.evaluate("until(() => whisperfusion.microphone)")
        pulled = "whisperfusion.microphone.stream.getAudioTracks()[0].onended()"
        await page.evaluate(f"window.unplugged = true; {pulled}")
        await expect(page.locator("#notice")).to_contain_text("Another one is used")
        await page.evaluate("until(() => asked.length === 4 && whisperfusion.microphone)")
        assert await page.evaluate("asked.slice(2)") == [name, ""]
        await state(page, "listening")
        # and put back
        await page.evaluate(
            "window.unplugged = false; navigator.mediaDevices.dispatchEvent(new "
            "Event('devicechange'))"
        )
        await page.evaluate("until(() => asked.length === 5 && whisperfusion.microphone)")
        assert await page.evaluate("whisperfusion.microphone.device") == name
        await page.evaluate(f"window.gone = 'NotFoundError'; {pulled}")
        await expect(page.locator("#notice")).to_contain_text("disconnected")
        await state(page, "idle")


REFUSALS = {
    "NotAllowedError": "blocked",
    "NotFoundError": "No microphone",
    "NotReadableError": "Another program",
    "AbortError": "cannot be used",
}


async def test_a_refused_microphone_is_explained(browser, address):
    async with opened(browser, address, [DEVICES]) as page:
        for error, told in REFUSALS.items():
            await page.evaluate(f"window.gone = '{error}'")
            await page.click("#talk")
            await expect(page.locator("#notice")).to_contain_text(told)
            await state(page, "idle")
