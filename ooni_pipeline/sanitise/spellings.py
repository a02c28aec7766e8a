"""The closed list of spellings in which an address or a fingerprint is looked for.

Everybody's, bridges and the volunteer's own alike:

- IPv4 as four numbers, and as the last of an IPv6 address (mapped), in either notation;
- IPv6 compressed, in full, with and without leading zeros, with any run of zeros as ``::``, its end as four
  numbers, in either case;
- fingerprints in either case, in one piece or as ten groups of four (``$`` before, ``~nick`` behind);
- all of these with their separators percent-encoded, once or more often, or every character of them, also
  as JSON may escape it (:data:`PERCENT_ENCODED` finds candidates);
- all of these in base64, wherever in the text they stand (:data:`IN_BASE64` finds candidates).

JSON inside strings needs nothing more: nobody has to escape these characters there.

The volunteer's own addresses in these as well: numbers with leading zeros; as an integer and in hexadecimal
in both byte orders; with dashes for separators; reversed, as in host names and below ``ip6.arpa``.

The expressions are such as re2 understands them, to be matched in any case.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable

#: What stands between a reversed address and the rest of the host name, and the first letter of that rest.
HOST_NAME_GOES_ON = r"[.-][a-z_]"


def own_address_expression(address: str) -> bytes:
    """Every way in which the volunteer's own address is written."""
    ip = ipaddress.ip_address(address)
    forms = [f"{int(ip)}", f"{_swapped(ip)}", f"{int.from_bytes(ip.packed, 'big'):0{2 * len(ip.packed)}x}"]
    forms.append(ip.packed[::-1].hex())
    if isinstance(ip, ipaddress.IPv4Address):
        high, low = divmod(int(ip), 1 << 16)
        forms.append(f"ffff:0{{0,3}}{high:x}:0{{0,3}}{low:x}")
        numbers = [f"0{{0,2}}{number}" for number in ip.packed]
        forms += [r"\.".join(numbers), "-".join(numbers), "-".join(reversed(numbers))]
        forms.append(r"\.".join(reversed(numbers)) + HOST_NAME_GOES_ON)
    else:
        forms += _ipv6_forms(ip, "[:-]")
        forms.append(r"\.".join(reversed(ip.exploded.replace(":", ""))))
    return "|".join(dict.fromkeys(forms)).encode()


def own_numbers(address: str) -> set[int]:
    """The volunteer's own address as numbers, in both byte orders."""
    ip = ipaddress.ip_address(address)
    return {int(ip), _swapped(ip)}


def _ipv6_forms(ip: ipaddress.IPv6Address, colon: str) -> list[str]:
    values = [int(group, 16) for group in ip.exploded.split(":")]
    groups = [f"0{{0,{4 - len(f'{value:x}')}}}{value:x}" for value in values]
    ends = [groups, [*groups[:6], str(ipaddress.IPv4Address(ip.packed[12:])).replace(".", r"\.")]]
    forms = []
    for parts in ends:
        forms.append(colon.join(parts))
        for start in range(len(parts)):
            for end in range(start + 1, len(parts) + 1):
                if any(values[start:end]) or (end == 7 and len(parts) == 7):
                    break
                forms.append(colon.join(parts[:start]) + colon * 2 + colon.join(parts[end:]))
    return forms


def _swapped(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return int.from_bytes(ip.packed, "little")


def _base64_of(characters: bytes) -> Callable[[int], str]:
    """For a text of these characters: which letters there are at each of the four places of its base64."""
    places: list[set[str]] = [set(), set(), set(), set()]
    for one in characters:
        for two in characters:
            for three in characters:
                for place, letter in zip(places, base64.b64encode(bytes((one, two, three))), strict=True):
                    place.add(chr(letter))
    return lambda place: "[" + "".join(sorted(places[place % 4])) + "]"


def _in_base64() -> bytes:
    letter = _base64_of(b"0123456789abcdefABCDEF.: ")
    group = letter(0) + letter(1) + letter(2) + letter(3)
    return f"(?-i:(?:{group}){{2,}}|{letter(2)}{letter(3)}{group}{letter(0)}{letter(1)})".encode()


#: Where the base64 of an address or a fingerprint may stand: at least eight letters that code nothing but
#: hexadecimal digits, dots, colons and spaces. (The shortest address, ``1.1.1.1``, has as many at any of the
#: three alignments.) A search for the base64 of every bridge would be exact and far slower: 3 MB/s in re2.
IN_BASE64 = _in_base64()

_ENCODED = r"(?:%(?:25)*|\\+u00)"
#: Where a percent-encoded one may stand: a run of its characters of which one at least is encoded. (Before it
#: no more than an address has: else every number is read to the end of the text, for what may come.)
PERCENT_ENCODED = (rf"[0-9a-f.:]{{0,45}}(?:{_ENCODED}(?:2e|3[0-9a]|20|[46][1-6])[0-9a-f.: ]*)+").encode()
#: The shortest, 1%2E1.1.1, has as many characters.
SHORTEST_ENCODED = 9
