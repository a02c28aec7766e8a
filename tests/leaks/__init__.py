"""A second, independent search for what must not be public: it shares no code with the pipeline.

``python -m tests.leaks --help`` says how it is used. A test looks with ``ast`` that no module here but the
tests themselves imports the pipeline: a fault that both had would be seen by neither.

The closed list of spellings that the sanitiser removes and this search demands (README, "What is removed,
what is kept", says the same). Addresses, of bridges and of volunteers:

- IPv4 as four numbers; IPv4 in IPv6 (``::ffff:192.0.2.1``, ``::ffff:c000:201``), compressed or in full;
- IPv6 compressed (any run of zeros as ``::``), in full, with and without leading zeros, its end as four
  numbers, in either case;
- with whatever port, brackets, zone or punctuation around it.

Fingerprints: 40 hexadecimal digits in either case, or ten groups of four with a space, ``+`` or ``%20``
between them; ``$`` before, ``~nick`` or ``=nick`` behind.

All of these also:

- in JSON in strings, however deep;
- with any of its characters percent-encoded (``%2E``), once or more often (``%252E``), or escaped as JSON
  allows it (``\\u002e``), at any depth;
- in base64 of either alphabet, at each of the three alignments: of the text as it is above, in clear.

A volunteer's address moreover, in clear and in JSON: numbers with leading zeros; as an integer and in
hexadecimal digits, in both byte orders, as text or as a number; with dashes for dots or colons; reversed, in
the name of a host and below ``ip6.arpa``; as four or sixteen bytes of a raw packet.

Not on it, and found by neither: encodings over each other (percent signs in base64, base64 in base64), the
base64 of a fingerprint's 20 bytes, line breaks within a secret, other encodings and ciphers.
"""
