# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of files that are damaged: how a whole one is made, and what reads it.

Libraries are imported where they are needed: each kind runs in a process that has only its own.
"""

import json
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

_OPENCV_WRITES = ("png", "jpg", "tiff", "webp", "bmp")
_CODECS = {
    "mp4": "libx264",
    "matroska": "libx264",
    "avi": "mjpeg",
    "mpegts": "mpeg2video",
    "webm": "libvpx",
    "mov": "mjpeg",
}
_PIXELS = {"mjpeg": "yuvj420p", "apng": "rgb24"}

Attempt = Callable[[Path], object]


def _take() -> bytes:
    from inference_core.shared.take import save_take
    from tests.sample_take import sample_take

    with tempfile.TemporaryDirectory() as folder:
        save_take(sample_take(3), Path(folder) / "t.npz")
        return (Path(folder) / "t.npz").read_bytes()


def _read_take(path: Path) -> None:
    from inference_core.cli.take_report import facts, figures, remarks
    from inference_core.shared.take import load_take

    take = load_take(path)
    facts(take), figures(take), remarks(take)


def _card() -> bytes:
    from inference_core.two_hand.card import CARD_FILE, SHIPPED_FOLDER

    return (SHIPPED_FOLDER / CARD_FILE).read_bytes()


def _read_card(path: Path) -> None:
    from inference_core.two_hand.card import read_card

    read_card(path)


def _hand() -> bytes:
    from tests.data.mano.official_layout import official_pickle, random_hand

    return official_pickle(random_hand(1, vertices=8, faces=4))


def _read_hand(path: Path) -> None:
    import numpy as np

    from inference_core.hand_model.mano_file import read_mano_arrays

    read_mano_arrays(path.read_bytes(), "a file", np.array([1, 2, 3, 4, 5]))


def _checkpoint() -> bytes:
    import io

    import torch

    file = io.BytesIO()
    torch.save({"net": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}}, file)
    return file.getvalue()


def _read_checkpoint(path: Path) -> None:
    from inference_core.two_hand.checkpoint import read_checkpoint

    read_checkpoint(path)


def _tensors() -> bytes:
    import torch
    from safetensors.torch import save

    return save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)})


def _read_tensors(path: Path) -> None:
    from inference_core.runtime.tensor_file import read_tensors

    read_tensors(path)


def _request() -> bytes:
    from inference_core.shared.messages import CaptureRequest, encode_request

    request = CaptureRequest(
        "shot.mov", "t.npz", "p.mp4", "1:9", 24.0, 60.0, intrinsics_px=(1.0, 2.0, 3.0, 4.0)
    )
    return encode_request(request).encode()


def _read_messages(path: Path) -> None:
    from inference_core.shared.messages import ProtocolError, decode_message, decode_request

    line = path.read_bytes().decode("utf-8", "replace")
    try:
        decode_message(line)
    except ProtocolError:
        decode_request(line)


def _name() -> bytes:
    return b"shot_0001_v02.####%04d.png"


def _read_name(path: Path) -> None:
    from inference_core.shared.picture_sequences import find_pictures

    find_pictures(Path(path.read_bytes().decode("utf-8", "surrogateescape").replace("\0", "") or "x"))


def _picture(suffix: str) -> bytes:
    import cv2
    import numpy as np

    image = np.random.default_rng(0).integers(0, 255, (40, 48, 3), np.uint8)
    return cv2.imencode(suffix, cv2.GaussianBlur(image, (9, 9), 3))[1].tobytes()


def _exr() -> bytes:
    import numpy as np
    import OpenEXR

    half = np.linspace(0, 1, 40 * 48 * 3, dtype=np.float16).reshape(40, 48, 3)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with tempfile.TemporaryDirectory() as folder:
        with OpenEXR.File(header, {"RGB": half}) as file:
            file.write(f"{folder}/p.exr")
        return Path(folder, "p.exr").read_bytes()


def _dpx() -> bytes:
    """A DPX of 10 bits a channel: the parts of its header that are read, and one colour."""
    header = bytearray(2048)
    header[:8] = b"SDPX" + (2048).to_bytes(4, "big")
    header[768:780] = struct.pack(">2H2I", 0, 1, 48, 40)
    header[800:804] = bytes((50, 2, 2, 10))
    header[804:812] = struct.pack(">2HI", 1, 0, 2048)
    header[1628:1636] = struct.pack(">2I", 1, 1)
    return bytes(header) + struct.pack(">I", 0x5FA7D000) * (48 * 40)


def _read_picture(path: Path) -> None:
    from inference_core.footage.picture import read_picture
    from inference_core.footage.records import Limits

    read_picture(path, Limits())


def _movie(format: str, codec: str) -> bytes:
    import io

    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, _PIXELS.get(codec, "yuv420p")
        for number in range(8):
            image = np.full((64, 96, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def _read_movie(path: Path) -> None:
    from inference_core.footage import open_footage

    footage = open_footage(path, warn=lambda text: None)
    for _ in zip(range(40), footage, strict=False):
        pass
    for _ in footage.at(range(footage.info.count)[5:8]):  # by seeking
        pass


def _manifest() -> bytes:
    return b"name,footage,fps,smooth,hands,frames\na,a.mp4,24,0.5,left,1:9\nb,b_####.png,25,,both,1001-1100\n"


def _json_manifest() -> bytes:
    return (
        b'["a.mp4", {"footage": "b.mp4", "fov_deg": 60.0, "intrinsics_px": [1, 2, 3, 4], "network": "none"}]'
    )


def _read_manifest(path: Path) -> None:
    from inference_core.batch.manifest import read_shots

    data = path.read_bytes()
    named = path.with_suffix(".json" if data[:1] in b"[{" else ".csv")
    named.write_bytes(data)
    try:
        read_shots([str(named)], path.parent, {}, preview=True)
    finally:
        named.unlink()


def _corrections() -> bytes:
    from inference_core.shared.corrections import Correction, corrections_text

    turn = (1.0, 0.0, 0.0, 0.0)
    return corrections_text(
        [
            Correction("touch", 20, 60, left="index", right="thumb"),
            Correction("box", 1, 2, "left", box_px=(0.0, 0.0, 9.0, 9.0)),
            Correction(
                "pose", 3, 4, "left", root_wxyz=turn, pose_wxyz=(turn,) * 15, wrist_cam_m=(0.0, 0.0, 0.5)
            ),
        ]
    ).encode()


def _read_corrections(path: Path) -> None:
    from inference_core.shared.corrections import read_corrections

    read_corrections(path)


def _result(kind: str) -> bytes:
    """A file of another engine's hands."""
    import io
    import pickle

    import numpy as np

    from inference_core.exchange.mano_file import mano_arrays
    from tests.sample_take import sample_take

    if kind == "npz":
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, **mano_arrays(sample_take()))
        return file.getvalue()
    hand = {
        "global_orient": [[0.1, 0.2, 0.3]],
        "hand_pose": np.linspace(-0.5, 0.5, 45).round(3).reshape(15, 3).tolist(),
        "betas": [0.5] * 10,
        "pred_cam_t_full": [[0.1, -0.1, 8.25]],
        "pred_keypoints_3d": np.linspace(-0.1, 0.1, 63).round(3).reshape(21, 3).tolist(),
        "is_right": [0],
        "score": [0.75],
        "scaled_focal_length": 12500,
        "img_size": [640, 480],
    }
    pictures = {f"img_{number}.jpg": [hand, {**hand, "is_right": [1]}] for number in (1, 2)}
    return json.dumps(pictures).encode() if kind == "json" else pickle.dumps(pictures)


def _read_result(path: Path) -> None:
    from inference_core.exchange.import_settings import ImportSettings, hands_to_import
    from inference_core.exchange.read import read_engine_hands

    data = path.read_bytes()
    named = path.with_suffix(".json" if data[:1] == b"{" else ".result")
    named.write_bytes(data)
    try:
        hands_to_import(read_engine_hands([named], None), ImportSettings(), "open hand")
    finally:
        named.unlink()


def _camera_path() -> bytes:
    pose = [[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    return json.dumps({"T_world_cam": [pose, pose, pose]}).encode()


def _read_camera_path(path: Path) -> None:
    from inference_core.geometry.camera import default_camera
    from inference_core.geometry.camera_path import with_camera_path

    with_camera_path(default_camera((96, 64)), path, range(3))


def _piece() -> bytes:
    """A resume piece, with the name that the reader looks for in front."""
    import numpy as np

    from inference_core.resume_cache import ResumeCache

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "t.npz")
        try:
            with ResumeCache(out, resume=True) as cache:
                cache.save("detect", {}, {"time_s": np.arange(3.0), "size_px": np.array([4, 5])})
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            return next(out.with_name("t.npz.partial").glob("*.npz")).read_bytes()


def _read_piece(path: Path) -> None:
    from inference_core.resume_cache import ResumeCache

    with ResumeCache(path.with_name("out.npz"), resume=True) as cache:
        cache.save("detect", {}, {})
        (piece,) = cache.folder.glob("*.npz")
        piece.write_bytes(path.read_bytes())
        cache.load("detect", {})


KINDS: dict[str, tuple[Callable[[], bytes], Attempt]] = {
    "takes": (_take, _read_take),
    "cards": (_card, _read_card),
    "hands": (_hand, _read_hand),
    "checkpoints": (_checkpoint, _read_checkpoint),
    "tensors": (_tensors, _read_tensors),
    "messages": (_request, _read_messages),
    "names": (_name, _read_name),
    **{f"{kind} pictures": (partial(_picture, f".{kind}"), _read_picture) for kind in _OPENCV_WRITES},
    "animated png pictures": (partial(_movie, "apng", "apng"), _read_picture),
    "animated webp pictures": (partial(_movie, "webp", "libwebp_anim"), _read_picture),
    "exr pictures": (_exr, _read_picture),
    "dpx pictures": (_dpx, _read_picture),
    **{
        f"{format} movies": (partial(_movie, format, codec), _read_movie) for format, codec in _CODECS.items()
    },
    "manifests": (_manifest, _read_manifest),
    "json manifests": (_json_manifest, _read_manifest),
    "corrections": (_corrections, _read_corrections),
    "camera paths": (_camera_path, _read_camera_path),
    **{f"{kind} results": (partial(_result, kind), _read_result) for kind in ("json", "pickle", "npz")},
    "pieces": (_piece, _read_piece),
}
