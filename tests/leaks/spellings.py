"""Writing secrets in every spelling of the list: what canary reports hold, and what the search must find.

The list is in the docstring of :mod:`tests.leaks`.
"""

from __future__ import annotations

import base64
import ipaddress
import json


def address_spellings(address: str) -> dict[str, str]:
    """Every way in which a bridge's address may be written, by a name."""
    ip = ipaddress.ip_address(address)
    forms = _v4(ip) if isinstance(ip, ipaddress.IPv4Address) else _v6(ip)
    return {**forms, **_encoded(str(ip))}


def own_spellings(address: str) -> dict[str, str]:
    """Those, and what an address of a volunteer is looked for in beside them."""
    ip = ipaddress.ip_address(address)
    forms = address_spellings(address)
    raw = ip.packed
    forms |= {
        "integer": f"number {int(ip)}",
        "integer reversed": f"number {int.from_bytes(raw, 'little')}",
        "hex": f"0x{raw.hex()}",
        "hex without 0x": f"h-{raw.hex().upper()}.isp.example",
        "hex reversed": f"0x{raw[::-1].hex().upper()}",
    }
    if isinstance(ip, ipaddress.IPv4Address):
        numbers = str(ip).split(".")
        padded = [f"{int(number):03d}" for number in numbers]
        return forms | {
            "dashed": f"host-{'-'.join(numbers)}.isp.example",
            "padded": ".".join(padded),
            "padded dashed": f"host-{'-'.join(padded)}.isp.example",
            "reversed": f"{'.'.join(reversed(numbers))}.in-addr.arpa",
            "reversed dashed": f"dsl-{'-'.join(reversed(numbers))}.isp.example",
        }
    return forms | {
        "dashed": f"{ip.compressed.replace(':', '-')}.ipv6.example",
        "dashed in full": f"{ip.exploded.replace(':', '-')}.ipv6.example",
        "ip6.arpa": ip.reverse_pointer,
    }


def fingerprint_spellings(fingerprint: str) -> dict[str, str]:
    """Every way in which a fingerprint may be written, by a name."""
    digits = fingerprint.upper()
    fours = " ".join(digits[at : at + 4] for at in range(0, 40, 4))
    return {
        "upper": digits,
        "lower": digits.lower(),
        "dollar": f"${digits}",
        "nick": f"${digits}~nick",
        "named": f"${digits}=nick",
        "fours": fours,
        "fours lower": fours.lower(),
        "fours percent": fours.replace(" ", "%20"),
        **_in_base64(digits),
        **_in_json(digits),
    }


def _v4(ip: ipaddress.IPv4Address) -> dict[str, str]:
    groups = ip.packed.hex()
    return {
        "plain": str(ip),
        "with a port": f"{ip}:443",
        "mapped": f"::ffff:{ip}",
        "mapped upper": f"::FFFF:{ip}",
        "mapped hex": f"::ffff:{groups[:4]}:{groups[4:]}",
        "mapped in full": f"0000:0000:0000:0000:0000:ffff:{groups[:4]}:{groups[4:]}",
        "mapped in full, dotted": f"0:0:0:0:0:ffff:{ip}",
        "mapped percent": f"%3A%3Affff%3A{ip}",
    }


def _v6(ip: ipaddress.IPv6Address) -> dict[str, str]:
    groups = ip.exploded.split(":")
    short = [f"{int(group, 16):x}" for group in groups]
    forms = {
        "plain": str(ip),
        "with a port": f"[{ip}]:443",
        "upper": str(ip).upper(),
        "in full": ip.exploded,
        "in full, upper": ip.exploded.upper(),
        "no zeros": ":".join(short),
        "some zeros": ":".join([groups[0], *short[1:7], groups[7]]),
        "end as four numbers": f"{':'.join(short[:6])}:{ipaddress.IPv4Address(ip.packed[12:])}",
        "zone": f"{ip}%eth0",
    }
    for start in range(8):
        for end in range(start + 1, 9):
            if any(int(group, 16) for group in groups[start:end]):
                break
            forms[f"zeros {start} to {end}"] = f"{':'.join(short[:start])}::{':'.join(short[end:])}"
    return forms


def _encoded(text: str) -> dict[str, str]:
    percent = text.replace(".", "%2E").replace(":", "%3A")
    everything = "".join(f"%{ord(letter):02x}" for letter in text)
    return {
        "percent": percent,
        "percent lower": percent.lower(),
        "percent twice": percent.replace("%", "%25"),
        "percent everything": everything,
        **_in_base64(text),
        **_in_json(text),
    }


def _in_base64(text: str) -> dict[str, str]:
    forms = {}
    for before in ("", "x", "xy"):
        raw = f"{before} {text}, and more" if before else text
        forms[f"base64 behind {len(before)}"] = base64.b64encode(raw.encode()).decode()
    forms["base64url"] = base64.urlsafe_b64encode(f"?{text}?~\u00ff".encode()).decode()
    forms["base64 glued"] = f"data/{forms['base64 behind 0']}"
    return forms


def _in_json(text: str) -> dict[str, str]:
    once = json.dumps({"address": f"\n{text}\u00e9", "x": f"\\{text}"})
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in text)
    return {
        "JSON": once,
        "JSON twice": json.dumps([once]),
        "JSON escapes": f'{{"x":"{escaped}"}}',
        "JSON escapes twice": json.dumps([f'"{escaped}"']),
        "JSON four times": json.dumps([json.dumps([json.dumps([once])])]),
    }
