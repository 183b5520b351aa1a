// The page's words in each language that it speaks, and how they get into the document.
//
// To add a language: a table here with the same keys (a test compares them) and its own name. In the document data-t names
// the key of an element's text, data-t-label, data-t-title and data-t-placeholder those of its attributes.

const en = {
  "lead": "Say something.",
  "welcome": "Press the button and speak. You can interrupt the answer at any time, or type below.",
  "skip": "Skip to the text line",
  "stages": "Parts of the server", "asr": "Hears", "llm": "Thinks", "tts": "Speaks",
  "ready": "ready", "starting": "starting", "down": "down",
  "conversation": "Conversation", "level": "Microphone level",
  "talk.start": "Start talking", "talk.stop": "Stop talking", "talk.hold": "Hold to talk",
  "hold": "Hold to talk", "sound": "Sound", "sound.title": "Sound of the answers",
  "quiet": "Stop answer", "type": "Type instead of speaking", "type.here": "Or type and press Enter", "send": "Send",
  "state.idle": "Start talking", "state.connecting": "Connecting…", "state.reconnecting": "Connection lost. Trying again…",
  "state.ready": "Ready when you are", "state.listening": "Listening…", "state.hearing": "I hear you", "state.thinking": "Thinking…",
  "state.speaking": "Answering. Speak to interrupt.", "state.interrupted": "Interrupted. Go on, I listen.",
  "held.idle": "Hold to talk", "held.ready": "Hold to talk", "held.listening": "Go on, I listen", "held.speaking": "Answering. Hold to interrupt.",
  "who.user": "You", "who.assistant": "Answer", "who.note": "Notice",
  "unheard": "You interrupted before this was said", "unheard.said": " (interrupted, not said:) ",
  "after": "after you stopped:", "words": "words", "first_token": "first token", "first_sound": "first sound", "reused": "guessed ahead",
  "play.user": "Play what you said", "play.assistant": "Play the answer",
  "secret": "This server asks for a secret", "secret.how": "Whoever runs it can tell you. It is kept until you close this tab.",
  "secret.wrong": "That was not it.", "secret.name": "Secret", "continue": "Continue", "close": "Close",
  "settings": "Settings", "settings.talk": "Conversation", "settings.sound": "Sound", "settings.page": "Page", "reset": "Set all back",
  "language": "You speak", "language.server": "As the server expects", "language.detect": "Any language: find out",
  "voice": "Voice", "voice.server": "The server's choice",
  "personality": "Personality", "personality.server": "As the server has it", "personality.brief": "Brief: one sentence",
  "personality.teacher": "A patient teacher", "personality.story": "A storyteller", "personality.own": "My own words…",
  "instructions": "What the voice shall be like",
  "eagerness": "When you pause", "eagerness.patient": "waits", "eagerness.eager": "answers soon",
  "speed": "Speaking speed", "input": "Microphone", "output": "Loudspeaker", "device.system": "The system's own",
  "denoise": "Suppress noise here, not in the browser", "hushing": "Fall silent as soon as I speak", "cues": "Soft tones for listening and thinking",
  "keep": "Keep the sound of this session, to play it again", "interface": "Language of this page", "theme": "Colours",
  "auto": "As the system has it", "light": "Light", "dark": "Dark",
  "inside": "Look inside", "inside.empty": "Each turn will be drawn here: from the end of your words to the first sound of the answer.",
  "inside.turns": "{turns} turns · first sound after {median} s (median) · {reused} guessed ahead",
  "inside.row": "words after {words} s, turn over after {decided} s, first token after {first_token} s, first sound after {first_sound} s",
  "inside.stopped": "silence noticed", "inside.words": "words known", "inside.decided": "turn over", "inside.first_token": "first token",
  "inside.first_clause": "first clause", "inside.first_sound": "first sound", "inside.sound": "Sound ahead: {ahead} ms · gaps: {gaps}",
  "save": "Save this conversation", "save.text": "Text", "save.json": "JSON", "save.srt": "Subtitles", "save.wav": "Sound",
  "save.nothing": "Nothing was said yet.", "save.no_sound": "No sound was kept. Settings can change that.", "dashboard": "How the server is doing",
  "notice.lost": "The connection was lost. Trying again; the conversation goes on where it was.",
  "notice.busy": "All lines are busy. Try again in about {n} min.",
  "notice.time_limit": "The call reached its time limit. Start again to go on with the same conversation.",
  "notice.insecure": "Browsers give sound and microphone only to pages opened over https or from localhost. Ask whoever runs this server for its https address. You can still type and read.",
  "notice.blocked": "The microphone is blocked. Allow it beside the address bar, then start again. You can still type.",
  "notice.missing": "No microphone was found. Connect one, then start again. You can still type.",
  "notice.in_use": "Another program is using the microphone. Close it, then start again. You can still type.",
  "notice.unplugged": "The microphone was disconnected.", "notice.other_microphone": "That microphone was disconnected. Another one is used now.",
  "notice.refused": "The server refused the connection. {n}", "notice.unusable": "The microphone cannot be used. You can still type.",
  "notice.no_server": "The server does not answer. Trying again…",
};

const de = {
  "lead": "Sag etwas.",
  "welcome": "Drück den Knopf und sprich. Du kannst der Antwort jederzeit ins Wort fallen oder unten tippen.",
  "skip": "Zur Textzeile springen",
  "stages": "Teile des Servers", "asr": "Hört", "llm": "Denkt", "tts": "Spricht",
  "ready": "bereit", "starting": "startet", "down": "ausgefallen",
  "conversation": "Gespräch", "level": "Pegel des Mikrofons",
  "talk.start": "Gespräch beginnen", "talk.stop": "Gespräch beenden", "talk.hold": "Zum Sprechen halten",
  "hold": "Zum Sprechen halten", "sound": "Ton", "sound.title": "Ton der Antworten",
  "quiet": "Antwort stoppen", "type": "Tippen statt sprechen", "type.here": "Oder tippen und Enter drücken", "send": "Senden",
  "state.idle": "Gespräch beginnen", "state.connecting": "Verbinde…", "state.reconnecting": "Verbindung verloren. Neuer Versuch…",
  "state.ready": "Bereit, wenn du es bist", "state.listening": "Ich höre zu…", "state.hearing": "Ich höre dich", "state.thinking": "Ich denke nach…",
  "state.speaking": "Ich antworte. Sprich, um zu unterbrechen.", "state.interrupted": "Unterbrochen. Sprich weiter, ich höre.",
  "held.idle": "Zum Sprechen halten", "held.ready": "Zum Sprechen halten", "held.listening": "Sprich, ich höre", "held.speaking": "Ich antworte. Halten, um zu unterbrechen.",
  "who.user": "Du", "who.assistant": "Antwort", "who.note": "Hinweis",
  "unheard": "Du hast unterbrochen, bevor das gesagt war", "unheard.said": " (unterbrochen, nicht gesagt:) ",
  "after": "nachdem du aufgehört hast:", "words": "Worte", "first_token": "erstes Token", "first_sound": "erster Ton", "reused": "vorausgedacht",
  "play.user": "Abspielen, was du gesagt hast", "play.assistant": "Antwort abspielen",
  "secret": "Dieser Server verlangt ein Geheimwort", "secret.how": "Wer ihn betreibt, kann es dir sagen. Es bleibt, bis du diesen Tab schließt.",
  "secret.wrong": "Das war es nicht.", "secret.name": "Geheimwort", "continue": "Weiter", "close": "Schließen",
  "settings": "Einstellungen", "settings.talk": "Gespräch", "settings.sound": "Ton", "settings.page": "Seite", "reset": "Alles zurücksetzen",
  "language": "Du sprichst", "language.server": "Wie der Server es erwartet", "language.detect": "Irgendeine Sprache: herausfinden",
  "voice": "Stimme", "voice.server": "Wie der Server wählt",
  "personality": "Persönlichkeit", "personality.server": "Wie der Server sie hat", "personality.brief": "Knapp: ein Satz",
  "personality.teacher": "Geduldig wie eine Lehrerin", "personality.story": "Wie ein Erzähler", "personality.own": "In meinen Worten…",
  "instructions": "Wie die Stimme sein soll",
  "eagerness": "Bei einer Pause", "eagerness.patient": "warten", "eagerness.eager": "bald antworten",
  "speed": "Sprechtempo", "input": "Mikrofon", "output": "Lautsprecher", "device.system": "Wie das System wählt",
  "denoise": "Rauschen hier unterdrücken, nicht im Browser", "hushing": "Verstummen, sobald ich spreche", "cues": "Leise Töne für Zuhören und Nachdenken",
  "keep": "Ton dieser Sitzung behalten, um ihn abzuspielen", "interface": "Sprache dieser Seite", "theme": "Farben",
  "auto": "Wie das System es hat", "light": "Hell", "dark": "Dunkel",
  "inside": "Hineinsehen", "inside.empty": "Hier wird jede Runde gezeichnet: vom Ende deiner Worte bis zum ersten Ton der Antwort.",
  "inside.turns": "{turns} Runden · erster Ton nach {median} s (Median) · {reused} vorausgedacht",
  "inside.row": "Worte nach {words} s, Runde vorbei nach {decided} s, erstes Token nach {first_token} s, erster Ton nach {first_sound} s",
  "inside.stopped": "Stille bemerkt", "inside.words": "Worte bekannt", "inside.decided": "Runde vorbei", "inside.first_token": "erstes Token",
  "inside.first_clause": "erster Satzteil", "inside.first_sound": "erster Ton", "inside.sound": "Ton voraus: {ahead} ms · Lücken: {gaps}",
  "save": "Gespräch speichern", "save.text": "Text", "save.json": "JSON", "save.srt": "Untertitel", "save.wav": "Ton",
  "save.nothing": "Noch wurde nichts gesagt.", "save.no_sound": "Es wurde kein Ton behalten. Das lässt sich einstellen.", "dashboard": "Wie es dem Server geht",
  "notice.lost": "Die Verbindung ging verloren. Neuer Versuch; das Gespräch geht weiter, wo es war.",
  "notice.busy": "Alle Leitungen sind belegt. Versuch es in etwa {n} min noch einmal.",
  "notice.time_limit": "Der Anruf hat seine Höchstdauer erreicht. Beginn neu, um dasselbe Gespräch fortzusetzen.",
  "notice.insecure": "Browser geben Ton und Mikrofon nur Seiten, die über https oder von localhost geöffnet sind. Frag, wer diesen Server betreibt, nach seiner https-Adresse. Tippen und lesen kannst du trotzdem.",
  "notice.blocked": "Das Mikrofon ist gesperrt. Erlaube es neben der Adresszeile und beginn neu. Tippen kannst du trotzdem.",
  "notice.missing": "Kein Mikrofon gefunden. Schließ eines an und beginn neu. Tippen kannst du trotzdem.",
  "notice.in_use": "Ein anderes Programm benutzt das Mikrofon. Schließ es und beginn neu. Tippen kannst du trotzdem.",
  "notice.unplugged": "Das Mikrofon wurde getrennt.", "notice.other_microphone": "Jenes Mikrofon wurde getrennt. Jetzt wird ein anderes benutzt.",
  "notice.refused": "Der Server hat die Verbindung abgelehnt. {n}", "notice.unusable": "Das Mikrofon lässt sich nicht benutzen. Tippen kannst du trotzdem.",
  "notice.no_server": "Der Server antwortet nicht. Neuer Versuch…",
};

export const TABLES = { en, de };
export const NAMES = { en: "English", de: "Deutsch" };

let table = en;

/** The text of a key, with {names} filled in; "" for an unknown key. */
export function t(key, values = {}) {
  return (table[key] ?? en[key] ?? "").replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** Puts the whole document into a language: a code, or "auto" for the browser's own. */
export function speak(language) {
  const wanted = language === "auto" ? navigator.languages.map((code) => code.slice(0, 2)) : [language];
  const code = wanted.find((one) => one in TABLES) ?? "en";
  table = TABLES[code];
  document.documentElement.lang = code;
  const set = { t: (node, text) => (node.textContent = text), tLabel: (node, text) => node.setAttribute("aria-label", text),
    tTitle: (node, text) => (node.title = text), tPlaceholder: (node, text) => (node.placeholder = text) };
  for (const [name, put] of Object.entries(set)) {
    const attribute = `data-${name.replace(/[A-Z]/, (letter) => `-${letter.toLowerCase()}`)}`;
    for (const node of document.querySelectorAll(`[${attribute}]`)) put(node, t(node.dataset[name]));
  }
}
