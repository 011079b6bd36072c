"""The faults that are planted: mistakes that a programmer makes in an order path, each with the tests that see it."""

from tests.mutants.belief_faults import BELIEF
from tests.mutants.campaign import Mutant
from tests.mutants.edge_faults import EDGES
from tests.mutants.sending_faults import SENDING
from tests.mutants.venue_faults import VENUE

MUTANTS: tuple[Mutant, ...] = (*SENDING, *BELIEF, *VENUE, *EDGES)
