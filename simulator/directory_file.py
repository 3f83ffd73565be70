"""Reads an organisation from YAML and expands its compact notations into a directory.

The notations are described at the head of organisation.yaml. Ids come from names by hashing, so an
organisation has the same ids at every start. Raises DirectoryFileError naming the entry that is wrong.
"""

import hashlib
import itertools
import pickle
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from simulator.directory import Directory
from simulator.model import (
    Account,
    Assignment,
    DelegatedAdministrator,
    Group,
    Instance,
    Membership,
    Unit,
    User,
)
from simulator.permission_sets import read_permission_sets

SHIPPED = Path(__file__).with_name("organisation.yaml")
_ACCOUNT_FIELDS = ("id", "state", "joined")


class DirectoryFileError(ValueError):
    """The file cannot be used; the message says which entry and why."""


def load_directory(path: Path = SHIPPED) -> tuple[Directory, list[Assignment]]:
    """The directory, and the assignments that stand from the beginning."""
    directory, standing = pickle.loads(_pickled(path, path.stat().st_mtime_ns))  # noqa: S301  (our own bytes)
    return directory, standing


@cache
def _pickled(path: Path, _written: int) -> bytes:
    """A file is read once for each time it was written: reading takes ten times as long as a copy."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return pickle.dumps(_Loader(document).load())
    except (KeyError, LookupError, TypeError, ValueError) as error:
        raise DirectoryFileError(f"{path}: {type(error).__name__}: {error}") from error


def digits_of(kind: str, name: str) -> str:
    """64 hexadecimal digits that belong to this name for ever."""
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()


@dataclass
class _Loader:
    document: dict[str, Any]
    directory: Directory = field(init=False)

    def load(self) -> tuple[Directory, list[Assignment]]:
        self.directory = self._head()
        root = self.directory.root_id
        for name, tags in self.document["management_account"].items():
            self._account(name, root, tags)
        for name, unit in self.document["units"].items():
            self._unit(name, unit, parent=root, tags={})
        self._administrators()
        created = self._founded
        instance = self.directory.instance.resource
        for found in read_permission_sets(self.document["permission_sets"], instance, created):
            self.directory.permission_sets[found.arn] = found
        self._groups()
        self._people()
        self._departments()
        return self.directory, [self._standing(row) for row in self.document["standing_assignments"]]

    @property
    def _founded(self) -> float:
        day = self.document["organisation"]["founded"]
        return datetime.combine(day, time(9), tzinfo=UTC).timestamp()

    def _head(self) -> Directory:
        head = self.document["organisation"]
        instance = Instance(
            arn=f"arn:aws:sso:::instance/{head['instance']}",
            name=head["instance_name"],
            identity_store=head["identity_store"],
            region=head["region"],
            created_at=self._founded,
        )
        return Directory(
            organisation_id=head["id"],
            root_id=head["root"],
            management=_account_id(head["management"]),
            instance=instance,
            issuer=head["issuer"],
        )

    def _administrators(self) -> None:
        for name, service in self.document["organisation"]["delegated_administrators"].items():
            account = self.directory.find_account(name).id
            row = DelegatedAdministrator(account=account, service=service, since=self._founded)
            self.directory.delegated.append(row)

    def _unit(self, name: str, entry: dict[str, Any], *, parent: str, tags: dict[str, str]) -> None:
        place = f"{self.directory.names_to(parent)}/{name}"
        found = Unit(
            id=f"ou-{self.directory.root_id[2:]}-{digits_of('unit', place)[:8]}",
            name=name,
            parent=parent,
            tags=entry.get("tags", {}),
        )
        self.directory.units[found.id] = found
        tags = tags | found.tags
        for account, own in itertools.chain(
            entry.get("accounts", {}).items(), self._family(entry), _numbered(entry.get("numbered"))
        ):
            self._account(account, found.id, tags | own)
        for below, inner in entry.get("units", {}).items():
            self._unit(below, inner, parent=found.id, tags=tags)

    def _family(self, entry: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
        family = entry.get("family")
        if family is None:
            return []
        of = self.document["families"][family["of"]]
        where = family.get("where", {})
        return [(family["name"].format(name), tags) for name, tags in of.items() if _fits(tags, where)]

    def _account(self, name: str, parent: str, entry: dict[str, Any]) -> None:
        account_id = str(entry.get("id", _account_id(name)))
        if account_id in self.directory.accounts:
            raise DirectoryFileError(f"account {name} has the id of another account; give it one")
        domain = self.document["organisation"]["domain"]
        days = int(digits_of("joined", name)[:4], 16) % 1500
        self.directory.accounts[account_id] = Account(
            id=account_id,
            name=name,
            email=f"aws+{name}@{domain}",
            parent=parent,
            state=entry.get("state", "ACTIVE"),
            joined_at=self._founded + days * 86_400.0,
            tags={key: str(value) for key, value in entry.items() if key not in _ACCOUNT_FIELDS},
        )

    def _groups(self) -> None:
        for name, description in self.document["groups"].items():
            found = Group(id=store_id("group", name), name=name, description=description)
            self.directory.groups[found.id] = found

    def _people(self) -> None:
        for user_name, entry in self.document["people"].items():
            given, _, family = entry["name"].partition(" ")
            self._user(user_name, given, family, entry)

    def _departments(self) -> None:
        names = _names(self.document["first_names"].split(), self.document["last_names"].split())
        appointed = self.document.get("appointments", {})
        for department, entry in self.document["departments"].items():
            for number in range(entry["count"]):
                given, family = next(names)
                extra = [
                    group
                    for group, rule in appointed.items()
                    if department in rule["departments"] and number < rule["each"]
                ]
                joined = entry | {"groups": entry["groups"] + extra}
                self._user(f"{_plain(given)}.{_plain(family)}", given, family, joined)

    def _user(self, user_name: str, given: str, family: str, entry: dict[str, Any]) -> None:
        head = self.document["organisation"]
        found = User(
            id=store_id("user", user_name),
            user_name=user_name,
            given_name=given,
            family_name=family,
            email=f"{user_name}@{head['domain']}",
            title=entry.get("title"),
            external_ids=((head["issuer"], f"00u{digits_of('external', user_name)[:17]}"),),
            enabled=not entry.get("disabled", False),
        )
        if found.id in self.directory.users:
            raise DirectoryFileError(f"user {user_name} is there twice")
        self.directory.users[found.id] = found
        for group in [*entry["groups"], head["group_of_all"]]:
            row = Membership(
                id=store_id("membership", f"{group}/{user_name}"),
                group=self.directory.find_group(group).id,
                user=found.id,
            )
            self.directory.memberships[row.id] = row

    def _standing(self, row: dict[str, str]) -> Assignment:
        is_user = "user" in row
        principal = (
            self.directory.find_user(row["user"]).id
            if is_user
            else self.directory.find_group(row["group"]).id
        )
        return Assignment(
            account=self.directory.find_account(row["account"]).id,
            permission_set=self.directory.find_set(row["set"]).arn,
            principal_type="USER" if is_user else "GROUP",
            principal=principal,
        )


def store_id(kind: str, name: str) -> str:
    """An id in the identity store's form: ten hexadecimal digits and a UUID."""
    digits = digits_of(kind, name)
    uuid = f"{digits[10:18]}-{digits[18:22]}-4{digits[22:25]}-a{digits[25:28]}-{digits[28:40]}"
    return f"{digits[:10]}-{uuid}"


def _account_id(name: str) -> str:
    return str(10**11 + int(digits_of("account", name)[:15], 16) % (9 * 10**11))


def _fits(tags: dict[str, str], where: dict[str, Any]) -> bool:
    """Whether tags have the wanted values: one, one of a list, or None for no such tag."""
    return all(
        tags.get(key) in wanted if isinstance(wanted, list) else tags.get(key) == wanted
        for key, wanted in where.items()
    )


def _numbered(entry: dict[str, Any] | None) -> list[tuple[str, dict[str, str]]]:
    if entry is None:
        return []
    owners = itertools.cycle(entry["owners"])
    numbers = range(1, entry["count"] + 1)
    return [(f"{entry['name']}-{number:02}", {"owner": next(owners)}) for number in numbers]


def _names(given: list[str], family: list[str]) -> Any:
    """Pairs without repetition: the lists' lengths have no common divisor."""
    for number in itertools.count():
        yield given[number * 5 % len(given)], family[number * 29 % len(family)]


def _plain(name: str) -> str:
    """A name as it stands in a user name: lower case, without accents."""
    spelled = name.lower().replace("ł", "l").replace("ı", "i")
    return "".join(letter for letter in unicodedata.normalize("NFD", spelled) if letter.isascii())
