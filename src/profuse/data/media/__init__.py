"""One picture, sound, series or cloud from a file or a cell; each fault is a `DataError` without a place.

Who calls knows row and column and tells them.
"""

from __future__ import annotations

from profuse.data.media.arrays import to_float32, to_numbers
from profuse.data.media.levels import as_shares
from profuse.data.media.pictures import IMAGE_SUFFIXES, LARGEST_SIDE, as_picture, read_image
from profuse.data.media.series_files import SERIES_SUFFIXES, read_series
from profuse.data.media.sounds import AUDIO_SUFFIXES, check_waveform, full_scale, read_audio, resample

__all__ = [
    "AUDIO_SUFFIXES",
    "IMAGE_SUFFIXES",
    "LARGEST_SIDE",
    "SERIES_SUFFIXES",
    "as_picture",
    "as_shares",
    "check_waveform",
    "full_scale",
    "read_audio",
    "read_image",
    "read_series",
    "resample",
    "to_float32",
    "to_numbers",
]
