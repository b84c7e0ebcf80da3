"""What is written on a coloured square or bar can be read: 4.5 to 1 against its ground, on both themes."""

import colorsys

import pytest

from unlearn.figures import base
from unlearn.figures.gradient import HUES, hue
from unlearn.figures.overview import PARTS

GROUNDS = {
    *(base.FORGET, base.RETAIN, base.RETRAINED, base.AFTER_A, base.AFTER_B),
    *(base.paint(color, True) for color in (base.FORGET, base.RETAIN, base.RETRAINED)),
    *(base.paint(color, dark) for _, color, _ in PARTS.values() for dark in (False, True)),
    *(hue(place, dark) for place in range(8) for dark in (False, True)),
}


def contrast(one: str, two: str) -> float:
    low, high = sorted((base.luminance(one), base.luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    # The example that everybody uses: the lightest grey that passes AA on white.
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


def test_no_method_is_green_which_is_the_retrained_models():
    for color in [*HUES, *HUES.values()]:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        angle, _, strength = colorsys.rgb_to_hls(*parts)[0] * 360, *colorsys.rgb_to_hls(*parts)[1:]
        assert not 70 < angle < 190 or strength < 0.2, color


@pytest.mark.parametrize("ground", sorted(GROUNDS))
def test_ink_reads_on_this_ground(ground):
    assert contrast(base.ink(ground), ground) >= 4.5
