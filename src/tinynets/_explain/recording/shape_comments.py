"""What counts as a shape comment, for `tn.explain` and `tinynets comments`: `# [batch, 256]`, `# (B, 256)`,
`# x: [batch, 256]`.
"""

from __future__ import annotations

import re

_IDENTIFIER_OR_NUMBER = r"[\w+*/().\-]+"
SHAPE_COMMENT = re.compile(
    rf"#\s*(?:\w+\s*:\s*)?(?:\[(?P<square>{_IDENTIFIER_OR_NUMBER}(?:[,\s]+{_IDENTIFIER_OR_NUMBER})*)\]"
    rf"|\((?P<round>[\w*]+(?:\s*,\s*[\w*]+)+,?)\)\s*$)"
)


def shape_comment(comment: str) -> str:
    """Return the axis string of a comment such as `# [batch, 256]` or `# (B, 256)`, or `""`."""
    found = SHAPE_COMMENT.match(comment)
    if found is None:
        return ""
    text = found["square"] or found["round"] or ""
    return " ".join(part for part in re.split(r"[,\s]+", text) if part)
