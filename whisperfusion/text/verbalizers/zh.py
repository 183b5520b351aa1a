"""Chinese (Mandarin), written with simplified characters."""

from __future__ import annotations

from whisperfusion.text.verbalizers.cjk import Unspaced, number
from whisperfusion.text.verbalizers.language import pairs

DIGITS = "零一二三四五六七八九"
SCALES = ((10**12, "万亿"), (10**8, "亿"), (10**4, "万"))
# Before these a two is 两.
MEASURES = frozenset(
    "人个只本张件位次天周岁杯块斤米种条点家台辆层间份瓶袋双对部棵座篇首场节页句倍名支"
    "千万亿元升克吨秒年"
)
LONG_MEASURES = (
    "小时",
    "分钟",
    "公里",
    "公斤",
    "千克",
    "厘米",
    "毫米",
    "星期",
    "个月",
    "平方",
    "美元",
    "欧元",
    "英镑",
    "日元",
    "毫升",
    "分之",
)

_WORDS = pairs("""
point 点|minus 减|negative 负|plus 加|times 乘以|over 除以|equals 等于|to 到|less 小于|greater 大于
at_most 小于等于|at_least 大于等于|unequal 不等于|about 约|plusminus 正负|infinity 无穷|root 根号
arrow 到|and 和|percent 百分之|section 第|copyright 版权|number 编号|degrees 度|power 的{}次方
ratio 比|mixed 又|per 每|pause ，|dot 点|at 艾特|slash 斜杠|dash 杠|underscore 下划线|tilde 波浪号
link 链接|version 版本|sharp 升|hashtag 话题
""")
_UNITS = pairs("""
km 公里|m 米|cm 厘米|mm 毫米|µm 微米|nm 纳米|kg 公斤|g 克|mg 毫克|t 吨|l 升|L 升|ml 毫升|mL 毫升
s 秒|ms 毫秒|min 分钟|h 小时|Hz 赫兹|kHz 千赫|MHz 兆赫|GHz 吉赫|KB 千字节|MB 兆字节|GB 吉字节
TB 太字节|W 瓦|kW 千瓦|kWh 千瓦时|V 伏|A 安|mAh 毫安时|°C 摄氏度|°F 华氏度|° 度|km/h 公里每小时
m/s 米每秒|MB/s 兆字节每秒|m² 平方米|km² 平方公里|cm² 平方厘米|m³ 立方米|cm³ 立方厘米|dB 分贝
kcal 千卡|px 像素|Pa 帕|hPa 百帕|ha 公顷
""")
_CURRENCIES = pairs("""
¥ 元|RMB 元|RMB¥ 元|CN¥ 元|CNY 元|$ 美元|US$ 美元|USD 美元|HK$ 港元|NT$ 新台币|€ 欧元|EUR 欧元
£ 英镑|GBP 英镑|JPY 日元|₹ 卢比|₩ 韩元|₽ 卢布|₿ 比特币
""")


def cardinal(n: int, after: str = "") -> str:
    """`after`: what is counted; before a measure word two is 两."""
    if n < 0:
        return f"负{cardinal(-n, after)}"
    if (
        n == 2
        and after != "年级"
        and after[:1]
        and (after[0] in MEASURES or after.startswith(LONG_MEASURES))
    ):
        return "两"
    if n < 10:
        return DIGITS[n]
    if 10 <= n < 20:
        return "十" + (DIGITS[n - 10] if n > 10 else "")
    said, lower = "", False
    for size, name in SCALES:
        if n >= size:
            count = n // size
            said += "零" * (lower and bool(said)) + ("两" if count == 2 else cardinal(count)) + name
            n %= size
            lower = bool(n) and n < size // 10
    if n:
        said += ("零" if lower and said else "") + _below_10000(n, bool(said))
    return said


def _below_10000(n: int, inside: bool) -> str:
    if 10 <= n < 20 and not inside:
        return cardinal(n)
    said, gap = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, n = divmod(n, size)
        if digit:
            two = digit == 2 and size == 1000
            said += ("零" if gap and said else "") + ("两" if two else DIGITS[digit]) + name
            gap = False
        else:
            gap = True
    return said


def row(text: str) -> str:
    return "".join(DIGITS[int(c)] for c in text)


def spoken_row(text: str) -> str:
    """On the telephone a one is 幺."""
    return row(text).replace("一", "幺")


def clock(part: str, hour: int, minute: int, second: int) -> str:
    """下午三点半, 十四点三十分."""
    said = f"{part}{cardinal(hour, '点')}点"
    if second:
        return f"{said}{cardinal(minute)}分{cardinal(second)}秒"
    if not minute:
        return said + ("" if part else "整")
    if minute == 30 and part:
        return f"{said}半"
    return f"{said}{'零' * (minute < 10)}{cardinal(minute)}分"


def money(digits: str, many: str, name: str) -> str:
    """三元五角 for 3.50; other currencies with a point."""
    whole, _, cents = digits.partition(".")
    if name != "元" or many or len(cents) != 2:
        return number(digits, LANGUAGE, many or name) + many + name
    said = (
        number(whole, LANGUAGE, name) + name if int(whole.replace("_", "")) or cents == "00" else ""
    )
    if cents[0] != "0":
        said += f"{DIGITS[int(cents[0])]}角"
    elif cents[1] != "0" and said:
        said += "零"
    return said + (f"{DIGITS[int(cents[1])]}分" if cents[1] != "0" else "")


LANGUAGE = Unspaced(
    code="zh",
    cardinal=cardinal,
    row=row,
    spoken_row=spoken_row,
    year=row,
    clock=clock,
    money=money,
    fraction="{below}分之{above}",
    named_rows=True,
    percent="百分之{}",
    permille="千分之{}",
    words=_WORDS,
    units=_UNITS,
    currencies=_CURRENCIES,
)
