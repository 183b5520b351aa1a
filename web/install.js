// /install: the words in the browser's language, the steps of this device, and the way on to the server.

import { $, find } from "./elements.js";
import { speak, t } from "./texts.js";

const en = {
  "title": "Set up this device once",
  "why": "Browsers allow the microphone only for servers that they trust. This server runs in your own network and has a certificate of its own, which is valid for local addresses only.",
  "ios.1": "In Safari, download the profile and allow it.", "ios.load": "Download the profile",
  "ios.2": "Open Settings, tap \"Profile Downloaded\", then Install.",
  "ios.3": "In Settings, General, About, Certificate Trust Settings: switch it on.",
  "android.1": "Download the certificate.", "load": "Download the certificate",
  "android.2": "Open Settings and search for \"CA certificate\". Choose \"Install anyway\", then the file whisperfusion.crt.",
  "back": "Come back here and open the server.",
  "computer": "Computer",
  "computer.windows": "Windows: open the file, Install Certificate, into \"Trusted Root Certification Authorities\".",
  "computer.mac": "macOS: open the file, find it in Keychain Access, set it to \"Always Trust\".",
  "computer.linux": "Linux, and Firefox everywhere: in the settings of the browser, certificates, authorities: import it for websites.",
  "print": "{name}, valid until {until}. Your device and the terminal of the server show this fingerprint (SHA-256): {print}",
  "open": "Open the server", "later": "In the browser's menu, \"Add to Home Screen\" installs it as an app.",
};

const de = {
  "title": "Einmal für dieses Gerät",
  "why": "Browser erlauben das Mikrofon nur für Server, denen sie vertrauen. Dieser Server läuft in deinem eigenen Netz und hat ein eigenes Zertifikat, das nur für lokale Adressen gilt.",
  "ios.1": "Lade in Safari das Profil und erlaube es.", "ios.load": "Profil laden",
  "ios.2": "Öffne die Einstellungen, tippe auf „Profil geladen“ und dann auf Installieren.",
  "ios.3": "In Einstellungen, Allgemein, Info, Zertifikatsvertrauenseinstellungen: schalte es ein.",
  "android.1": "Lade das Zertifikat.", "load": "Zertifikat laden",
  "android.2": "Öffne die Einstellungen und suche nach „CA-Zertifikat“. Wähle „Trotzdem installieren“, dann die Datei whisperfusion.crt.",
  "back": "Komm hierher zurück und öffne den Server.",
  "computer": "Computer",
  "computer.windows": "Windows: öffne die Datei, Zertifikat installieren, in „Vertrauenswürdige Stammzertifizierungsstellen“.",
  "computer.mac": "macOS: öffne die Datei, suche sie in der Schlüsselbundverwaltung, stelle sie auf „Immer vertrauen“.",
  "computer.linux": "Linux, und Firefox überall: in den Einstellungen des Browsers, Zertifikate, Zertifizierungsstellen: für Websites importieren.",
  "print": "{name}, gültig bis {until}. Dein Gerät und das Terminal des Servers zeigen diesen Fingerabdruck (SHA-256): {print}",
  "open": "Server öffnen", "later": "„Zum Home-Bildschirm“ im Menü des Browsers macht daraus eine App.",
};

await speak("auto", { en, de }, "./texts/install");

// An iPad says that it is a Mac; a Mac has no touch screen.
const agent = navigator.userAgent;
const apple = /iPhone|iPad/.test(agent) || (/Macintosh/.test(agent) && navigator.maxTouchPoints > 1);
const device = (apple && "ios") || (/Android/.test(agent) && "android") || "computer";
find(`[data-for="${device}"]`, HTMLDetailsElement).open = true;

const server = new URL("./", location.href);
server.protocol = "https:";
server.hash = location.hash; // the pairing key, on its way to the page
$("open", HTMLAnchorElement).href = server.href;

const facts = await (await fetch("authority.json")).json();
const print = $("print");
print.textContent = t("print", { name: facts.name, until: facts.until, print: facts.sha256 });
print.hidden = false;
