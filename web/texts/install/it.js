// The page that installs the certificate, in Italian.

export default {
  "title": "Prepara questo dispositivo una volta",
  "why": "I browser permettono il microfono solo ai server di cui si fidano. Questo server è nella tua rete e ha un certificato proprio, valido solo per indirizzi locali.",
  "ios.1": "In Safari, scarica il profilo e consentilo.", "ios.load": "Scarica il profilo",
  "ios.2": "Apri Impostazioni, tocca «Profilo scaricato», poi Installa.",
  "ios.3": "In Impostazioni, Generali, Info, Attendibilità certificati: attivalo.",
  "android.1": "Scarica il certificato.", "load": "Scarica il certificato",
  "android.2": "Apri Impostazioni e cerca «certificato CA». Scegli «Installa comunque», poi il file whisperfusion.crt.",
  "back": "Torna qui e apri il server.",
  "computer": "Computer",
  "computer.windows": "Windows: apri il file, Installa certificato, in «Autorità di certificazione radice attendibili».",
  "computer.mac": "macOS: apri il file, trovalo in Accesso Portachiavi, impostalo su «Fidati sempre».",
  "computer.linux": "Linux, e Firefox ovunque: nelle impostazioni del browser, certificati, autorità: importalo per i siti web.",
  "print": "{name}, valido fino al {until}. Il tuo dispositivo e il terminale del server mostrano questa impronta (SHA-256): {print}",
  "open": "Apri il server", "later": "Nel menu del browser, «Aggiungi a schermata Home» lo installa come app.",
};
