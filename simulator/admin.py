"""The /_sim/ interface: faults, settings, edits, and what a judge reads. JSON both ways.

Not part of AWS. Errors are {"error": text} with 400 for a bad request and 404 for what is not there.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import ValidationError

from simulator.controls import Controls
from simulator.errors import ApiError
from simulator.model import Assignment

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REFUSED = (ValidationError, ValueError, TypeError, ApiError)


class Admin:
    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def add_routes(self, router: web.UrlDispatcher) -> None:
        routes: list[tuple[str, str, Handler]] = [
            ("GET", "", self.about),
            ("GET", "/organisation", self.organisation),
            ("GET", "/calls", self.calls),
            ("GET", "/history", self.history),
            ("GET", "/assignments", self.assignments),
            ("GET", "/roles", self.roles),
            ("GET", "/requests", self.requests),
            ("POST", "/requests/{id}/finish", self.finish),
            ("GET", "/counters", self.counters),
            ("GET", "/settings", self.settings),
            ("PUT", "/settings", self.change_settings),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("DELETE", "/faults/{id}", self.remove_fault),
            ("POST", "/edit", self.edit),
            ("POST", "/reset", self.reset),
        ]
        for method, path, handler in routes:
            router.add_route(method, f"/_sim{path}", _guarded(handler))
        self._paths = [f"{method} /_sim{path}" for method, path, _ in routes]

    async def about(self, _: web.Request) -> web.Response:
        return web.json_response({"now": self._controls.clock.now(), "paths": self._paths})

    async def organisation(self, _: web.Request) -> web.Response:
        """The ids by the names that people use."""
        directory = self._controls.directory
        instance = directory.instance
        return web.json_response(
            {
                "organisation": directory.organisation_id,
                "management": directory.management,
                "instance": instance.arn,
                "identity_store": instance.identity_store,
                "region": instance.region,
                "accounts": {account.name: account.id for account in directory.accounts.values()},
                "units": {directory.names_to(unit): unit for unit in directory.units},
                "permission_sets": {found.name: found.arn for found in directory.permission_sets.values()},
                "users": {user.user_name: user.id for user in directory.users.values()},
                "groups": {group.name: group.id for group in directory.groups.values()},
            }
        )

    async def calls(self, request: web.Request) -> web.Response:
        """API calls with a number above `after`, of `operation` only when given."""
        after, operation = int(request.query.get("after", "0")), request.query.get("operation")
        rows = [
            row
            for row in self._controls.records.calls
            if row["number"] > after and operation in {None, row["operation"]}
        ]
        return web.json_response({"calls": rows})

    async def history(self, request: web.Request) -> web.Response:
        """Every appearance and disappearance of an assignment, brought up to now."""
        self._controls.assignments()
        after = int(request.query.get("after", "0"))
        rows = [row for row in self._controls.records.history if row["number"] > after]
        return web.json_response({"history": rows})

    async def assignments(self, _: web.Request) -> web.Response:
        present = self._controls.assignments()
        rows = [self._named(row) for row in present]
        return web.json_response({"now": self._controls.clock.now(), "assignments": rows})

    def _named(self, assignment: Assignment) -> dict[str, Any]:
        return assignment.model_dump() | self._controls.directory.names_of(assignment)

    async def roles(self, _: web.Request) -> web.Response:
        self._controls.assignments()
        directory = self._controls.directory
        rows = [
            {
                "account": role.account,
                "permission_set": role.permission_set,
                "revision": role.revision,
                "name": f"AWSReservedSSO_{directory.permission_sets[role.permission_set].name}_{role.suffix}",
            }
            for role in self._controls.world.truth.roles.values()
        ]
        return web.json_response({"roles": rows})

    async def requests(self, request: web.Request) -> web.Response:
        """Asynchronous requests, those in `status` only when given."""
        self._controls.assignments()
        status = request.query.get("status")
        found = self._controls.world.requests.all.values()
        rows = [row.model_dump() for row in found if status in {None, row.status}]
        return web.json_response({"requests": rows})

    async def finish(self, request: web.Request) -> web.Response:
        """End a request now, as FAILED when the body has a `reason`."""
        body = await _body(request)
        now = self._controls.clock.now()
        self._controls.world.advance(now)
        requests = self._controls.world.requests
        ended = requests.finish(request.match_info["id"], now=now, failure=body.get("reason"))
        self._controls.store()
        return web.json_response(ended.model_dump())

    async def counters(self, _: web.Request) -> web.Response:
        self._controls.assignments()
        outcomes = self._controls.records.outcomes
        return web.json_response(
            {
                "calls": dict(outcomes),
                "throttles": sum(
                    count
                    for name, count in outcomes.items()
                    if name.endswith(("ThrottlingException", "TooManyRequestsException"))
                ),
                "outstanding": self._controls.world.requests.outstanding,
                "assignments": len(self._controls.world.truth.present),
            }
        )

    async def settings(self, _: web.Request) -> web.Response:
        return web.json_response(self._controls.world.settings.model_dump())

    async def change_settings(self, request: web.Request) -> web.Response:
        changed = self._controls.change_settings(**await _body(request))
        return web.json_response(changed.model_dump())

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response({"faults": [rule.model_dump() for rule in self._controls.faults.rules]})

    async def add_fault(self, request: web.Request) -> web.Response:
        rule = self._controls.fault(**await _body(request))
        return web.json_response(rule.model_dump(), status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._controls.faults.clear()
        return web.json_response({"faults": []})

    async def remove_fault(self, request: web.Request) -> web.Response:
        if not self._controls.faults.remove(int(request.match_info["id"])):
            raise LookupError("no such fault")
        return web.json_response({})

    async def edit(self, request: web.Request) -> web.Response:
        return web.json_response(self._controls.edit(**await _body(request)))

    async def reset(self, request: web.Request) -> web.Response:
        """Back to the organisation file; `seed` begins another sequence of random numbers."""
        body = await _body(request)
        self._controls.reset(body.get("seed"))
        return web.json_response({"now": self._controls.clock.now()})


async def _body(request: web.Request) -> dict[str, Any]:
    body = json.loads(await request.read() or b"{}")
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


def _guarded(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except LookupError as error:
            return web.json_response({"error": f"not found: {error}"}, status=404)
        except _REFUSED as error:
            return web.json_response({"error": str(error)}, status=400)

    return answer
