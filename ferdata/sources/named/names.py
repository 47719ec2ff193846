"""What the file names of JAFFE and KDEF say: who is shown, with which expression, and the rest.

In: the stem of a file's name. Out: a :class:`Named`, or None for a name that is not of the set.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ferdata.labels import JAFFE, KDEF

__all__ = ["CUT_NAMES", "JAFFE_NAME", "KDEF_NAME", "Named", "parse_jaffe", "parse_kdef"]

JAFFE_NAME = "KA.AN1.39.tiff"
KDEF_NAME = "AF01AFS.JPG"
"""An example of each, for error texts."""

_JAFFE_STEM = re.compile(rf"([A-Z]{{2}})[._-]({'|'.join(JAFFE)})(\d)[._-](\d{{1,3}})", re.IGNORECASE)
_KDEF_STEM = re.compile(rf"([AB])([FM])(\d\d)({'|'.join(KDEF)})(FL|FR|HL|HR|S)", re.IGNORECASE)
CUT_NAMES = {"AF31V": "AF31SAHL", "AM31H": "AM31SUHR"}
"""Two names of KDEF's release have lost their expression; in Swedish, vänster is left and höger is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What one name says.

    Attributes:
        person: As the set writes it, the same in every session.
        class_name: AffectNet's name of the expression.
        code: The expression as the set writes it.
        extra: The rest.
        proper: The stem that the release means, in its own case.
    """

    person: str
    class_name: str
    code: str
    proper: str
    extra: Mapping[str, str | int] = field(default_factory=dict)


def parse_jaffe(stem: str) -> Named | None:
    """Return what a stem like ``KA.AN1.39`` says; case, spaces and an extension inside do not matter."""
    found = _JAFFE_STEM.fullmatch(re.sub(r"\s+|\.tiff?$", "", stem, flags=re.IGNORECASE))
    if found is None:
        return None
    person, code, take, number = (part.upper() for part in found.groups())
    return Named(
        person=person,
        class_name=JAFFE[code],
        code=code,
        proper=f"{person}.{code}{take}.{number}",
        extra={"take": int(take), "number": int(number)},
    )


def parse_kdef(stem: str) -> Named | None:
    """Return what a stem like ``AF01AFS`` says; a person is in both sessions, so its letter is not part of the name."""
    plain = re.sub(r"\s+", "", stem).upper()
    found = _KDEF_STEM.fullmatch(CUT_NAMES.get(plain, plain))
    if found is None:
        return None
    session, sex, number, code, angle = found.groups()
    return Named(
        person=f"{sex}{number}",
        class_name=KDEF[code],
        code=code,
        proper=found[0],
        extra={"session": session, "sex": "female" if sex == "F" else "male", "angle": angle},
    )
