"""Ogg pages and MP3 frames, walked from end to end: decoders pass over what is cut off or damaged in silence."""

from __future__ import annotations

import struct
import zlib

from profuse.data.media.source import Tell
from profuse.errors import DataError

__all__ = ["check_mp3", "check_ogg"]

_LAST = 4  # the flag of a stream's last page
_REVERSED = bytes(int(f"{i:08b}"[::-1], 2) for i in range(256))


def check_ogg(data: bytes, tell: Tell) -> None:
    """Checks pages, their checksums and numbers, and that each stream has its last page.

    Raises:
        DataError: A page is cut off, damaged or lacking.
    """
    start = 0
    ended: dict[int, bool] = {}
    numbers: dict[int, int] = {}
    while start < len(data):
        if data[start : start + 4] != b"OggS":
            raise DataError(f"the sound is damaged: no page begins at byte {start:,}")
        if len(data) < start + 27 or len(data) < start + 27 + data[start + 26]:
            raise DataError(f"the sound is cut off within a page, at byte {len(data):,}")
        flags, _, serial, number, checksum, n_segments = struct.unpack_from("<BQIIIB", data, start + 5)
        stop = start + 27 + n_segments + sum(data[start + 27 : start + 27 + n_segments])
        if len(data) < stop:
            raise DataError(f"the sound is cut off within a page: {stop - len(data):,} bytes are lacking")
        if _checksum(data[start : start + 22] + bytes(4) + data[start + 26 : stop]) != checksum:
            raise DataError(f"the sound is damaged: the checksum of the page at byte {start:,} is wrong")
        if serial in numbers and number != numbers[serial] + 1:
            raise DataError(f"the sound is damaged: pages are lacking before byte {start:,}")
        numbers[serial], ended[serial] = number, bool(flags & _LAST)
        start = stop
    if not all(ended.values()):
        raise DataError("the sound is cut off: its last page is lacking")


def _checksum(page: bytes) -> int:
    """Ogg's CRC: that of zlib with the bits of all bytes, and of the answer, in the other order."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


_RATES = (44_100, 48_000, 32_000)
_KBITS = {  # (MPEG 1, layer) -> by index
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def check_mp3(data: bytes, tell: Tell) -> None:
    """Checks that MP3 frames follow each other to the end, as many as a Xing or VBRI header tells.

    A file without such a header that is cut off just between two frames looks whole: that cannot be known.

    Raises:
        DataError: The last frame is cut off, or frames are lacking.
    """
    start, stop = 0, len(data)
    n_frames, told, gaps = 0, None, 0
    while start < stop:
        head = data[start : start + 4]
        if head[:3] == b"ID3" and stop - start >= 10:
            a, b, c, d = data[start + 6 : start + 10]
            start += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if data[start + 5] & 16 else 0)
            if start > stop:
                raise DataError("the sound is cut off within its tag")
            continue
        if head[:3] == b"TAG" or data[start : start + 8] in (b"APETAGEX", b"LYRICSBE") or not any(data[start:stop]):
            break  # tags, or zeros, to the end
        size = _frame(head) if len(head) == 4 else 0
        if size is None:  # a free bit rate: nothing tells where the next frame begins
            tell("the sound has a free bit rate, so that whether it is cut off cannot be known")
            return
        if not size:
            if stop - start < 4 and n_frames and head[:1] == b"\xff":
                raise DataError("the sound is cut off within the header of its last frame")
            gaps += 1
            result = data.find(b"\xff", start + 1)
            while result >= 0 and not _frame(data[result : result + 4]):
                result = data.find(b"\xff", result + 1)
            if result < 0:
                break
            start = result
            continue
        if start + size > stop:
            raise DataError(f"the sound is cut off within its last frame: {start + size - stop} bytes are lacking")
        if n_frames == 0 and told is None:
            told = _told_frames(data[start : start + size])
            n_frames = -1 if told is not None else 0  # the frame of that header is not counted
        n_frames += 1
        start += size
    if told is not None and n_frames < told:
        raise DataError(f"the sound is cut off or damaged: it holds {n_frames:,} of the {told:,} frames it tells")
    if n_frames <= 0:
        raise DataError("the sound is broken: it holds no MP3 frame")
    if gaps:
        tell("the sound holds bytes that are no MP3 frame and were passed over")


def _frame(head: bytes) -> int | None:
    """Returns the bytes of the frame whose header begins with `head`, 0 where it is none, None where it is free."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, place = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or index == 15 or place == 3:
        return 0
    if index == 0:
        return None
    first = version == 3
    rate = _RATES[place] >> (0 if first else 1 if version == 2 else 2)
    bits, padding = 1000 * _KBITS[first, layer][index], head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // rate + padding


def _told_frames(frame: bytes) -> int | None:
    """Returns how many frames a Xing, Info or VBRI header tells to follow; None where there is none."""
    for name in (b"Xing", b"Info"):
        at = frame.find(name, 4, 64)
        if at >= 0 and len(frame) >= at + 12 and frame[at + 7] & 1:
            return int(struct.unpack_from(">I", frame, at + 8)[0])
    at = frame.find(b"VBRI", 4, 64)
    return int(struct.unpack_from(">I", frame, at + 14)[0]) if at >= 0 and len(frame) >= at + 18 else None
