"""Tags read from names and NFOs."""

from __future__ import annotations

import time

import pytest

from domain.auto_tags import infer_tags, with_inferred

NAMED = {
    "The.French.Connection.1971.1080p.BluRay.x264-GRP": ("1080p", "BluRay", "x264"),
    "Charlotte's Web": (),
    "1984": (),
    "2001 A Space Odyssey 1968 720p HDTV H.264 AC3": ("720p", "HDTV", "H.264", "DD"),
    "Show.S01E02.720p.WEB-DL.DDP5.1.H.264-NTb": ("720p", "WEB-DL", "H.264", "DDP", "5.1"),
    "Film.2020.VOSTFR.480p.WEBRip.XviD.MP3": ("480p", "WEBRip", "XviD", "MP3", "VOSTFR"),
    "Film 2020 GERMAN 4K DoVi HDR10+ HEVC TrueHD Atmos 7.1 REMUX": (
        "2160p",
        "H.265",
        "Atmos",
        "TrueHD",
        "7.1",
        "Dolby Vision",
        "HDR10Plus",
        "German",
        "REMUX",
    ),
    "Film.2020.PROPER.10bit.1080p.AV1.Opus": ("1080p", "AV1", "Opus", "10bit", "PROPER"),
    "Artist - Album (1999) [FLAC]": ("FLAC",),
    "Windows 10 4k wallpapers": ("2160p",),
    "Ein Ding x26 h26 dts2 5.12": (),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_is_read_as_releases_are_named(name: str) -> None:
    assert infer_tags(name) == NAMED[name]


def test_what_is_more_precise_is_not_said_twice() -> None:
    assert infer_tags("Film.2020.DTS-HD.MA.5.1.HDR10")[:3] == ("DTS-HD", "5.1", "HDR10")
    assert infer_tags("Film.2020.DTS.5.1.HDR") == ("DTS", "5.1", "HDR")


def test_an_nfo_says_only_what_the_name_leaves_open() -> None:
    nfo = "Source: BluRay\nVideo: 720p x264, french audio, proper words, 10bit"
    assert infer_tags("Film", nfo) == ("720p", "BluRay", "x264")
    assert infer_tags("Film.2020.1080p", nfo) == ("1080p", "BluRay", "x264")
    assert infer_tags("Film", " " * 70_000 + "1080p") == ()


def test_ten_tags_are_all_there_are() -> None:
    name = "F.2020.MULTi.FRENCH.GERMAN.ENGLISH.1080p.BluRay.x264.DTS.5.1.HDR.REPACK.PROPER.IMAX"
    assert len(infer_tags(name)) == 10
    given = [f"tag {number}" for number in range(8)]
    assert with_inferred(given, ("1080p", "Tag-1", "x264", "DTS")) == (*given, "1080p", "x264")
    assert with_inferred(("a", "A!", "x264"), ("x264", "1080p")) == ("a", "A!", "x264", "1080p")


def test_names_and_nfos_of_any_length_are_read_at_once() -> None:
    begun = time.monotonic()
    for text in ("a" * 65_536, "5" * 65_536, "dts-" * 16_384, "director'" * 7_000):
        infer_tags(text[:256], text)
    assert time.monotonic() - begun < 5
