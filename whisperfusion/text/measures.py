"""Measures and percentages in words."""

from __future__ import annotations

import re
from re import Match

from whisperfusion.text.number_patterns import ALONE, DASH, NUM, SIGN
from whisperfusion.text.numbers import cardinal, number, value

_UNITS = """
km kilometer|m meter|cm centimeter|mm millimeter|µm micrometer|nm nanometer|mi mile|ft foot feet
yd yard|ha hectare|kg kilogram|g gram|mg milligram|µg microgram|lb pound|lbs pound|oz ounce|l liter
L liter|ml milliliter|mL milliliter|cl centiliter|s second|sec second|secs second|ms millisecond
µs microsecond|ns nanosecond|min minute|mins minute|h hour|hr hour|hrs hour|yrs year|Hz hertz hertz
kHz kilohertz kilohertz|MHz megahertz megahertz|GHz gigahertz gigahertz|THz terahertz terahertz
KB kilobyte|kB kilobyte|MB megabyte|GB gigabyte|TB terabyte|PB petabyte|KiB kibibyte|MiB mebibyte
GiB gibibyte|TiB tebibyte|kbit kilobit|Mbit megabit|Gbit gigabit
kbps kilobits_per_second kilobits_per_second|Mbps megabits_per_second megabits_per_second
Gbps gigabits_per_second gigabits_per_second|W watt|kW kilowatt|MW megawatt|GW gigawatt
Wh watt_hour|kWh kilowatt_hour|MWh megawatt_hour|V volt|mV millivolt|kV kilovolt|mA milliampere
mAh milliampere_hour|Ah ampere_hour|Ω ohm|kΩ kilohm|MΩ megohm|°C degree_Celsius degrees_Celsius
°F degree_Fahrenheit degrees_Fahrenheit|° degree|Pa pascal|kPa kilopascal|hPa hectopascal|bar bar
psi pound_per_square_inch pounds_per_square_inch|kJ kilojoule|kcal kilocalorie|cal calorie
kN kilonewton|Nm newton_meter|dB decibel|px pixel|pt point|dpi DPI DPI
fps frames_per_second frames_per_second|rpm RPM RPM|mph mile_per_hour miles_per_hour
kph kilometer_per_hour kilometers_per_hour|km/h kilometer_per_hour kilometers_per_hour
kmh kilometer_per_hour kilometers_per_hour|m/s meter_per_second meters_per_second
m/s² meter_per_second_squared meters_per_second_squared
kbit/s kilobit_per_second kilobits_per_second|Mbit/s megabit_per_second megabits_per_second
Gbit/s gigabit_per_second gigabits_per_second|MB/s megabyte_per_second megabytes_per_second
Mb/s megabit_per_second megabits_per_second|Gb/s gigabit_per_second gigabits_per_second
GB/s gigabyte_per_second gigabytes_per_second|KB/s kilobyte_per_second kilobytes_per_second
kB/s kilobyte_per_second kilobytes_per_second|L/min liter_per_minute liters_per_minute
l/100km liter_per_hundred_kilometers liters_per_hundred_kilometers
mg/dL milligram_per_deciliter milligrams_per_deciliter
g/cm³ gram_per_cubic_centimeter grams_per_cubic_centimeter
kg/m³ kilogram_per_cubic_meter kilograms_per_cubic_meter|m² square_meter|cm² square_centimeter
mm² square_millimeter|km² square_kilometer|ft² square_foot square_feet|mi² square_mile
m³ cubic_meter|cm³ cubic_centimeter|mm³ cubic_millimeter|ft³ cubic_foot cubic_feet
km² square_kilometer|sqft square_foot square_feet|W/m² watt_per_square_meter watts_per_square_meter
km/s kilometer_per_second kilometers_per_second|req/s request_per_second requests_per_second
"""


def _table() -> dict[str, tuple[str, str]]:
    table = {}
    for entry in _UNITS.strip().replace("\n", "|").split("|"):
        sign, one, *several = entry.split()
        table[sign] = (
            one.replace("_", " "),
            (several[0] if several else f"{one}s").replace("_", " "),
        )
    for sign in [sign for sign in table if "µ" in sign]:
        table[sign.replace("µ", "μ")] = table[sign]
    return table


UNITS = _table()
_PER = {
    "month": "month",
    "mo": "month",
    "year": "year",
    "yr": "year",
    "week": "week",
    "wk": "week",
    "day": "day",
    "hour": "hour",
    "hr": "hour",
    "h": "hour",
    "min": "minute",
    "s": "second",
    "user": "user",
    "person": "person",
    "kg": "kilogram",
    "lb": "pound",
    "night": "night",
    "item": "item",
    "unit": "unit",
    "seat": "seat",
    "kWh": "kilowatt hour",
}
PER = re.compile(r"(?<=[a-z])/(" + "|".join(_PER) + r")\b")
# Units that are unambiguous without a number before them.
PLAIN = (
    "km/h Mbit/s kbit/s Gbit/s MB/s GB/s KB/s kB/s Mb/s Gb/s m/s m/s² kWh MWh GHz MHz kHz GB MB "
    "TB KB GiB MiB Mbps Gbps kbps mAh km² m² m³ cm² °C °F"
).split()
_MEASURES = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))
MEASURE = re.compile(rf"{ALONE}({NUM})(?:{DASH}({NUM}))?(?:\s|-)?({_MEASURES})(?![\w²³°/])")
BARE_MEASURE = re.compile(
    rf"(?<![\w/°])({'|'.join(map(re.escape, sorted(PLAIN, key=len, reverse=True)))})(?![\w²³/])"
)
NEGATIVE = re.compile(rf"{SIGN}({NUM})(?![0-9])")
FEET = re.compile(r"(?<![\w.])([0-9]{1,2})['′]\s?([0-9]{1,2})(?:[\"″”]|'')")
SIZES = set("tall wide long high thick deep and or by in on at from across of".split())
INCHES = re.compile(
    rf"{ALONE}({NUM})(?:[\"″]|\s?in\.?(?=\s(?:tall|wide|long|high|thick|deep)))(?!\w)"
)
PERCENT = re.compile(rf"{ALONE}({NUM})(?:{DASH}({NUM}))?\s?([%‰])")
TIMES = re.compile(r"(?<![\w.])([0-9]{1,5}(?:\.[0-9]{1,3})?)[x×](?![\w]|\s?[-+=^/²³)])")


def measures(text: str) -> str:
    text = NEGATIVE.sub(lambda m: f"minus {m[1]}", text)
    text = FEET.sub(lambda m: f"{cardinal(int(m[1]))} foot {cardinal(int(m[2]))}", text)
    text = PERCENT.sub(_percent, text)
    text = MEASURE.sub(_measure, text)
    text = INCHES.sub(_inches, text)
    text = TIMES.sub(lambda m: f"{number(m[1])} times", text)
    text = BARE_MEASURE.sub(lambda m: UNITS[m[1]][1], text)
    return PER.sub(lambda m: f" per {_PER[m[1]]}", text)


def _inches(m: Match[str]) -> str:
    """Singular before a noun: a twenty-seven inch screen is twenty-seven inches wide."""
    after = m.string[m.end() : m.end() + 7].split()
    noun = bool(after) and after[0].isalpha() and m.string[m.end()] == " " and after[0] not in SIZES
    return f"{number(m[1])} {'inch' if m[1] == '1' or noun else 'inches'}"


def _percent(m: Match[str]) -> str:
    spelled = f"{number(m[1])} to {number(m[2])}" if m[2] else number(m[1])
    return f"{spelled} {'percent' if m[3] == '%' else 'per mille'}"


def _measure(m: Match[str]) -> str:
    last = m[2] or m[1]
    after = m.string[m.end() : m.end() + 12]
    noun = (
        m.string[: m.start()].lower().endswith(("a ", "an "))
        and after[:1] in (" ", "-")
        and after[1:2].isalpha()
    )
    if noun and after[1:].split()[0].strip(",.") not in SIZES | {
        "of",
        "to",
        "away",
        "more",
        "less",
        "per",
    }:
        last = "1"  # a five kilometer run
    spelled = f"{number(m[1])} to {number(m[2])}" if m[2] else number(m[1])
    return f"{spelled} {UNITS[m[3]][0 if value(last) == 1 else 1]}"
