"""One small wrong change of the provisioner, and what it breaks. Run by bench/mutants.py.

The text of a mutant stands exactly once in its package, in whichever file. One whose text is gone has to be
written anew for the code that took its place, or taken out with it: one that cannot be made stops the run.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutant:
    """`breaks` says in a few words what holds no longer, and names it. The package is the provisioner's."""

    package: str
    breaks: str
    old: str
    new: str


def of(package: str, *changes: tuple[str, str, str]) -> tuple[Mutant, ...]:
    """Each change: what it breaks, the text, and what takes its place."""
    return tuple(Mutant(package, *change) for change in changes)
