"""What is doubted of a head, in words that are put together and taken apart again."""

import numpy as np

from facedep_jax.head.doubts import WORD, auroc, joined, of_loss, of_ranking, without_ranking


def test_of_other_positives_only_what_hangs_on_these_goes():
    learned, backwards = of_loss(0.69, 0.693), of_ranking(0.4)
    assert learned and backwards and not of_loss(0.3, 0.693) and not of_ranking(0.8, 0.7, 0.9)
    both = joined(learned, backwards, learned)
    assert both == f"{WORD}{learned}; {backwards}"
    assert without_ranking(both) == joined(learned)
    assert without_ranking(joined(of_ranking(0.55, 0.4, 0.7))) == without_ranking("") == ""


def test_the_area_under_the_curve_by_hand():
    """Of four pairs three are in order and one is a tie."""
    found = auroc(np.array([0.1, 0.5, 0.5, 0.9]), np.array([False, True, False, True]))
    assert found == 3.5 / 4
