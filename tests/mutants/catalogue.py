"""The faults that are planted: mistakes that a programmer makes in an order path, each with the tests that see it."""

from tests.mutants.campaign import Mutant
from tests.mutants.desk_faults import DESK
from tests.mutants.venue_faults import VENUE

MUTANTS: tuple[Mutant, ...] = (*DESK, *VENUE)
