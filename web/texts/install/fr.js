// The page that installs the certificate, in French.

export default {
  "title": "Prépare cet appareil une fois",
  "why": "Les navigateurs n'autorisent le micro qu'aux serveurs de confiance. Ce serveur est dans ton propre réseau et a son propre certificat, valable pour les adresses locales seulement.",
  "ios.1": "Dans Safari, télécharge le profil et autorise-le.", "ios.load": "Télécharger le profil",
  "ios.2": "Ouvre Réglages, touche « Profil téléchargé », puis Installer.",
  "ios.3": "Dans Réglages, Général, Informations, Réglages des certificats : active-le.",
  "android.1": "Télécharge le certificat.", "load": "Télécharger le certificat",
  "android.2": "Ouvre les Paramètres et cherche « certificat CA ». Choisis « Installer quand même », puis le fichier whisperfusion.crt.",
  "back": "Reviens ici et ouvre le serveur.",
  "computer": "Ordinateur",
  "computer.windows": "Windows : ouvre le fichier, Installer un certificat, dans « Autorités de certification racines de confiance ».",
  "computer.mac": "macOS : ouvre le fichier, trouve-le dans Trousseaux d'accès et choisis « Toujours approuver ».",
  "computer.linux": "Linux, et Firefox partout : dans les réglages du navigateur, certificats, autorités : importe-le pour les sites web.",
  "print": "{name}, valable jusqu'au {until}. Ton appareil et le terminal du serveur montrent cette empreinte (SHA-256) : {print}",
  "open": "Ouvrir le serveur", "later": "Dans le menu du navigateur, « Sur l'écran d'accueil » l'installe comme application.",
};
