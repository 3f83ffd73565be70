"""What people are told about an AWS that said no: our own sentence per problem, never AWS's text.

AWS's sentences name roles, ARNs and internals; they go to the log, to alerts and to who may read
operations. Pure.
"""

from typing import Final

_KNOWN: Final = "the operators of JIT have been told"
_AGAIN: Final = "it is tried again"

_SENTENCES: Final = {
    "denied": f"AWS does not let JIT give this access; {_KNOWN}",
    "quota": f"a limit of AWS is used up; {_KNOWN}",
    "invalid": f"AWS does not accept this assignment; {_KNOWN}",
    "kms": f"Identity Center's encryption key cannot be used; {_KNOWN}",
    "not_found": "AWS does not know the user, the account or the permission set any more",
    "failed": f"AWS accepted the assignment and could not make it; {_KNOWN}",
    "not_visible": f"AWS accepted the assignment and does not show it; {_KNOWN}",
    "throttled": f"AWS is asked for more than it allows at the moment; {_AGAIN}",
    "slots_full": f"AWS is asked for more than it allows at the moment; {_AGAIN}",
    "conflict": f"AWS is busy with another change; {_AGAIN}",
    "paused": "nobody is given access at the moment: it was paused, and begins when that is over",
    "transient": f"AWS could not be reached or has a fault; {_AGAIN}",
}


def sentence_of(code: str) -> str:
    """For the word the driver has for a problem; also where there is none."""
    return _SENTENCES.get(code, f"JIT waits for AWS or for its policy; {_AGAIN}")
