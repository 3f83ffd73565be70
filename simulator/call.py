"""One API call as the operation modules see it: checked parameters, the world, the time.

Between `wire`, which makes it, and the operation modules, which answer it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from simulator.asynchronous import Plan
from simulator.directory import Directory
from simulator.errors import invalid, invalid_input
from simulator.paging import BadToken, page
from simulator.world import World

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Call:
    service: str
    operation: str
    params: dict[str, Any]
    world: World
    now: float
    plan: Plan = field(default_factory=Plan)

    @property
    def directory(self) -> Directory:
        return self.world.directory

    def page_of(
        self,
        name: str,
        rows: Sequence[Row],
        *,
        key: Callable[[Row], str],
        show: Callable[[Row], Any],
        largest: int = 100,
    ) -> dict[str, Any]:
        """A list operation's answer: `name` with one page of rows, and NextToken unless it is the last."""
        settings = self.world.settings
        size = self.params.get("MaxResults", largest)
        try:
            shown, token = page(
                rows,
                key=key,
                operation=f"{self.service}:{self.operation}",
                params=self.params,
                size=min(size, settings.page_limit or size),
                empty_first=self.service == "organizations" and settings.empty_first_pages,
            )
        except BadToken as error:
            if self.service == "organizations":
                raise invalid_input("INVALID_NEXT_TOKEN", "The NextToken value is not valid.") from error
            raise invalid("The provided NextToken is not valid.") from error
        answer: dict[str, Any] = {name: [show(row) for row in shown]}
        return answer | ({"NextToken": token} if token else {})


Operation = Callable[[Call], dict[str, Any]]


def present(**members: Any) -> dict[str, Any]:
    """An answer's members without those that are None: AWS leaves absent members out."""
    return {name: value for name, value in members.items() if value is not None}
