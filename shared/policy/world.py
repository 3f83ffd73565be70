"""The name under which services still ask for a snapshot; goes with `Context.world`."""

from shared.policy.snapshot import Snapshot

World = Snapshot
