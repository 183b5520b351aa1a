// The page that installs the certificate, in Spanish.

export default {
  "title": "Prepara este dispositivo una vez",
  "why": "Los navegadores permiten el micrófono solo a servidores en los que confían. Este servidor está en tu propia red y tiene un certificado propio, que solo vale para direcciones locales.",
  "ios.1": "En Safari, descarga el perfil y permítelo.", "ios.load": "Descargar el perfil",
  "ios.2": "Abre Ajustes, toca «Perfil descargado» y luego Instalar.",
  "ios.3": "En Ajustes, General, Información, Ajustes de confianza de los certificados: actívalo.",
  "android.1": "Descarga el certificado.", "load": "Descargar el certificado",
  "android.2": "Abre Ajustes y busca «certificado CA». Elige «Instalar de todos modos» y después el archivo whisperfusion.crt.",
  "back": "Vuelve aquí y abre el servidor.",
  "computer": "Ordenador",
  "computer.windows": "Windows: abre el archivo, Instalar certificado, en «Entidades de certificación raíz de confianza».",
  "computer.mac": "macOS: abre el archivo, búscalo en Acceso a Llaveros y ponlo en «Confiar siempre».",
  "computer.linux": "Linux, y Firefox en todas partes: en los ajustes del navegador, certificados, autoridades: impórtalo para sitios web.",
  "print": "{name}, válido hasta {until}. Tu dispositivo y la terminal del servidor muestran esta huella (SHA-256): {print}",
  "open": "Abrir el servidor", "later": "En el menú del navegador, «Añadir a pantalla de inicio» lo instala como aplicación.",
};
