# SPDX-License-Identifier: GPL-3.0-or-later
"""British spelling in docs, docstrings and comments; names that belong to libraries stand in code."""

import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("inference_core", "blender_addon", "training", "tests", "benchmarks", "tools", "examples", "docs")
AMERICAN = re.compile(
    r"\b(?:colors?|(?:re)?center(?:s|ed)?|gray|behavior\w*|(?:milli)?meters?|catalog|favor\w*|analyz\w+"
    r"|(?:normal|optim|minim|maxim|initial|synchron|recogn|raster|parameter|quant|serial|visual|general)iz\w+)\b"
)
# `code`, addresses and names: a.b, a_b, a(b).
CODE = re.compile(r"`[^`]*`|\S*(?:[/_=()]|\w\.\w)\S*|^ {4,}\S.*$", re.MULTILINE)


def prose_of(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return "\n".join(
        re.sub("^ +", "", token.string, flags=re.MULTILINE)
        for token in tokens
        if token.type == tokenize.COMMENT or token.string.startswith('"""')
    )


@pytest.mark.parametrize("folder", [*FOLDERS, "."])
def test_prose_is_spelt_in_british_english(folder: str) -> None:
    paths = ROOT.glob("*.md") if folder == "." else (ROOT / folder).rglob("*.*")
    texts = {path: prose_of(path) for path in paths if path.suffix in (".py", ".md")}
    assert texts
    found = {path: AMERICAN.findall(CODE.sub("", text)) for path, text in texts.items()}
    assert not {str(path.relative_to(ROOT)): words for path, words in found.items() if words}
