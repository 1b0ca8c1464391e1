"""Letters of any language in the pictures of a run: by matplotlib's own font, or the machine's."""

from typing import Any

from snn_runtime.typeface import FAMILIES, legible


class Lettering:
    """The fonts of matplotlib in whose letters names are written."""

    def __init__(self) -> None:
        from matplotlib import font_manager  # here, where whoever needs it has loaded it

        known = font_manager.get_font_names()
        families = [family for family in FAMILIES if family in known]
        self.style: Any = {"font.family": families}
        """Settings under which a letter is drawn by the first of them that has it."""
        self._fonts = [font_manager.get_font(font_manager.findfont(each)) for each in families]

    def __call__(self, text: str) -> str:
        """Return a text in which they lack nothing."""
        return legible(text, lambda c: any(font.get_char_index(ord(c)) for font in self._fonts))
