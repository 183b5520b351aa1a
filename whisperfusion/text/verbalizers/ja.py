"""Japanese."""

from __future__ import annotations

from whisperfusion.text.verbalizers.cjk import Unspaced, number
from whisperfusion.text.verbalizers.language import pairs

DIGITS = "〇一二三四五六七八九"
SCALES = ((10**12, "兆"), (10**8, "億"), (10**4, "万"))

_WORDS = pairs("""
point 点|minus 引く|negative マイナス|plus 足す|times 掛ける|over 割る|equals イコール|to から
less 小なり|greater 大なり|at_most 以下|at_least 以上|unequal ノットイコール|about 約
plusminus プラスマイナス|infinity 無限大|root ルート|arrow から|and アンド|percent パーセント
section 第|copyright コピーライト|number 番号|degrees 度|power の{}乗|ratio 対|mixed と|per 毎
pause 、|dot ドット|at アットマーク|slash スラッシュ|dash ハイフン|underscore アンダーバー
tilde チルダ|link リンク|version バージョン|sharp シャープ|hashtag ハッシュタグ
""")
_UNITS = pairs("""
km キロメートル|m メートル|cm センチメートル|mm ミリメートル|µm マイクロメートル|nm ナノメートル
kg キログラム|g グラム|mg ミリグラム|t トン|l リットル|L リットル|ml ミリリットル|mL ミリリットル
s 秒|ms ミリ秒|min 分|h 時間|Hz ヘルツ|kHz キロヘルツ|MHz メガヘルツ|GHz ギガヘルツ|KB キロバイト
MB メガバイト|GB ギガバイト|TB テラバイト|W ワット|kW キロワット|kWh キロワット時|V ボルト
A アンペア|mAh ミリアンペア時|°C 度|°F ^華氏|° 度|km/h キロメートル毎時|m/s メートル毎秒
MB/s メガバイト毎秒|m² 平方メートル|km² 平方キロメートル|cm² 平方センチメートル|m³ 立方メートル
cm³ 立方センチメートル|dB デシベル|kcal キロカロリー|px ピクセル|Pa パスカル|hPa ヘクトパスカル
ha ヘクタール
""")
_CURRENCIES = pairs("""
¥ 円|JPY 円|$ ドル|US$ 米ドル|USD 米ドル|HK$ 香港ドル|NT$ 台湾ドル|€ ユーロ|EUR ユーロ|£ ポンド
GBP ポンド|CN¥ 元|RMB 元|CNY 元|₹ ルピー|₩ ウォン|₽ ルーブル|₿ ビットコイン
""")


def cardinal(n: int, _after: str = "") -> str:
    """千二百三十四; a one only before 万 and higher."""
    if n < 0:
        return f"マイナス{cardinal(-n)}"
    if n == 0:
        return "ゼロ"
    said = ""
    for size, name in SCALES:
        if n >= size:
            said += _below_10000(n // size, "一千" if n // size == 1000 else "千") + name
            n %= size
    return said + (_below_10000(n, "千") if n else "")


def _below_10000(n: int, thousand: str) -> str:
    said = ""
    for size, name in ((1000, thousand), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, size)
        if digit:
            said += (DIGITS[digit] if digit > 1 or size == 1 else "") + (
                name if digit == 1 or size != 1000 else "千"
            )
    return said


def row(text: str) -> str:
    return "".join("ゼロ" if c == "0" else DIGITS[int(c)] for c in text)


def year(text: str) -> str:
    return cardinal(int(text))


def clock(part: str, hour: int, minute: int, second: int) -> str:
    """午後二時半: of twelve hours, with the half of the day, unless the text has it."""
    if not part and hour < 24 and not second:
        part = "午前" if hour < 12 else "午後"
        hour = hour if hour < 12 else hour - 12
    said = f"{part}{'零' if hour == 0 else cardinal(hour)}時"
    if second:
        return f"{said}{cardinal(minute)}分{cardinal(second)}秒"
    if minute == 30:
        return f"{said}半"
    return said + (f"{cardinal(minute)}分" if minute else "")


def money(digits: str, many: str, name: str) -> str:
    return number(digits, LANGUAGE, many or name) + many + name


LANGUAGE = Unspaced(
    code="ja",
    cardinal=cardinal,
    row=row,
    spoken_row=row,
    year=year,
    clock=clock,
    money=money,
    fraction="{below}分の{above}",
    named_rows=False,
    percent="{}パーセント",
    permille="{}パーミル",
    words=_WORDS,
    units=_UNITS,
    currencies=_CURRENCIES,
)
