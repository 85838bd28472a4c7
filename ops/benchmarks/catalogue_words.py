"""Words of which the made-up catalogue consists, and the trees they hang in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

ROOTS: Mapping[str, Sequence[str]] = {
    "Movies": ("SD", "HD", "UHD", "BluRay", "DVD", "Foreign"),
    "TV": ("Series", "Sport", "Documentary", "Anime", "Cartoons"),
    "Audio": ("Music", "Lossless", "Audiobook", "Podcast"),
    "Books": ("Ebook", "Comics", "Magazines", "Technical"),
    "Games": ("PC", "Console", "Handheld", "Retro"),
}
"""5 roots and 23 below them: 28 categories."""


def _words(text: str) -> list[str]:
    return text.split()


SYLLABLES = tuple(
    f"{onset}{nucleus}{coda}"
    for onset in _words(
        "b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sl sm sn sp st "
        "str t th tr v w y z"
    )
    for nucleus in _words("a e i o u ai ea ee oa ou")
    for coda in ("", *_words("n r s t l nd st ck m ng"))
)
"""As varied as those of natural languages: few of them would make many names alike in all parts."""
COMMON = _words(
    "the of and night day city house man woman love world last first dark light black white red "
    "blue star king queen war road home river island moon sun winter summer secret lost dead"
)
CYRILLIC = _words(
    "любовь ночь город дом зима лето война мир дорога река остров тайна чёрный белый последний "
    "первый король звезда песня время"
)
CJK = _words("物語 東京 夜 日本 世界 黒 白 星 戦争 愛 道 家 冬 夏 秘密 王 月 花 風 海")
ACCENTED = _words("Amélie Señor Über Café Façade Noël Ångström Zoë Crème Brûlée Mañana Œuvre")
RESOLUTIONS = ("1080p", "720p", "2160p", "480p")
RESOLUTION_SHARES = (0.55, 0.25, 0.12, 0.08)
CODECS = ("x264", "x265", "xvid", "av1")
CODEC_SHARES = (0.5, 0.3, 0.15, 0.05)
SOURCES = ("BluRay", "WEB-DL", "HDTV", "DVDRip")
SOURCE_SHARES = (0.4, 0.35, 0.15, 0.1)
TEXT_FORMATS = ("epub", "pdf", "mobi")
SOUND_FORMATS = ("FLAC", "MP3", "AAC")
GROUPS = tuple(
    f"{a}{b}".upper() for a in ("nt", "fr", "am", "sp", "rb") for b in ("b", "ds", "q", "x")
)
