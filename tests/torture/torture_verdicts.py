"""One line per message of RFC 4475: what the parser says, what a user agent answers, and why."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    section: str
    parser: int | str
    """``ok``: understood. A status: refused with it, statelessly. ``drop``: refused in silence."""
    answer: int | str | None
    """What our endpoint sends: a status, ``none``, or ``None`` where it depends on configuration."""
    why: str


VERDICTS = {
    # 3.1.1 valid messages
    "wsinv": Verdict(
        "3.1.1.1", "ok", 481, "folding, compact forms, odd case are legal; its To tag is no dialog of ours"
    ),
    "intmeth": Verdict("3.1.1.2", "ok", 501, "every legal character; a method that nobody implements"),
    "esc01": Verdict("3.1.1.3", "ok", 100, "escapes are legal in user, URI headers and parameters"),
    "escnull": Verdict("3.1.1.4", "ok", None, "escaped zeros are user text; they stay escaped"),
    "esc02": Verdict("3.1.1.5", "ok", 501, "% is a legal token character: no escape of REGISTER, an unknown method"),
    "lwsdisp": Verdict("3.1.1.6", "ok", 200, "no space needed between display name and <"),
    "longreq": Verdict("3.1.1.7", "ok", 100, "long values are legal"),
    "dblreq": Verdict("3.1.1.8", "ok", None, "bytes beyond Content-Length of a datagram are ignored"),
    "semiuri": Verdict("3.1.1.9", "ok", 200, "; and = are user text before the @"),
    "transports": Verdict("3.1.1.10", "ok", 200, "unknown transports in Via are legal"),
    "mpart01": Verdict("3.1.1.11", "ok", 405, "a binary multipart body is nobody's business here; we have no MESSAGE"),
    "unreason": Verdict("3.1.1.12", "ok", "none", "UTF-8 in a reason phrase; a response to nothing of ours"),
    "noreason": Verdict("3.1.1.13", "ok", "none", "an empty reason phrase is legal"),
    # 3.1.2 invalid messages
    "badinv01": Verdict("3.1.2.1", 400, 400, "empty parameters and list elements in Via"),
    "clerr": Verdict("3.1.2.2", 400, 400, "Content-Length beyond the datagram"),
    "ncl": Verdict("3.1.2.3", 400, 400, "negative Content-Length"),
    "scalar02": Verdict(
        "3.1.2.4", 400, 400, "CSeq beyond 32 bits; oversized Max-Forwards or Expires alone count as absent"
    ),
    "scalarlg": Verdict("3.1.2.5", "drop", "none", "a response with a CSeq beyond 32 bits"),
    "quotbal": Verdict("3.1.2.6", 400, 400, "unbalanced quote in To"),
    "ltgtruri": Verdict("3.1.2.7", 400, 400, "brackets around the Request-URI: refused, as always allowed"),
    "lwsruri": Verdict("3.1.2.8", 400, 400, "space inside the Request-URI: refused, as always allowed"),
    "lwsstart": Verdict("3.1.2.9", 400, 400, "several spaces in the request line: refused, as allowed"),
    "trws": Verdict("3.1.2.10", 400, 400, "spaces at the end of the request line: refused, as allowed"),
    "escruri": Verdict("3.1.2.11", 400, 400, "headers in the Request-URI: refused, as allowed; never obeyed"),
    "baddate": Verdict("3.1.2.12", "ok", 100, "nothing here depends on Date: it is ignored, as allowed"),
    "regbadct": Verdict("3.1.2.13", 400, 400, "a Contact URI with ? must be in brackets"),
    "badaspec": Verdict("3.1.2.14", 400, 400, "spaces inside <>: refused, as allowed"),
    "baddn": Verdict("3.1.2.15", 400, 400, "unquoted comma in a display name: refused, as always allowed"),
    "badvers": Verdict("3.1.2.16", 505, 505, "SIP/7.0"),
    "mismatch01": Verdict("3.1.2.17", 400, 400, "CSeq names another method"),
    "mismatch02": Verdict("3.1.2.18", 501, 501, "the same with an unknown method: 501 is preferred to 400"),
    "bigcode": Verdict("3.1.2.19", "drop", "none", "a status of ten digits"),
    # 3.2 transaction layer
    "badbranch": Verdict("3.2.1", 400, 400, "a branch of nothing but the cookie: refused statelessly, as allowed"),
    # 3.3 application layer: well-formed for the parser unless it says otherwise
    "insuf": Verdict("3.3.1", 400, 400, "no Call-ID, From or To"),
    "unkscm": Verdict("3.3.2", "ok", 416, "unknown scheme in the Request-URI"),
    "novelsc": Verdict("3.3.3", "ok", 416, "a scheme that exists and is not SIP's"),
    "unksm2": Verdict("3.3.4", "ok", None, "unknown schemes in headers: a registrar refuses the To"),
    "bext01": Verdict("3.3.5", "ok", 420, "unknown extensions in Require"),
    "invut": Verdict("3.3.6", "ok", 415, "unknown Content-Type"),
    "regaut01": Verdict("3.3.7", "ok", None, "an unknown Authorization scheme is as if absent"),
    "multi01": Verdict("3.3.8", 400, 400, "several values of fields that have one"),
    "mcl01": Verdict("3.3.9", 400, 400, "two Content-Lengths"),
    "bcast": Verdict("3.3.10", "drop", "none", "a response with a second Via, to broadcast: an endpoint discards it"),
    "zeromf": Verdict("3.3.11", "ok", 200, "Max-Forwards 0 stops a proxy, not the user agent that is addressed"),
    "cparam01": Verdict("3.3.12", "ok", None, "without brackets a parameter is the header's"),
    "cparam02": Verdict("3.3.13", "ok", None, "within brackets a parameter is the URI's"),
    "regescrt": Verdict("3.3.14", "ok", None, "headers inside a Contact URI are part of it"),
    "sdp01": Verdict("3.3.15", "ok", None, "Accept without a type that we can make: the user answers 406"),
    # 3.4 backward compatibility
    "inv2543": Verdict("3.4.1", "ok", None, "RFC 2543: no branch, no From tag, no Max-Forwards, no Contact"),
}
