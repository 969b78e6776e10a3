"""The page that `up` prints: what runs where, ending in three lines to paste."""

from __future__ import annotations

from grayscale.up.stack import Stack


def page(stack: Stack) -> str:
    """Plain text; the last three lines work in a shell as they stand."""
    rows = {
        "relay": f"{stack.url}  (callers: any OpenAI client; operators: {stack.url}/admin)",
        "Prefect": f"{stack.prefect_url}  (runs, forms, schedules; ready in about 20 s)",
        "settings": str(stack.config or "none: four sample models, answered by a test upstream"),
        "data": str(stack.data_dir),
        "logs": str(stack.data_dir / "logs"),
    }
    lines = [f"  {name:<9} {value}" for name, value in rows.items()]
    if stack.config is None:
        lines += [
            "",
            "No provider is called. For real ones: grayscale init, then edit grayscale.yaml.",
        ]
    if stack.made_key is not None:
        lines += ["", f"Admin key, shown this once (kept in {stack.key_file}): {stack.made_key}"]
    return "\n".join(
        [
            "Grayscale is up. Ctrl-C ends it; the next start goes on from here.",
            "",
            *lines,
            "",
            f"export GRAYSCALE_URL={stack.url}",
            f'export GRAYSCALE_API_KEY="{stack.key_in_shell}"',
            'curl -s "$GRAYSCALE_URL/models" -H "Authorization: Bearer $GRAYSCALE_API_KEY"',
        ]
    )
