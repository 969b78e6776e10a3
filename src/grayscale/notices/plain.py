"""Text from outside, made harmless for the place where it is shown."""

from __future__ import annotations

import re
import unicodedata

_ELLIPSIS = "…"
_MASS_MENTION = re.compile(r"@(?=(?:here|channel|everyone|group)\b)", re.IGNORECASE)
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def one_line(text: str, *, limit: int) -> str:
    """The text on one line, without control, direction-changing and half characters."""
    if text.isprintable():
        return shortened(" ".join(text.split()), limit=limit)
    visible = (
        " " if character.isspace() or unicodedata.category(character) == "Cc" else character
        for character in text
        if unicodedata.category(character) not in {"Cf", "Cs", "Co", "Cn"}
    )
    return shortened(" ".join("".join(visible).split()), limit=limit)


def shortened(text: str, *, limit: int) -> str:
    """The text, or as much of its beginning as fits before an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1] + _ELLIPSIS


def slack_escaped(text: str, *, limit: int) -> str:
    """The text as Slack mrkdwn that mentions nobody and links nowhere.

    The limit holds after escaping, and no entity is cut in two.
    """
    # Slack still turns a bare @here into a mention in some clients: a word joiner takes it apart.
    text = _MASS_MENTION.sub("@\u2060", text)
    pieces = [_ESCAPES.get(character, character) for character in text]
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    kept, length = [], len(_ELLIPSIS)
    for piece in pieces:
        length += len(piece)
        if length > limit:
            break
        kept.append(piece)
    return "".join(kept) + _ELLIPSIS
