// The page that installs the certificate, in Portuguese.

export default {
  "title": "Prepare este dispositivo uma vez",
  "why": "Os navegadores só permitem o microfone a servidores em que confiam. Este servidor está na sua própria rede e tem um certificado próprio, válido apenas para endereços locais.",
  "ios.1": "No Safari, baixe o perfil e permita-o.", "ios.load": "Baixar o perfil",
  "ios.2": "Abra Ajustes, toque em “Perfil baixado” e depois em Instalar.",
  "ios.3": "Em Ajustes, Geral, Sobre, Ajustes de confiança de certificados: ative-o.",
  "android.1": "Baixe o certificado.", "load": "Baixar o certificado",
  "android.2": "Abra Configurações e procure “certificado CA”. Escolha “Instalar mesmo assim” e depois o arquivo whisperfusion.crt.",
  "back": "Volte aqui e abra o servidor.",
  "computer": "Computador",
  "computer.windows": "Windows: abra o arquivo, Instalar certificado, em “Autoridades de certificação raiz confiáveis”.",
  "computer.mac": "macOS: abra o arquivo, encontre-o em Acesso às Chaves e defina “Confiar sempre”.",
  "computer.linux": "Linux, e Firefox em todo lugar: nas configurações do navegador, certificados, autoridades: importe-o para sites.",
  "print": "{name}, válido até {until}. Seu dispositivo e o terminal do servidor mostram esta impressão digital (SHA-256): {print}",
  "open": "Abrir o servidor", "later": "No menu do navegador, “Adicionar à tela inicial” o instala como aplicativo.",
};
