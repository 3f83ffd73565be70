"""The simulator as a server: one port that answers AWS's protocol at / and /_sim/ for whoever tests.

async with Simulator().serve() as simulator:
    boto3.client("sso-admin", endpoint_url=simulator.url, ...)
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from simulator.admin import Admin
from simulator.controls import Controls


class Simulator(Controls):
    """`url` is empty until it listens."""

    url = ""

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["Simulator"]:
        """Listen until the block ends; `port` 0 takes a free one and `url` tells which."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post("/", self.wire.handle)
        Admin(self).add_routes(application.router)
        # A client that keeps its connections open must not hold up the end.
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            address = runner.addresses[0]
            self.url = f"http://{address[0]}:{address[1]}"
            yield self
        finally:
            await runner.cleanup()
            self.store()
            self.records.close()
