"""What is written on a coloured square or bar can be read: 4.5 to 1 against its ground, on both themes."""

import pytest

from unlearn.figures import base
from unlearn.figures.overview import PARTS
from unlearn.figures.sweep import method_hue

GROUNDS = {
    *(base.FORGET, base.RETAIN, base.RETRAINED, base.AFTER_A, base.AFTER_B),
    *(base.paint(color, True) for color in (base.FORGET, base.RETAIN, base.RETRAINED)),
    *(base.paint(color, dark) for _, color, _ in PARTS.values() for dark in (False, True)),
    *(method_hue(place, dark) for place in range(8) for dark in (False, True)),
}


def contrast(one: str, two: str) -> float:
    low, high = sorted((base.luminance(one), base.luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)
    # The example that everybody uses: the lightest grey that passes AA on white.
    assert contrast("#767676", "#FFFFFF") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("ground", sorted(GROUNDS))
def test_ink_reads_on_this_ground(ground):
    assert contrast(base.ink(ground), ground) >= 4.5
