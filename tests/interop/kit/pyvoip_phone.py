"""pyVoIP as a telephone, in a process of its own (it is GPL-3: nothing here is imported by anything).

``python pyvoip_phone.py SERVER PORT USER PASSWORD MY_PORT NUMBER SOUND.raw HEARD.raw SECONDS``: registers,
calls NUMBER, sends SOUND (unsigned 8-bit linear, 8 kHz, which is pyVoIP's own format), writes what it
heard, and reports its state as words on stdout, one a line.
"""

import sys
import time
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

from pyVoIP.VoIP import CallState, VoIPPhone  # noqa: E402 - after the warnings of its imports are off


def main() -> int:
    server, port, user, password, my_port, number, sound, heard, seconds = sys.argv[1:]
    phone = VoIPPhone(
        server, int(port), user, password, myIP="127.0.0.1", sipPort=int(my_port), rtpPortLow=15000, rtpPortHigh=15998
    )
    phone.sip.register_timeout = 3
    phone.start()
    try:
        deadline = time.monotonic() + 10
        while "REGISTERED" not in str(phone.get_status()):
            if time.monotonic() > deadline:
                say("not registered")
                return 1
            time.sleep(0.05)
        say("registered")
        return talk(phone, number, sound, heard, float(seconds))
    finally:
        phone.stop()


def talk(phone: VoIPPhone, number: str, sound: str, heard: str, seconds: float) -> int:
    call = phone.call(number)
    deadline = time.monotonic() + 10
    while call.state == CallState.DIALING and time.monotonic() < deadline:
        time.sleep(0.02)
    if call.state != CallState.ANSWERED:
        say(f"not answered: {call.state}")
        return 1
    say("answered")
    call.write_audio(Path(sound).read_bytes())
    deadline = time.monotonic() + seconds
    with Path(heard).open("wb") as file:
        while call.state == CallState.ANSWERED and time.monotonic() < deadline:
            file.write(call.read_audio(160, blocking=True))
    if call.state == CallState.ANSWERED:
        say("hanging up")
        call.hangup()
        return 0
    say("ended by the far end")
    return 0


def say(word: str) -> None:
    print(word, flush=True)


if __name__ == "__main__":
    sys.exit(main())
