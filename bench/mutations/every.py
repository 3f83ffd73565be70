"""All mutants, in the order in which they are tried."""

from typing import Final

from bench.mutations import (
    assignments,
    claims,
    decisions,
    directory,
    ends,
    engine,
    others,
    queue,
    rechecks,
    truth,
)

MUTANTS: Final = (
    *claims.MUTANTS,
    *rechecks.MUTANTS,
    *assignments.MUTANTS,
    *decisions.MUTANTS,
    *truth.MUTANTS,
    *others.MUTANTS,
    *ends.MUTANTS,
    *engine.MUTANTS,
    *queue.MUTANTS,
    *directory.MUTANTS,
)
