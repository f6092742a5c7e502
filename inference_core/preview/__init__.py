# SPDX-License-Identifier: GPL-3.0-or-later
"""Movies beside a take: its hands drawn over the footage, and the footage as it was processed."""

from inference_core.preview.movie import check_preview_name, draw_frame, write_preview
from inference_core.preview.plate import check_plate_name, plate_beside, write_plate

__all__ = [
    "check_plate_name",
    "check_preview_name",
    "draw_frame",
    "plate_beside",
    "write_plate",
    "write_preview",
]
