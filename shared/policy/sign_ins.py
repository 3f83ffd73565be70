"""Whom tokens' subjects are, as the provisioner has published it: part of a snapshot. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from rpds import HashTrieMap

from shared.contracts.documents import Binding, binding_id
from shared.policy.directory import Memberships


@dataclass(frozen=True, slots=True)
class SignIns:
    """All bindings, by subject and by user; `put` and `remove` derive another."""

    _known: "HashTrieMap[str, Binding | None]" = field(default_factory=HashTrieMap)
    """By id; None where another sign-in took its place, for ever."""
    _users: Memberships = field(default_factory=Memberships)

    def put(self, binding: Binding) -> "SignIns":
        return SignIns(
            self._known.insert(binding.id, binding), self._users.put(binding.id, (binding.user_id,))
        )

    def remove(self, gone_id: str) -> "SignIns":
        return SignIns(self._known.insert(gone_id, None), self._users.put(gone_id, ()))

    def binding(self, iss: str, sub: str) -> Binding | None:
        """Of an issuer's subject; None for one that nobody has seen, or that another took the place of."""
        return self._known.get(binding_id(iss, sub))

    def is_replaced(self, iss: str, sub: str) -> bool:
        """Whether the subject was bound, and is not any more."""
        key = binding_id(iss, sub)
        return key in self._known and self._known[key] is None

    def of(self, user_id: str) -> list[Binding]:
        """The person's live bindings, of every issuer."""
        found = (self._known.get(one) for one in self._users.containers(user_id))
        return [binding for binding in found if binding is not None]

    def quiet_until(self, user_id: str, at: datetime) -> datetime | None:
        """Until when the person neither votes nor administers, as of a moment; None where they may."""
        ends = [one.quiet_until for one in self.of(user_id) if one.quiet_until and one.quiets(at)]
        return max(ends, default=None)
