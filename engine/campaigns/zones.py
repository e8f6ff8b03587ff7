"""Time zones by the names that people give them, and times that are written without one.

Beside the names of the IANA database those of Rails are known (``ActiveSupport::TimeZone``), which Verboice uses:
``Buenos Aires``, ``Eastern Time (US & Canada)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_RAILS_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "Africa/Algiers": "West Central Africa",
        "Africa/Cairo": "Cairo",
        "Africa/Casablanca": "Casablanca",
        "Africa/Harare": "Harare",
        "Africa/Johannesburg": "Pretoria",
        "Africa/Monrovia": "Monrovia",
        "Africa/Nairobi": "Nairobi",
        "America/Argentina/Buenos_Aires": "Buenos Aires",
        "America/Bogota": "Bogota",
        "America/Caracas": "Caracas",
        "America/Chicago": "Central Time (US & Canada)",
        "America/Chihuahua": "Chihuahua",
        "America/Denver": "Mountain Time (US & Canada)",
        "America/Guatemala": "Central America",
        "America/Guyana": "Georgetown",
        "America/Halifax": "Atlantic Time (Canada)",
        "America/Indiana/Indianapolis": "Indiana (East)",
        "America/Juneau": "Alaska",
        "America/La_Paz": "La Paz",
        "America/Lima": "Lima|Quito",
        "America/Los_Angeles": "Pacific Time (US & Canada)",
        "America/Mazatlan": "Mazatlan",
        "America/Mexico_City": "Guadalajara|Mexico City",
        "America/Monterrey": "Monterrey",
        "America/Montevideo": "Montevideo",
        "America/New_York": "Eastern Time (US & Canada)",
        "America/Nuuk": "Greenland",
        "America/Phoenix": "Arizona",
        "America/Puerto_Rico": "Puerto Rico",
        "America/Regina": "Saskatchewan",
        "America/Santiago": "Santiago",
        "America/Sao_Paulo": "Brasilia",
        "America/St_Johns": "Newfoundland",
        "America/Tijuana": "Tijuana",
        "Asia/Almaty": "Almaty|Astana",
        "Asia/Baghdad": "Baghdad",
        "Asia/Baku": "Baku",
        "Asia/Bangkok": "Bangkok|Hanoi",
        "Asia/Chongqing": "Chongqing",
        "Asia/Colombo": "Sri Jayawardenepura",
        "Asia/Dhaka": "Dhaka",
        "Asia/Hong_Kong": "Hong Kong",
        "Asia/Irkutsk": "Irkutsk",
        "Asia/Jakarta": "Jakarta",
        "Asia/Jerusalem": "Jerusalem",
        "Asia/Kabul": "Kabul",
        "Asia/Kamchatka": "Kamchatka",
        "Asia/Karachi": "Islamabad|Karachi",
        "Asia/Kathmandu": "Kathmandu",
        "Asia/Kolkata": "Chennai|Kolkata|Mumbai|New Delhi",
        "Asia/Krasnoyarsk": "Krasnoyarsk",
        "Asia/Kuala_Lumpur": "Kuala Lumpur",
        "Asia/Kuwait": "Kuwait",
        "Asia/Magadan": "Magadan",
        "Asia/Muscat": "Abu Dhabi|Muscat",
        "Asia/Novosibirsk": "Novosibirsk",
        "Asia/Rangoon": "Rangoon",
        "Asia/Riyadh": "Riyadh",
        "Asia/Seoul": "Seoul",
        "Asia/Shanghai": "Beijing",
        "Asia/Singapore": "Singapore",
        "Asia/Srednekolymsk": "Srednekolymsk",
        "Asia/Taipei": "Taipei",
        "Asia/Tashkent": "Tashkent",
        "Asia/Tbilisi": "Tbilisi",
        "Asia/Tehran": "Tehran",
        "Asia/Tokyo": "Osaka|Sapporo|Tokyo",
        "Asia/Ulaanbaatar": "Ulaanbaatar",
        "Asia/Urumqi": "Urumqi",
        "Asia/Vladivostok": "Vladivostok",
        "Asia/Yakutsk": "Yakutsk",
        "Asia/Yekaterinburg": "Ekaterinburg",
        "Asia/Yerevan": "Yerevan",
        "Atlantic/Azores": "Azores",
        "Atlantic/Cape_Verde": "Cape Verde Is.",
        "Atlantic/South_Georgia": "Mid-Atlantic",
        "Australia/Adelaide": "Adelaide",
        "Australia/Brisbane": "Brisbane",
        "Australia/Darwin": "Darwin",
        "Australia/Hobart": "Hobart",
        "Australia/Melbourne": "Canberra|Melbourne",
        "Australia/Perth": "Perth",
        "Australia/Sydney": "Sydney",
        "Etc/GMT+12": "International Date Line West",
        "Etc/UTC": "UTC",
        "Europe/Amsterdam": "Amsterdam",
        "Europe/Athens": "Athens",
        "Europe/Belgrade": "Belgrade",
        "Europe/Berlin": "Berlin",
        "Europe/Bratislava": "Bratislava",
        "Europe/Brussels": "Brussels",
        "Europe/Bucharest": "Bucharest",
        "Europe/Budapest": "Budapest",
        "Europe/Copenhagen": "Copenhagen",
        "Europe/Dublin": "Dublin",
        "Europe/Helsinki": "Helsinki",
        "Europe/Istanbul": "Istanbul",
        "Europe/Kaliningrad": "Kaliningrad",
        "Europe/Kiev": "Kyiv|Kyev",
        "Europe/Lisbon": "Lisbon",
        "Europe/Ljubljana": "Ljubljana",
        "Europe/London": "Edinburgh|London",
        "Europe/Madrid": "Madrid",
        "Europe/Minsk": "Minsk",
        "Europe/Moscow": "Moscow|St. Petersburg",
        "Europe/Paris": "Paris",
        "Europe/Prague": "Prague",
        "Europe/Riga": "Riga",
        "Europe/Rome": "Rome",
        "Europe/Samara": "Samara",
        "Europe/Sarajevo": "Sarajevo",
        "Europe/Skopje": "Skopje",
        "Europe/Sofia": "Sofia",
        "Europe/Stockholm": "Stockholm",
        "Europe/Tallinn": "Tallinn",
        "Europe/Vienna": "Vienna",
        "Europe/Vilnius": "Vilnius",
        "Europe/Volgograd": "Volgograd",
        "Europe/Warsaw": "Warsaw",
        "Europe/Zagreb": "Zagreb",
        "Europe/Zurich": "Bern|Zurich",
        "Pacific/Apia": "Samoa",
        "Pacific/Auckland": "Auckland|Wellington",
        "Pacific/Chatham": "Chatham Is.",
        "Pacific/Fakaofo": "Tokelau Is.",
        "Pacific/Fiji": "Fiji",
        "Pacific/Guadalcanal": "Solomon Is.",
        "Pacific/Guam": "Guam",
        "Pacific/Honolulu": "Hawaii",
        "Pacific/Majuro": "Marshall Is.",
        "Pacific/Midway": "Midway Island",
        "Pacific/Noumea": "New Caledonia",
        "Pacific/Pago_Pago": "American Samoa",
        "Pacific/Port_Moresby": "Port Moresby",
        "Pacific/Tongatapu": "Nuku'alofa",
    }
)
RAILS: Mapping[str, str] = MappingProxyType(
    {name: zone for zone, names in _RAILS_NAMES.items() for name in names.split("|")}
)
"""IANA's name by that of Rails."""

EARLIEST, LATEST = 1970, 9990
"""Years that a moment may be in: those of the epoch, and room for what is added to them."""


def zone_named(name: str) -> ZoneInfo:
    """The zone of an IANA or Rails name. Raises :class:`ValueError` that names it."""
    try:
        return ZoneInfo(RAILS.get(name, name))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(f"Time zone {name} not supported") from None


def parse_moment(text: str, zone: ZoneInfo) -> float:
    """``2012-01-02 10:11:12`` in ``zone``, or ISO 8601 with an offset of its own, in seconds since the epoch.

    Raises :class:`ValueError`.
    """
    written = text.strip().replace("/", "-")
    try:
        if not written.isascii():
            raise ValueError
        moment = datetime.fromisoformat(written)
        if not EARLIEST <= moment.year <= LATEST:
            raise ValueError
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text[:100]!r} is no date; for example 2012-01-02 10:11:12") from None


def iso(moment: float) -> str:
    """ISO 8601 in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
