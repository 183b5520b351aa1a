// The page that installs the certificate, in Chinese (simplified).

export default {
  "title": "为此设备设置一次",
  "why": "浏览器只允许受信任的服务器使用麦克风。此服务器在你自己的网络中运行，有自己的证书，仅对本地地址有效。",
  "ios.1": "在 Safari 中下载描述文件并允许。", "ios.load": "下载描述文件",
  "ios.2": "打开“设置”，轻点“已下载描述文件”，然后安装。",
  "ios.3": "在“设置”“通用”“关于本机”“证书信任设置”中打开它。",
  "android.1": "下载证书。", "load": "下载证书",
  "android.2": "打开设置，搜索“CA 证书”。选择“仍然安装”，然后选择文件 whisperfusion.crt。",
  "back": "回到这里并打开服务器。",
  "computer": "电脑",
  "computer.windows": "Windows：打开文件，安装证书，选择“受信任的根证书颁发机构”。",
  "computer.mac": "macOS：打开文件，在“钥匙串访问”中找到它，设为“始终信任”。",
  "computer.linux": "Linux，以及任何系统上的 Firefox：在浏览器设置的证书、颁发机构中导入，用于网站。",
  "print": "{name}，有效期至 {until}。你的设备和服务器的终端都显示此指纹 (SHA-256)：{print}",
  "open": "打开服务器", "later": "在浏览器菜单中，“添加到主屏幕”可将其安装为应用。",
};
