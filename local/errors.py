"""What keeps the embedded run from starting: each is one sentence for the person at the terminal."""


class CannotStart(RuntimeError):
    """Something this machine lacks or refuses; the sentence says why and what to do."""
