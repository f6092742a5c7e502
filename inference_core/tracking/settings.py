# SPDX-License-Identifier: GPL-3.0-or-later
"""How thoroughly hands are searched for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DetectionSettings:
    """How thoroughly to search.

    detect_every: palms are detected on every n-th frame. detect_every_empty: likewise where no hand is known at all.
    window_frames, window_bytes: images held at once.
    longest_stride: across so many frames at most a hand that moves steadily is followed at once; 1: it is read in every
    frame. history_frames: how many earlier images are kept for following a hand backwards. max_palms: at most this many
    per frame. min_palm_score, min_presence: MediaPipe's own. min_palm_score_closer: for the closer search of
    frames with fewer than two hands; the landmark network checks these palms as well. closer_most: frames from one of
    these searches to the next, at most, beside a hand that remains the only one. reread_shift: a hand
    further from its crop's middle than this share of the side is read again in a centred crop. widen_lost: a lost
    hand is sought in a crop this much larger. search_first: a missing hand is searched for without its palm on
    the first frame, then this many frames later, less and less often after failures. arms_every: a body's
    arms are located on every n-th frame. sizes_every: how large a hand is, is read in a wider square too on every n-th
    frame of a tracklet; 0: not at all, for hands that will all be read again.
    """

    detect_every: int = 12
    detect_every_empty: int = 3
    window_frames: int = 24
    window_bytes: int = 100_000_000
    longest_stride: int = 4
    history_frames: int = 12
    max_palms: int = 6
    min_palm_score: float = 0.5
    min_palm_score_closer: float = 0.3
    closer_most: int = 48
    min_presence: float = 0.5
    reread_shift: float = 0.1
    widen_lost: float = 1.25
    search_first: int = 24
    arms_every: int = 12
    sizes_every: int = 0

    def tells_arms(self, at: int) -> bool:
        """Whether a body's arms are located in that frame."""
        return at % self.arms_every == 0

    def first_needed(self, searched: int) -> int:
        """The first frame needed to go on after so many searched ones."""
        return max(0, searched - self.history_frames)

    def frames_held(self, frame_bytes: int, least: int) -> int:
        """How many frames of that size fit `window_bytes`: at least `least`, at most `window_frames`."""
        return min(self.window_frames, max(least, self.window_bytes // frame_bytes))
