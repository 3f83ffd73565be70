// The walk-through's calls with a client generated from docs/openapi/jit.json. Compiled with --strict.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Problem = components["schemas"]["Problem"];

const url = process.env.JIT_URL ?? "http://127.0.0.1:8080";

async function as(user: string) {
  const body = new URLSearchParams({ user });
  const token = await fetch(`${url}/issuer/token`, { method: "POST", headers: { Accept: "text/plain" }, body });
  const bearer = (await token.text()).trim();
  return createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${bearer}` } });
}

function good<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

async function until<T>(look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 300; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  throw new Error("waited for a minute");
}

const [ann, carl, dora, root, aud] = await Promise.all(["ann", "carl", "dora", "root", "aud"].map(as));
if (!ann || !carl || !dora || !root || !aud) throw new Error("nobody");

const wanted = {
  targets: [{ account: process.env.JIT_ACCOUNT ?? "", set: process.env.JIT_SET ?? "" }],
  reason: "Look into INC-4711: orders are not shipped",
  beneficiaries: [],
  duration: "1h",
};

const plan = good(await ann.POST("/v1/tickets/preview", { body: wanted }));
check(plan.acceptable && plan.duration === "PT1H", "the preview accepts it, in ISO 8601");

const header = { "Idempotency-Key": `walk-${Date.now()}` };
const ticket = good(await ann.POST("/v1/tickets", { body: wanted, params: { header } }));
const again = await ann.POST("/v1/tickets", { body: wanted, params: { header } });
check(good(again).id === ticket.id && again.response.headers.get("Idempotency-Replayed") === "true", "once");

for (const approver of [carl, dora]) {
  const review = await until(async () => {
    const waiting = good(await approver.GET("/v1/reviews", { params: { query: { waiting_for: "me" } } }));
    return waiting.items.find((one) => one.ticket_id === ticket.id);
  });
  const path = { review_id: review.id };
  const shown = await approver.GET("/v1/reviews/{review_id}", { params: { path } });
  check(good(shown).you_may_decide, "an approver may decide");
  good(
    await approver.POST("/v1/reviews/{review_id}/decisions", {
      params: { path, header: { "If-Match": shown.response.headers.get("ETag") ?? "" } },
      body: { verdict: "approve", comment: "the change is planned" },
    }),
  );
}

const path = { ticket_id: ticket.id };
await until(async () => {
  const now = good(await ann.GET("/v1/tickets/{ticket_id}", { params: { path } }));
  return now.state === "active" ? now : undefined;
});
const grants = good(await ann.GET("/v1/grants", { params: { query: { ticket_id: ticket.id } } }));
check(grants.items.length === 1 && grants.next_cursor === null, "one grant");

const ended = good(
  await root.POST("/v1/tickets/{ticket_id}/terminate", { params: { path }, body: { reason: "the walk ends", targets: [] } }),
);
check(ended.ending.length === 1, "one grant ends");
const trail = await until(async () => {
  const found = good(await aud.GET("/v1/audit/tickets/{ticket_id}", { params: { path } }));
  return found.items.some((one) => one.metadata["event_code"] === "access.revoked") ? found : undefined;
});
check(trail.items.length > 5, "the trail tells it all");

// @ts-expect-error: a misspelled filter is no parameter
const misspelled = await ann.GET("/v1/tickets", { params: { query: { status: "active" } } });
check(misspelled.error?.errors[0]?.code === "unknown_parameter", "and is refused");
console.log("walked");
