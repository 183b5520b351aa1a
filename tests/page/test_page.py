"""The real page in a real Chromium, against scripted sockets: words, sound, hands and trouble."""

from __future__ import annotations

import struct

import pytest
from chromium import ELSEWHERE, answering, bubble, opened, sounds, state, talking, type_line
from fake_sockets import READY, serving
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")


# --- words -------------------------------------------------------------------------------------


async def test_the_stages_are_shown(page):
    for name, label in (("asr", "Hears (ASR)"), ("llm", "Thinks (LLM)"), ("tts", "Speaks (TTS)")):
        item = page.locator(f'[data-stage="{name}"]')
        await expect(item).to_have_attribute("data-stage-state", "ready")
        await expect(item).to_contain_text(label)
        await expect(item).to_contain_text("scripted")
    assert await page.title() == "WhisperFusion"


async def test_the_microphone_arrives_as_16_khz_frames(page, server):
    call = await talking(page, server)
    assert (
        call.handshake["events"] is True
        and call.handshake["audio_format"] == "int16"
        and call.handshake["history"] == []
    )
    assert len(call.uid) == 32
    await server.until(lambda: len(call.audio) >= 40)
    assert {len(frame) for frame in call.audio} == {1600}
    samples = struct.unpack(f"<{800 * 40}h", b"".join(call.audio[:40]))
    assert max(map(abs, samples)) > 1000  # Chromium's microphone beeps once a second
    await page.click("#talk")
    await state(page, "idle")
    assert await page.locator("#talk-label").text_content() == "Start talking"


async def test_captions_form_and_become_a_line(page, server):
    call = await talking(page, server)
    user, answer = bubble(page, "user"), bubble(page, "assistant")
    await call.event("speech_started", at=0.4)
    await state(page, "hearing")
    await call.event("caption", text="what is", final=False, start=0.4, end=0.9)
    await expect(user.locator(".text")).to_have_text("what is")
    await expect(user).to_have_attribute("data-state", "partial")
    await call.event("caption", text="what is the time", stable=7, final=False, start=0.4, end=1.4)
    await expect(user.locator(".stable")).to_have_text(["what", "is"])
    await call.event("speech_stopped", at=1.5)
    await call.event("caption", text="What is the time?", final=True, start=0.4, end=1.5)
    await call.event("turn", turn=1, text="What is the time?")
    await expect(user).to_have_attribute("data-state", "final")
    await expect(user.locator(".text")).to_have_text("What is the time?")
    await state(page, "thinking")
    await call.event("reply", turn=1, index=0, text="It is late.", last=False)
    await expect(answer.locator(".text")).to_have_text("It is late.")
    await call.event("reply", turn=1, index=1, text="Go to bed.", last=True)
    await expect(answer.locator(".text")).to_have_text("It is late. Go to bed.")
    await expect(page.locator("#announce")).to_have_text("Answer: It is late. Go to bed.")
    assert await user.count() == 1 and await answer.count() == 1


async def test_a_cough_leaves_no_line(page, server):
    call = await talking(page, server)
    await call.event("caption", text="uh", final=False, start=0, end=1)
    await expect(bubble(page, "user")).to_have_count(1)
    await call.event("caption", text="", final=True, start=0, end=1)
    await expect(bubble(page, "user")).to_have_count(0)


async def test_the_latency_of_a_turn_is_shown(page, server):
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Hello")
    await call.event("reply", turn=1, index=0, text="Hi.", last=True)
    await call.event("latency", turn=1, words=210, first_token=380, first_sound=615, reused=True)
    line = bubble(page, "assistant").locator(".latency")
    for name, ms, shown in (
        ("words", "210", "0.21 s"),
        ("first_token", "380", "0.38 s"),
        ("first_sound", "615", "0.61 s"),
    ):
        step = line.locator(f".step.{name}")
        await expect(step).to_have_attribute("data-ms", ms)
        assert shown[:3] in await step.text_content()
    await expect(line.locator(".reused")).to_be_visible()


async def test_words_that_were_not_heard_are_struck_and_forgotten(page, server):
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Tell me a story")
    await call.event("reply", turn=1, index=0, text="Once upon a time there was a king.", last=True)
    await call.event("interrupted", turn=1, heard="Once upon a time")
    await expect(bubble(page, "assistant").locator("s")).to_have_text("there was a king.")
    await call.die()
    again = await server.call(1)
    assert again.handshake["history"] == [
        {"role": "user", "text": "Tell me a story"},
        {"role": "assistant", "text": "Once upon a time"},
    ]


async def test_notices_and_errors_are_told(page, server):
    call = await talking(page, server)
    await call.event("notice", text="The LLM server is away: using the embedded model instead")
    await call.event("error", code="tts_failed", message="The voice failed; say it again", turn=1)
    await expect(bubble(page, "note").nth(0)).to_contain_text("embedded model")
    await expect(bubble(page, "note").nth(1)).to_have_attribute("data-state", "error")
    await call.event("stage", name="tts", state="down", engine="hibari", model="m")
    await expect(page.locator('[data-stage="tts"] .state')).to_have_text("down")


# --- sound --------------------------------------------------------------------------------------


async def test_a_reply_is_played_and_its_position_reported(page, server):
    call = await talking(page, server)
    await answering(page, call, 1, 1.0)
    await call.order("end", turn=1)
    await state(page, "listening")
    await server.until(lambda: call.told("heard") and call.told("heard")[-1]["seconds"] > 0.9)
    heard = [(report["turn"], report["seconds"]) for report in call.told("heard")]
    assert heard == sorted(heard) and abs(heard[-1][1] - 1.0) < 0.01 and len(heard) >= 4


async def test_words_settle_as_they_are_spoken(page, server):
    call = await talking(page, server)
    answer = bubble(page, "assistant")
    await call.event(
        "reply",
        turn=1,
        index=0,
        text="One two three four five six seven eight nine ten eleven twelve.",
        last=True,
    )
    await expect(answer.locator(".word")).to_have_count(12)
    await expect(answer.locator(".word.stable")).to_have_count(0)
    await answering(page, call, 1, 1.5)
    await expect(answer.locator(".word.stable").first).to_have_text("One")
    await expect(answer.locator(".word:not(.stable)").last).to_have_text("twelve.")
    await call.order("end", turn=1)
    await state(page, "listening")
    await expect(answer.locator(".word")).to_have_count(0)  # all of it was heard: plain text
    await expect(answer.locator(".text")).to_have_text(
        "One two three four five six seven eight nine ten eleven twelve."
    )


async def test_hold_silences_resume_goes_on_clear_ends(page, server):
    call = await talking(page, server)
    await answering(page, call, 1, 30.0)
    await call.order("hold")
    await sounds(page, "=== 0")
    await state(page, "speaking")  # not over: it only holds its breath
    await call.order("resume")
    await sounds(page, "> 0.1")
    await call.order("clear", turn=1)
    await sounds(page, "=== 0")
    await state(page, "listening")
    final = call.told("heard")[-1]
    assert final["turn"] == 1 and 0 < final["seconds"] < 29
    await answering(page, call, 2, 0.5, hertz=1000)


async def test_the_server_says_whether_speech_silences_the_answer(page, server):
    call = await talking(page, server)
    await answering(page, call, 1, 30.0)
    # in a call with echo the answer goes on while a user is audible
    await call.event("speech_started", at=3.0)
    await sounds(page, "> 0.1")
    await call.event("speech_started", at=5.0)
    await call.order("hold")
    await sounds(page, "=== 0")
    await call.event("caption", text="mm-hmm", final=False, start=5, end=5.4)
    await expect(bubble(page, "user")).to_have_count(1)
    await call.order("resume")
    await sounds(page, "> 0.1")
    await expect(bubble(page, "user")).to_have_count(0)


async def test_sound_can_be_turned_off(page, server):
    call = await talking(page, server)
    await answering(page, call, 1, 30.0)
    await page.click("#sound")
    await sounds(page, "< 0.001")
    await expect(page.locator("#sound")).to_have_attribute("aria-pressed", "false")
    await page.click("#sound")
    await sounds(page, "> 0.1")


# --- hands --------------------------------------------------------------------------------------


async def test_a_typed_line_needs_no_microphone(browser, server, address):
    denied = (
        'navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", '
        '"NotAllowedError"); };'
    )
    async with opened(browser, address, [denied]) as page:
        await page.click("#talk")
        await expect(page.locator("#notice")).to_contain_text("microphone is blocked")
        await state(page, "idle")
        await type_line(page, "  How are you? ")
        call = await server.call()
        await server.until(lambda: call.told("say"))
        assert call.told("say") == [{"type": "say", "text": "How are you?"}]
        await expect(bubble(page, "user")).to_have_attribute("data-state", "pending")
        await call.event("turn", turn=1, text="How are you?")
        await call.event("reply", turn=1, index=0, text="Very well.", last=True)
        await expect(bubble(page, "user")).to_have_attribute("data-state", "final")
        await answering(page, call, 1, 0.3)
        assert await bubble(page, "user").count() == 1 and call.audio == []


async def test_everything_works_by_keyboard(page, server):
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(8):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.id"))
    assert reached == [
        "inside-toggle",
        "settings-open",
        "scroller",
        "hold-to-talk",
        "talk",
        "sound",
        "line",
        "send",
    ]
    await page.focus("#talk")
    await page.keyboard.press("Enter")
    await state(page, "listening")
    call = await server.call()
    await answering(page, call, 1, 30.0)
    await page.keyboard.press("Escape")
    await sounds(page, "=== 0")
    await server.until(lambda: call.told("interrupt"))
    await page.keyboard.press("Space")
    await state(page, "idle")


async def test_hold_to_talk_sends_only_while_space_is_down(page, server):
    await page.check("#hold-to-talk")
    await page.focus("#scroller")
    await page.keyboard.down("Space")
    await state(page, "listening")
    call = await server.call()
    assert call.handshake["turn_detection"] == "manual"
    await server.until(lambda: len(call.audio) >= 4)
    await page.keyboard.up("Space")
    await server.until(lambda: call.told("commit"))
    await state(page, "ready")
    count = len(call.audio)
    await type_line(page, "marker")  # comes after everything that was still on its way
    await server.until(lambda: call.told("say"))
    assert len(call.audio) == count
    await page.uncheck("#hold-to-talk")
    await server.until(lambda: call.told("update"))
    assert call.told("update")[-1]["turn_detection"] == "auto"


async def test_narrow_screens_scroll_only_down_and_everything_can_be_touched(
    browser, server, address
):
    async with opened(
        browser, address, viewport={"width": 320, "height": 640}, has_touch=True, is_mobile=True
    ) as page:
        call = await talking(page, server)
        await call.event(
            "turn", turn=1, text="A" * 200 + " is a long word, https://example.org/" + "x" * 100
        )
        await call.event("reply", turn=1, index=0, text="Indeed. " * 60, last=True)
        await call.event(
            "latency", turn=1, words=210, first_token=380, first_sound=615, reused=True
        )
        await answering(page, call, 1, 30.0)
        await expect(page.locator("#quiet")).to_be_visible()
        for width in (320, 360, 768):
            await page.set_viewport_size({"width": width, "height": 640})
            assert await page.evaluate("document.documentElement.scrollWidth") == width
            assert await page.evaluate("document.documentElement.scrollHeight <= innerHeight")
            for control in await page.locator("button:visible, label.switch:visible, #line").all():
                box = await control.bounding_box()
                assert (
                    box["width"] >= 44
                    and box["height"] >= 44
                    and box["x"] >= 0
                    and box["x"] + box["width"] <= width
                ), width


# --- trouble ------------------------------------------------------------------------------------


async def test_a_lost_connection_is_made_again_with_the_conversation(page, server):
    call = await talking(page, server)
    await call.event("turn", turn=1, text="Hello")
    await call.event("reply", turn=1, index=0, text="Hi there.", last=True)
    await answering(page, call, 1, 30.0)
    await server.stop()
    await state(page, "reconnecting")
    await sounds(page, "=== 0")
    await expect(page.locator("#notice")).to_contain_text("connection was lost")
    await type_line(page, "Are you there?")
    await server.start()
    again = await server.call(len(server.calls))
    assert again.uid != call.uid and [line["text"] for line in again.handshake["history"]] == [
        "Hello",
        "Hi there.",
    ]
    await server.until(lambda: again.told("say") and again.audio)
    await expect(page.locator("#notice")).to_be_empty()
    await again.event("turn", turn=1, text="Are you there?")
    await again.event("reply", turn=1, index=0, text="Here I am.", last=True)
    await expect(bubble(page, "assistant").locator(".text")).to_have_text(
        ["Hi there.", "Here I am."]
    )


@pytest.mark.parametrize(
    ("greeting", "told"),
    [
        ({"status": "WAIT", "message": 2.4}, "about 3 min"),
        ({"status": "ERROR", "message": "handshake: no such language"}, "no such language"),
        ({"message": "DISCONNECT"}, "time limit"),
    ],
)
async def test_a_refusal_is_told_and_not_repeated(page, server, greeting, told):
    server.greeting = greeting
    await page.click("#talk")
    await expect(page.locator("#notice")).to_contain_text(told)
    await state(page, "idle")
    assert len({call.uid for call in server.calls}) == 1


async def test_without_https_the_page_explains_and_still_answers_in_writing(
    browser, server, address
):
    async with opened(browser, address.replace("127.0.0.1", ELSEWHERE)) as page:
        await page.click("#talk")
        await expect(page.locator("#notice")).to_contain_text("https")
        await type_line(page, "Hello")
        call = await server.call()
        await server.until(lambda: call.told("say"))
        await call.event("turn", turn=1, text="Hello")
        await call.event("reply", turn=1, index=0, text="Hi.", last=True)
        await expect(bubble(page, "assistant")).to_have_count(1)
        await state(page, "ready")


async def test_the_secret_is_asked_for_and_sent(browser, server):
    async with serving(server.settings(shared_secret="sesame"), dict(READY)) as address:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(address)
        for attempt in ("wrong", "“sesame”", "sesame"):
            await page.fill("#secret-value", attempt)
            await page.press("#secret-value", "Enter")
            if attempt != "sesame":
                await expect(page.locator("#secret-wrong")).not_to_be_empty()
                await expect(page.locator("#secret-value")).to_be_visible()
        await page.wait_for_selector("body[data-loaded]")
        await type_line(page, "Hello")
        call = await server.call()
        assert "token=sesame" in call.tts.request.path and "token=sesame" in call.asr.request.path
        await page.goto(f"{address}/?token=sesame")
        await page.wait_for_selector("body[data-loaded]")
        assert "sesame" not in page.url
        await context.close()
