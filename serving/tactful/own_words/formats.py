"""What a reply may be said to be; kept apart, for the command line knows it from its start."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["auto", "text", "email", "html"]
"""What a reply is: ``auto`` looks for the marks of mail and HTML, ``text`` is read as it stands,
``email`` is the plain text of a mail, ``html`` is HTML, of a mail too."""

FORMATS: tuple[Format, ...] = get_args(Format)
