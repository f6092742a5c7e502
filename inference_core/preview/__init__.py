# SPDX-License-Identifier: GPL-3.0-or-later
"""The preview: a take's hands drawn over its footage, frame by frame, as a movie."""

from inference_core.preview.movie import check_preview_name, draw_frame, write_preview

__all__ = ["check_preview_name", "draw_frame", "write_preview"]
