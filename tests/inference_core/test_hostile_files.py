# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that once crashed, hung or exhausted memory are rejected; a second of fuzzing per kind finds no more."""

import base64
import json
import shutil
from pathlib import Path

import pytest

from inference_core.hand_model.mano_file import read_mano
from inference_core.shared.errors import DuohandError, HandModelError, TakeError, WeightsError
from inference_core.shared.take import load_take
from inference_core.two_hand.card import CARD_FILE, read_card
from inference_core.two_hand.checkpoint import read_checkpoint
from tests.data.mano.official_layout import official_pickle, random_hand
from tests.shared_files import case_files
from tools import fuzz


@pytest.mark.parametrize("pattern", ["*.npz", "net/*.pth", "net/*/card.json", "mano/*"])
def test_known_hostile_files_are_refused(tmp_path: Path, pattern: str) -> None:
    files = case_files("hostile", pattern)
    for file in files:
        if file.suffix == ".npz":
            with pytest.raises(TakeError):
                load_take(file)
        elif file.suffix == ".pth":
            with pytest.raises(WeightsError):
                read_checkpoint(file)
        elif file.name == CARD_FILE:
            with pytest.raises(WeightsError):
                read_card(file)
        else:
            shutil.copyfile(file / "MANO_LEFT.pkl", tmp_path / "MANO_LEFT.pkl")
            (tmp_path / "MANO_RIGHT.pkl").write_bytes(official_pickle(random_hand(2)))
            with pytest.raises(HandModelError):
                read_mano(tmp_path)


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_damaged_files_raise_no_foreign_error(tmp_path: Path, kind: str) -> None:
    make, attempt = fuzz.KINDS[kind]
    whole, path = make(), tmp_path / "input"
    for number in range(60):
        path.write_bytes(fuzz.damaged(whole, number))
        try:
            attempt(path)
        except DuohandError:
            continue


CORPUS = json.loads((Path(__file__).parents[1] / "data" / "hostile_corpus.json").read_text())


@pytest.mark.parametrize("kind", CORPUS)
def test_the_hostile_corpus_raises_no_foreign_error(tmp_path: Path, kind: str) -> None:
    """What a reader once stumbled over, or might; `unbroken` of a kind are those that it may read."""
    read: list[str] = []
    for name, entry in CORPUS[kind]["inputs"].items():
        text = entry.get("text")
        data = base64.b64decode(entry["base64"]) if text is None else text.encode("utf-8", "surrogateescape")
        (tmp_path / "input").write_bytes(data)
        try:
            fuzz.KINDS[kind][1](tmp_path / "input")
        except DuohandError:
            continue
        read.append(name)
    assert sorted(read) == CORPUS[kind]["unbroken"]
