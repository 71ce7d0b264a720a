"""What the rounds say together: which spots leak."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cipherward_client.canaries import metrics
from cipherward_client.canaries.spots import Outcome, Spot

Results = Mapping[Spot, Sequence[Outcome]]  # a spot is asked about at several members


class Verdicts:
    """The spots that leak: one that gave what must be refused does, until all its questions of a
    later round were refused for the right reason.

    A spot that cannot be asked stays as it is.
    """

    def __init__(self, leaking: Collection[Spot] = ()) -> None:
        """Go on from what was known; `leaking` are of an earlier run."""
        self._leaking = set(leaking)
        metrics.LEAKING.set(len(self._leaking))

    @property
    def leaking(self) -> Sequence[Spot]:
        """The spots that leak, sorted."""
        return sorted(self._leaking)

    @property
    def leaking_paths(self) -> Sequence[str]:
        """The paths of those spots, sorted, each once."""
        return sorted({str(spot.path) for spot in self._leaking})

    def count(self, spot: Spot, outcome: Outcome) -> None:
        """Count what came of a question, at once: where somebody is silent, a round takes minutes.

        All outcomes are there from a spot's first question on: whoever looks for an increase sees
        the first of each.
        """
        for one in Outcome:
            metrics.ASKED.labels(spot.path, spot.case, one).inc(one is outcome)
        metrics.BREACHES.labels(spot.path, spot.case).inc(outcome is Outcome.GIVEN)

    def take(self, results: Results) -> Sequence[Spot]:
        """Take a round's results; return the spots that gave something in it, sorted."""
        given = sorted(spot for spot, outcomes in results.items() if Outcome.GIVEN in outcomes)
        for spot, outcomes in results.items():
            if outcomes and set(outcomes) == {Outcome.REFUSED}:
                self._leaking.discard(spot)
        self._leaking.update(given)
        metrics.LEAKING.set(len(self._leaking))
        return given
