"""The tutorial's code: as it was printed, repaired, and aimed at a relay.

`printed/` holds every block as the text shows it: indentation lost, the `#` of comment lines lost,
curl headers with their quotes in the wrong place. `files/` holds the same blocks repaired, by
nothing but `repaired` below allows. The base URL and the key stay as printed in both, and are
replaced when a block runs (`aimed`).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
FILES = HERE / "files"
PRINTED = HERE / "printed"
NAMES = sorted(path.name for path in FILES.iterdir() if path.is_file())
BASE_URL = "https://api.holysheep.ai/v1"
KEY = "YOUR_HOLYSHEEP_API_KEY"

PROSE = {
    "connection-test.sh": (2, 5),
    "error-1-authentication.sh": (6, 7, 8),
    "error-2-model-not-found.sh": (4, 5, 6, 7, 8),
    "error-4-version-header.sh": (4, 5, 6, 7),
    "error-5-rollback.sh": (4, 5, 6),
    "error_3_rate_limit.py": (18,),
    "grayscale_router.py": (68,),
    "manual-rollback.sh": (2, 5, 18),
    "monitor.sh": (2, 3, 8, 14, 20),
    "pinned-model.sh": (2,),
    "version-header.sh": (2, 12),
}
"""Lines (counted from 1) that were comments, and have their `#` again."""
_HEADER = re.compile(r'^-H "(X-[A-Za-z-]+)": "([^"]*)" \\$')


def printed(name: str) -> str:
    """A block as the tutorial shows it."""
    return (PRINTED / f"{name}.txt").read_text(encoding="utf-8")


def repaired(name: str) -> str:
    """The printed block with the allowed repairs, but for indentation."""
    lines = printed(name).splitlines()
    for number in PROSE.get(name, ()):
        lines[number - 1] = "# " + lines[number - 1]
    return "".join(_HEADER.sub(r'-H "\1: \2" \\', line) + "\n" for line in lines)


def unindented(text: str) -> str:
    """The text with every line moved to the left margin."""
    return "".join(line.lstrip(" ") + "\n" for line in text.splitlines())


def aimed(text: str, *, url: str, key: str) -> str:
    """The text with a base URL and a key that exist."""
    return text.replace(BASE_URL, url).replace(KEY, key)


def curl_commands(text: str) -> Iterator[str]:
    """Each curl command of a block, with its continuation lines and its quoted body."""
    lines = iter(text.splitlines())
    for line in lines:
        if not line.startswith("curl "):
            continue
        command = [line]
        while command[-1].endswith("\\") or "\n".join(command).count("'") % 2:
            command.append(next(lines))
        yield "\n".join(command)


def json_values(text: str) -> list[dict[str, object]]:
    """Every JSON object in what a script printed."""
    found, start, decoder = [], 0, json.JSONDecoder()
    while (start := text.find("{", start)) >= 0:
        try:
            value, start = decoder.raw_decode(text, start)
        except json.JSONDecodeError:
            start += 1
        else:
            found.append(value)
    return found
