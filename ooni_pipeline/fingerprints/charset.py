"""Text from the bytes of an HTTP response.

Old block pages come in the character sets of their country, and the patterns are text. Which codec may
run is a list of ours: Python would happily look up ``punycode`` or ``zlib`` by a name that a web page
chose, and those are slow or no character sets at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: A page declares its charset near its beginning; browsers look at 1,024 bytes, we are a bit kinder.
META_WITHIN_BYTES = 4096

# Codec -> the labels that pages use for it, as browsers read them (WHATWG Encoding Standard, section
# 4.2): the larger set under the smaller one's name, because pages that say the one use the other.
_LABELS = {
    "utf-8": "utf-8 utf8",
    "utf-16-le": "utf-16 utf-16le",
    "utf-16-be": "utf-16be",
    "cp1252": "windows-1252 cp1252 iso-8859-1 iso8859-1 latin1 latin-1 us-ascii ascii",
    "cp1250": "windows-1250 cp1250",
    "cp1251": "windows-1251 cp1251",
    "cp1253": "windows-1253 cp1253",
    "cp1254": "windows-1254 cp1254 iso-8859-9 iso8859-9 latin5",
    "cp1255": "windows-1255 cp1255",
    "cp1256": "windows-1256 cp1256",
    "cp1257": "windows-1257 cp1257",
    "cp1258": "windows-1258 cp1258",
    "cp866": "ibm866 cp866",
    "cp874": "windows-874 tis-620 iso-8859-11",
    "koi8-r": "koi8-r koi8",
    "koi8-u": "koi8-u koi8-ru",
    "mac-cyrillic": "x-mac-cyrillic",
    "iso8859-2": "iso-8859-2 iso8859-2 latin2",
    "iso8859-3": "iso-8859-3 iso8859-3 latin3",
    "iso8859-4": "iso-8859-4 iso8859-4 latin4",
    "iso8859-5": "iso-8859-5 iso8859-5",
    "iso8859-6": "iso-8859-6 iso8859-6",
    "iso8859-7": "iso-8859-7 iso8859-7",
    "iso8859-8": "iso-8859-8 iso-8859-8-i iso8859-8",
    "iso8859-10": "iso-8859-10 iso8859-10 latin6",
    "iso8859-13": "iso-8859-13 iso8859-13",
    "iso8859-14": "iso-8859-14 iso8859-14",
    "iso8859-15": "iso-8859-15 iso8859-15",
    "iso8859-16": "iso-8859-16",
    "gb18030": "gb18030 gbk gb2312 x-gbk",
    "big5hkscs": "big5 big5-hkscs x-x-big5",
    "cp949": "euc-kr ks_c_5601-1987 ksc5601 cp949 windows-949",
    "cp932": "shift_jis shift-jis sjis windows-31j",
    "euc_jp": "euc-jp x-euc-jp",
    "iso2022_jp": "iso-2022-jp",
}
CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

_BYTE_ORDER_MARKS = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# Neither expression can look twice at one byte: the run after <meta ends at the next tag.
_META = re.compile(rb"<meta[^<>]{0,1024}?charset\s{0,8}=\s{0,8}[\"']?\s{0,8}([\w.:-]{1,40})", re.IGNORECASE)
_PARAMETER = re.compile(r"charset\s{0,8}=\s{0,8}[\"']?\s{0,8}([\w.:-]{1,40})", re.IGNORECASE | re.ASCII)


def decode(data: bytes, content_types: Iterable[str] = ()) -> str:
    """The text of a response body; never raises.

    UTF-8 if the bytes are that, whatever they claim. Else what a byte order mark, the ``Content-Type``
    values or a ``<meta charset>`` name, first known one wins, with U+FFFD for what does not fit. Else
    Latin-1, which takes every byte, so that the ASCII part of a pattern still finds its place.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(_declared(data, content_types) or "latin-1", "replace")


def _declared(data: bytes, content_types: Iterable[str]) -> str | None:
    for mark, codec in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return codec
    for value in content_types:
        if (said := _PARAMETER.search(value[:1024])) and (known := CODECS.get(said[1].lower())):
            return known
    for meta in _META.finditer(data[:META_WITHIN_BYTES]):
        if known := CODECS.get(meta[1].decode("latin-1").lower()):
            return known
    return None
